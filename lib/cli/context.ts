/**
 * What every command is given, and how it says its result.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import type { Terminal } from "../../ffi/terminal.ts";

/** The host and the terminal. The platform is opened when it is first needed. */
export interface Context {
  platform(): Platform;
  readonly terminal: Terminal;
}

/** The option that every command with a result has. */
export interface JsonOption {
  readonly json?: true;
}

/** Prints a result: as one JSON value, or for people. */
export function print(
  { terminal }: Context,
  options: JsonOption,
  json: unknown,
  text: string,
): void {
  const line = options.json ? JSON.stringify(json) : text;
  if (line !== "") terminal.write("stdout", line + "\n");
}

/** A remark that is no result. */
export function note({ terminal }: Context, text: string): void {
  terminal.write("stderr", text + "\n");
}
