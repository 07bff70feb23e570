/**
 * Runs a command line, and says how it ended.
 *
 * @module
 */
import { isOsError } from "../errors.ts";
import { findCommand } from "./catalog.ts";
import type { CommandSpec, Invocation } from "./command.ts";
import type { Context } from "./context.ts";
import { describeFailure, EXIT_BROKEN_PIPE } from "./exit.ts";
import { readWords } from "./words.ts";

/** Runs one command line; resolves to its exit code and never rejects. */
export async function run(context: Context): Promise<number> {
  try {
    const { run, values } = await read(context);
    await run(...values as never[]);
    return 0;
  } catch (error) {
    if (isOsError(error, "EPIPE")) return EXIT_BROKEN_PIPE;
    const { lines, code } = describeFailure(error);
    for (const line of lines) context.terminal.write("stderr", line + "\n");
    return code;
  }
}

/** The parser is loaded for a line that words alone do not settle. */
async function read(context: Context): Promise<Invocation> {
  const named = findCommand(context.terminal.args);
  let spec: CommandSpec | undefined;
  if (named) {
    spec = (await named.load())(context);
    const asked = readWords(spec, named.words);
    if (asked) return asked;
  }
  const { parse } = await import("./parser.ts");
  return await parse(context, named && spec && { ...named, spec });
}
