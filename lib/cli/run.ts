/**
 * The command line: the program, its commands, and how it ends.
 *
 * @module
 */
import { Command, CommanderError } from "commander";
import { isOsError, UsageError } from "../errors.ts";
import { VERSION } from "../layout.ts";
import { CORTEX_VERSION } from "../version.ts";
import type { CommandFactory } from "./command.ts";
import { checkCommand } from "./commands/check.ts";
import { createCommand } from "./commands/create.ts";
import { deleteCommand } from "./commands/delete.ts";
import { destroyCommand } from "./commands/destroy.ts";
import { entriesCommand } from "./commands/entries.ts";
import { evictCommand } from "./commands/evict.ts";
import { getCommand } from "./commands/get.ts";
import { listCommand } from "./commands/list.ts";
import { matchCommand } from "./commands/match.ts";
import { persistCommand } from "./commands/persist.ts";
import { policiesCommand } from "./commands/policies.ts";
import { putCommand } from "./commands/put.ts";
import { restoreCommand } from "./commands/restore.ts";
import { statusCommand } from "./commands/status.ts";
import type { Context } from "./context.ts";
import { describeFailure, EXIT_BROKEN_PIPE, EXIT_USAGE } from "./exit.ts";

/** In the order of the help. */
const COMMANDS: Readonly<Record<string, CommandFactory>> = {
  create: createCommand,
  list: listCommand,
  status: statusCommand,
  put: putCommand,
  get: getCommand,
  delete: deleteCommand,
  entries: entriesCommand,
  match: matchCommand,
  evict: evictCommand,
  persist: persistCommand,
  restore: restoreCommand,
  check: checkCommand,
  destroy: destroyCommand,
  policies: policiesCommand,
};

/** Runs one command line; resolves to its exit code and never rejects. */
export async function run(context: Context): Promise<number> {
  const { terminal } = context;
  try {
    await buildProgram(context).parseAsync(terminal.args, { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      if (error.code === "commander.help") return EXIT_USAGE; // it was printed
    }
    if (isOsError(error, "EPIPE")) return EXIT_BROKEN_PIPE;
    const { lines, code } = describeFailure(asUsage(error));
    for (const line of lines) terminal.write("stderr", line + "\n");
    return code;
  }
}

function buildProgram(context: Context): Command {
  const { terminal } = context;
  const program = configure(new Command("cortex"), context)
    .description(
      "KV caches of LLM inference as a resource of the host: named pools in\n" +
        "shared memory that outlive processes, and go to disk and back.",
    )
    .version(
      `cortex ${CORTEX_VERSION} (format ${VERSION})`,
      "-V, --version",
      "print the version",
    )
    .addHelpText("after", EXIT_HELP);
  const cache = configure(program.command("cache"), context)
    .description("make and use pools")
    .summary("make and use pools")
    .helpCommand(false);
  for (const command of wantedCommands(terminal.args)) {
    configure(command(context), context, cache);
  }
  program.helpCommand(false);
  return program;
}

/** Only the one that is asked for, if that is plain: it saves a millisecond. */
function wantedCommands(args: readonly string[]): readonly CommandFactory[] {
  const [group, name = ""] = args;
  return group === "cache" && Object.hasOwn(COMMANDS, name)
    ? [COMMANDS[name]!]
    : Object.values(COMMANDS);
}

/** Every command fails by exception and writes where its context says. */
function configure(
  command: Command,
  { terminal }: Context,
  parent?: Command,
): Command {
  command.exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.write("stdout", text),
      writeErr: (text) => terminal.write("stderr", text),
      outputError: () => {}, // told by `run`, in our words
      getOutHelpWidth: () => terminal.columns,
      getErrHelpWidth: () => terminal.columns,
    })
    .showHelpAfterError(false)
    .allowExcessArguments(false)
    .enablePositionalOptions();
  parent?.addCommand(command);
  return command;
}

/** What the parser refuses, in our words. */
function asUsage(error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error;
  const state = error.message.replace(/^error: /, "").replaceAll(
    /\s*\n\s*/g,
    " ",
  );
  return new UsageError(
    "run",
    "the command",
    state,
    "See cortex cache --help, and --help after any command",
  );
}

const EXIT_HELP = `
Exit codes:
  0  done
  1  failed, as when a pool of that name exists already
  2  arguments that can never be right
  3  no such pool, key, snapshot or file
  4  busy
  5  corrupt, or not one of ours
  6  no space in the pool, in memory or on disk

Example:
  $ cortex cache create llama-cache --size 16G
  $ cortex cache status llama-cache`;
