/**
 * A command of the command line, told as data: its words, its options, and what
 * it does. What reads a line by it is in words.ts and parser.ts.
 *
 * @module
 */
import type { Context } from "./context.ts";

/** Makes a command of `cortex cache`, or of `cortex`. */
export type CommandFactory = (context: Context) => CommandSpec;

/** What a command does, given its arguments and then its options. */
export type Action = (...values: never[]) => unknown;

/**
 * Makes a value of a word; of what the words before it made, where more than
 * one may be given.
 *
 * @throws {UsageError} for one that can never be right.
 */
export type Read = (word: string, before: never) => unknown;

/** A word told by its place. */
export interface ArgumentSpec {
  /** `<name>`, `[name]` if it may be missing, `<keys...>` for one or more. */
  readonly flags: string;
  readonly description: string;
  readonly read?: Read | undefined;
}

/** What an option is beside its flags and its description. */
export interface OptionSettings {
  readonly read?: Read;
  readonly default?: unknown;
  /** The default as the help shows it. */
  readonly shown?: string;
  readonly required?: true;
  /** Left out of the help: for our own use. */
  readonly hidden?: true;
}

/** A word told by its name. */
export interface OptionSpec extends OptionSettings {
  /** `--json`, or `--interval <seconds>`. */
  readonly flags: string;
  readonly description: string;
}

/** A command, or a group of commands. */
export class CommandSpec {
  readonly name: string;
  readonly description: string;
  /** The whole line, which ends its help. */
  readonly example: string;
  readonly arguments: ArgumentSpec[] = [];
  readonly options: OptionSpec[] = [];
  readonly commands: CommandSpec[] = [];
  run: Action | undefined;

  constructor(name: string, description: string, example: string) {
    this.name = name;
    this.description = description;
    this.example = example;
  }

  argument(flags: string, description: string, read?: Read): this {
    this.arguments.push({ flags, description, read });
    return this;
  }

  option(
    flags: string,
    description: string,
    settings: OptionSettings = {},
  ): this {
    this.options.push({ flags, description, ...settings });
    return this;
  }

  command(sub: CommandSpec): this {
    this.commands.push(sub);
    return this;
  }

  action(run: Action): this {
    this.run = run;
    return this;
  }
}

/** What a line asks for. */
export interface Invocation {
  readonly run: Action;
  /** The arguments, and then the options by their names in camel case. */
  readonly values: readonly unknown[];
}

/** A command with its example. */
export function subcommand(
  name: string,
  description: string,
  example: string,
  program = "cortex cache",
): CommandSpec {
  return new CommandSpec(name, description, `${program} ${example}`);
}

/** Adds `--json`. */
export function withJson(command: CommandSpec): CommandSpec {
  return command.option("--json", "print the result as one JSON value");
}
