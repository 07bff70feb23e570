/**
 * The commands there are, each loaded when it is named.
 *
 * @module
 */
import type { CommandFactory } from "./command.ts";

/** Loads a command: what it needs, and nothing of the others. */
export type CommandLoader = () => Promise<CommandFactory>;

/** Commands of `cortex cache`, in the order of its help. */
export const COMMANDS: Readonly<Record<string, CommandLoader>> = {
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
export const TOOLS: Readonly<Record<string, CommandLoader>> = {
  snapshot: COMMANDS["snapshot"]!,
  doctor: async () => (await import("./commands/doctor.ts")).doctorCommand,
  sim: async () => (await import("./commands/sim.ts")).simCommand,
  plan: async () => (await import("./commands/plan.ts")).planCommand,
  hash: async () => (await import("./commands/hash.ts")).hashCommand,
};

/** A command that the first words of a line name. */
export interface NamedCommand {
  readonly load: CommandLoader;
  /** What it is a command of. */
  readonly parents: readonly string[];
  /** The words behind its name. */
  readonly words: readonly string[];
}

/** The command that a line names, if it names one. */
export function findCommand(
  args: readonly string[],
): NamedCommand | undefined {
  const [group = "", name = ""] = args;
  if (Object.hasOwn(TOOLS, group)) {
    return { load: TOOLS[group]!, parents: ["cortex"], words: args.slice(1) };
  }
  if (group !== "cache" || !Object.hasOwn(COMMANDS, name)) return undefined;
  return {
    load: COMMANDS[name]!,
    parents: ["cortex", "cache"],
    words: args.slice(2),
  };
}
