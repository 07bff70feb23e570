/**
 * The parser of the command line: options, help, and what is wrong with a line.
 *
 * @module
 */
import { Argument, Command, CommanderError, Option } from "commander";
import { UsageError } from "../errors.ts";
import { VERSION } from "../layout.ts";
import { shellWord } from "../shell.ts";
import { CORTEX_VERSION } from "../version.ts";
import {
  type CommandLoader,
  COMMANDS,
  type NamedCommand,
  TOOLS,
} from "./catalog.ts";
import type { CommandSpec, Invocation, OptionSpec } from "./command.ts";
import type { Context } from "./context.ts";
import { Exit, EXIT_USAGE } from "./exit.ts";

const VERSION_FLAGS = ["-V", "--version"];

/** The command that a line names, made. */
export interface KnownCommand extends NamedCommand {
  readonly spec: CommandSpec;
}

/**
 * What a line asks for: of the command that it names, or of the whole program if
 * it names none. Help is printed, and ends the line.
 *
 * @throws {UsageError} if it can never be right.
 * @throws {Exit} if there is nothing left to do.
 */
export async function parse(
  context: Context,
  known: KnownCommand | undefined,
): Promise<Invocation> {
  const { args } = context.terminal;
  let asked: Invocation | undefined;
  const build = (spec: CommandSpec) =>
    buildCommand(spec, (found) => asked = found);
  const command = configure(
    known
      ? withParents(build(known.spec), known.parents)
      : await buildProgram(context, build),
    context,
  );
  try {
    command.parse([...known?.words ?? args], { from: "user" });
  } catch (error) {
    throw inOurWords(error, args);
  }
  if (asked) return asked;
  throw new Exit(EXIT_USAGE); // it had no command, and its help was printed
}

/** So that it names itself in full. */
function withParents(command: Command, parents: readonly string[]): Command {
  parents.reduceRight(
    (sub, parent) => new Command(parent).addCommand(sub),
    command,
  );
  return command;
}

function buildCommand(
  spec: CommandSpec,
  found: (asked: Invocation) => void,
): Command {
  const command = new Command(spec.name)
    .description(spec.description)
    .addHelpText("after", `\nExample:\n  $ ${spec.example}`)
    .helpCommand(false);
  for (const sub of spec.commands) {
    command.addCommand(buildCommand(sub, found));
  }
  for (const { flags, description, read } of spec.arguments) {
    const argument = new Argument(flags, description);
    command.addArgument(read ? argument.argParser(parserOf(read)) : argument);
  }
  for (const option of spec.options) command.addOption(buildOption(option));
  const { run } = spec;
  if (!run) return command;
  return command.action((...given: unknown[]) => {
    expectRequired(spec, command);
    found({ run, values: given.slice(0, -1) }); // the last is the command
  });
}

function buildOption(spec: OptionSpec): Option {
  const { flags, description, read, required, hidden } = spec;
  const option = new Option(
    flags,
    required ? `${description} (required)` : description,
  );
  if (read) option.argParser(parserOf(read));
  if (spec.default !== undefined) option.default(spec.default, spec.shown);
  return option.hideHelp(hidden ?? false);
}

/** Our readers say more exactly what they take of the values before. */
function parserOf(read: NonNullable<OptionSpec["read"]>) {
  return read as (word: string, before: unknown) => unknown;
}

/**
 * The parser's own required options would be asked for before one that is
 * misspelt is told of.
 */
function expectRequired(spec: CommandSpec, command: Command): void {
  const missing = spec.options.find(({ flags, required }) =>
    required &&
    command.getOptionValue(new Option(flags).attributeName()) === undefined
  );
  if (!missing) return;
  throw new UsageError(
    "run",
    "the command",
    `it needs ${missing.flags}`,
    `Add ${missing.flags}: ${missing.description}`,
  );
}

async function buildProgram(
  context: Context,
  build: (spec: CommandSpec) => Command,
): Promise<Command> {
  const program = new Command("cortex")
    .description(
      "KV caches of LLM inference as a resource of the host: named pools in\n" +
        "shared memory that outlive processes, and go to disk and back.",
    )
    .version(
      `cortex ${CORTEX_VERSION} (format ${VERSION})`,
      "-V, --version",
      "print the version",
    )
    .addHelpText("after", EXIT_HELP)
    .helpCommand(false);
  const cache = program.command("cache")
    .description("make and use pools")
    .summary("make and use pools")
    .helpCommand(false);
  const addAll = async (
    parent: Command,
    loaders: Readonly<Record<string, CommandLoader>>,
  ) => {
    for (const load of Object.values(loaders)) {
      parent.addCommand(build((await load())(context)));
    }
  };
  const [first = ""] = context.terminal.args;
  if (VERSION_FLAGS.includes(first)) return program;
  await addAll(cache, COMMANDS);
  if (first !== "cache") await addAll(program, TOOLS);
  return program;
}

/** Every command fails by exception and writes where its context says. */
function configure(command: Command, context: Context): Command {
  const { terminal } = context;
  command.exitOverride()
    .configureOutput({
      writeOut: (text) => terminal.write("stdout", text),
      writeErr: (text) => terminal.write("stderr", text),
      outputError: () => {}, // told by who runs it, in our words
      getOutHelpWidth: () => terminal.columns,
      getErrHelpWidth: () => terminal.columns,
    })
    .showHelpAfterError(false)
    .allowExcessArguments(false)
    .enablePositionalOptions();
  for (const sub of command.commands) configure(sub, context);
  return command;
}

/** What the parser refuses, in our words; where it printed help, just the end. */
function inOurWords(error: unknown, args: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error;
  if (error.exitCode === 0) return new Exit(0);
  if (error.code === "commander.help") return new Exit(EXIT_USAGE);
  const state = error.message.replace(/^error: /, "").replaceAll(
    /\s*\n\s*/g,
    " ",
  );
  return new UsageError("run", "the command", state, advice(error, args));
}

/** A command in another place, or the help of the one that was meant. */
function advice({ code }: CommanderError, args: readonly string[]): string {
  if (code === "commander.unknownCommand") {
    const [first = "", second = ""] = args;
    if (Object.hasOwn(COMMANDS, first)) {
      return `Say: cortex ${["cache", ...args].map(shellWord).join(" ")}`;
    }
    if (first === "cache" && Object.hasOwn(TOOLS, second)) {
      return `Say: cortex ${args.slice(1).map(shellWord).join(" ")}`;
    }
  }
  return `See cortex ${[...commandIn(args), "--help"].join(" ")}`;
}

/** The words that name a command of ours, as far as they do. */
function commandIn(args: readonly string[]): string[] {
  const [first = "", second = ""] = args.filter((word) => word !== "help");
  if (Object.hasOwn(TOOLS, first)) return [first];
  if (first !== "cache") return [];
  return Object.hasOwn(COMMANDS, second) ? [first, second] : [first];
}

const EXIT_HELP = `
Exit codes:
  0  done
  1  failed, as when a pool of that name exists already, or doctor finds
     something that needs attention
  2  arguments that can never be right
  3  no such pool, key, snapshot or file
  4  busy
  5  corrupt, or not one of ours
  6  no space in the pool, in memory or on disk

Example:
  $ cortex cache create llama-cache --size 16G
  $ cortex cache status llama-cache`;
