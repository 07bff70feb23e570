/**
 * The common shape of a subcommand.
 *
 * @module
 */
import { Command, Option } from "commander";
import { UsageError } from "../errors.ts";
import type { Context } from "./context.ts";

/** Makes one subcommand of `cortex cache`, or of `cortex`. */
export type CommandFactory = (context: Context) => Command;

/** A command with its example, which every help page ends with. */
export function subcommand(
  name: string,
  description: string,
  example: string,
  program = "cortex cache",
): Command {
  return new Command(name)
    .description(description)
    .addHelpText("after", `\nExample:\n  $ ${program} ${example}`);
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option("--json", "print the result as one JSON value");
}

/** An option that must be given. */
class RequiredOption extends Option {}

/** Makes an option that must be given; {@linkcode expectRequired} sees to it. */
export function required(
  flags: string,
  description: string,
  read: (text: string) => unknown = (text) => text,
): Option {
  return new RequiredOption(flags, `${description} (required)`).argParser(read);
}

/**
 * The parser's own required options would be asked for before one that is
 * misspelt is told of.
 *
 * @throws {UsageError} if one is missing.
 */
export function expectRequired(command: Command): void {
  const missing = command.options.find((option) =>
    option instanceof RequiredOption &&
    command.getOptionValue(option.attributeName()) === undefined
  );
  if (!missing) return;
  throw new UsageError(
    "run",
    "the command",
    `it needs ${missing.flags}`,
    `Add ${missing.flags}: ${
      missing.description.replace(/ \(required\)$/, "")
    }`,
  );
}
