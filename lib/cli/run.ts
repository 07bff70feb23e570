/**
 * The command line: the program, its commands, and how it ends.
 *
 * @module
 */
import { Command, CommanderError } from "commander";
import { isOsError, UsageError } from "../errors.ts";
import { VERSION } from "../layout.ts";
import { shellWord } from "../shell.ts";
import { CORTEX_VERSION } from "../version.ts";
import { type CommandFactory, expectRequired } from "./command.ts";
import type { Context } from "./context.ts";
import { describeFailure, EXIT_BROKEN_PIPE, EXIT_USAGE } from "./exit.ts";

/** Loads a command: what it needs, and nothing of the others. */
type CommandLoader = () => Promise<CommandFactory>;

/** In the order of the help. */
const COMMANDS: Readonly<Record<string, CommandLoader>> = {
  create: async () => (await import("./commands/create.ts")).createCommand,
  list: async () => (await import("./commands/list.ts")).listCommand,
  status: async () => (await import("./commands/status.ts")).statusCommand,
  put: async () => (await import("./commands/put.ts")).putCommand,
  get: async () => (await import("./commands/get.ts")).getCommand,
  delete: async () => (await import("./commands/delete.ts")).deleteCommand,
  entries: async () => (await import("./commands/entries.ts")).entriesCommand,
  match: async () => (await import("./commands/match.ts")).matchCommand,
  evict: async () => (await import("./commands/evict.ts")).evictCommand,
  persist: async () => (await import("./commands/persist.ts")).persistCommand,
  restore: async () => (await import("./commands/restore.ts")).restoreCommand,
  snapshot: async () =>
    (await import("./commands/snapshot.ts")).snapshotCommand,
  schedule: async () =>
    (await import("./commands/schedule.ts")).scheduleCommand,
  check: async () => (await import("./commands/check.ts")).checkCommand,
  gc: async () => (await import("./commands/gc.ts")).gcCommand,
  destroy: async () => (await import("./commands/destroy.ts")).destroyCommand,
  policies: async () =>
    (await import("./commands/policies.ts")).policiesCommand,
  record: async () => (await import("./commands/record.ts")).recordCommand,
};

/** Commands that need no pool on this host. A snapshot outlives its pool. */
const TOOLS: Readonly<Record<string, CommandLoader>> = {
  snapshot: COMMANDS["snapshot"]!,
  doctor: async () => (await import("./commands/doctor.ts")).doctorCommand,
  sim: async () => (await import("./commands/sim.ts")).simCommand,
  plan: async () => (await import("./commands/plan.ts")).planCommand,
  hash: async () => (await import("./commands/hash.ts")).hashCommand,
};

const VERSION_FLAGS = ["-V", "--version"];

/** Runs one command line; resolves to its exit code and never rejects. */
export async function run(context: Context): Promise<number> {
  const { terminal } = context;
  const { args } = terminal;
  try {
    const named = namedCommand(args);
    const command = named
      ? await buildCommand(context, named)
      : await buildProgram(context);
    const words = named ? named.parents.length : 0;
    await command.parseAsync(args.slice(words), { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      if (error.code === "commander.help") return EXIT_USAGE; // it was printed
    }
    if (isOsError(error, "EPIPE")) return EXIT_BROKEN_PIPE;
    const { lines, code } = describeFailure(asUsage(error, args));
    for (const line of lines) terminal.write("stderr", line + "\n");
    return code;
  }
}

/** A command that the first words name, and what it is a command of. */
interface NamedCommand {
  readonly load: CommandLoader;
  readonly parents: readonly string[];
}

function namedCommand(args: readonly string[]): NamedCommand | undefined {
  const [group = "", name = ""] = args;
  if (Object.hasOwn(TOOLS, group)) {
    return { load: TOOLS[group]!, parents: ["cortex"] };
  }
  if (group !== "cache" || !Object.hasOwn(COMMANDS, name)) return undefined;
  return { load: COMMANDS[name]!, parents: ["cortex", "cache"] };
}

/** Just that command: the whole program would cost each a millisecond. */
async function buildCommand(
  context: Context,
  { load, parents }: NamedCommand,
): Promise<Command> {
  const command = configure((await load())(context), context);
  parents.reduceRight(
    (sub, parent) => new Command(parent).addCommand(sub),
    command,
  );
  return command;
}

async function buildProgram(context: Context): Promise<Command> {
  const { terminal } = context;
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
  const [first = ""] = terminal.args;
  if (!VERSION_FLAGS.includes(first)) {
    await addAll(cache, COMMANDS, context);
    if (first !== "cache") await addAll(program, TOOLS, context);
  }
  return configure(program, context);
}

async function addAll(
  parent: Command,
  loaders: Readonly<Record<string, CommandLoader>>,
  context: Context,
): Promise<void> {
  for (const load of Object.values(loaders)) {
    parent.addCommand((await load())(context));
  }
}

/** Every command fails by exception and writes where its context says. */
function configure(command: Command, context: Context): Command {
  const { terminal } = context;
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
    .enablePositionalOptions()
    .hook("preAction", (_, acting) => expectRequired(acting));
  for (const sub of command.commands) configure(sub, context);
  return command;
}

/** What the parser refuses, in our words. */
function asUsage(error: unknown, args: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error;
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
