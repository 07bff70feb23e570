/**
 * The common shape of a subcommand.
 *
 * @module
 */
import { Command } from "commander";
import type { Context } from "./context.ts";

/** Makes one subcommand of `cortex cache`. */
export type CommandFactory = (context: Context) => Command;

/** A command with its example, which every help page ends with. */
export function subcommand(
  name: string,
  description: string,
  example: string,
): Command {
  return new Command(name)
    .description(description)
    .addHelpText("after", `\nExample:\n  $ cortex cache ${example}`);
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option("--json", "print the result as one JSON value");
}
