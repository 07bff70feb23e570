/**
 * Exit codes, and errors as people see them: one line of what it is, and one of
 * what to do.
 *
 * @module
 */
import { safe } from "./format.ts";
import { CortexError, describeOsError, type ErrorCode } from "../errors.ts";

const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  FAILED: 1,
  EXISTS: 1,
  CLOSED: 1,
  USAGE: 2,
  NOT_FOUND: 3,
  BUSY: 4,
  CORRUPT: 5,
  NO_SPACE: 6,
};

export const EXIT_FAILED = EXIT_CODES.FAILED;
export const EXIT_USAGE = EXIT_CODES.USAGE;
export const EXIT_CORRUPT = EXIT_CODES.CORRUPT;
/** 128 + SIGPIPE: who reads our output has left. */
export const EXIT_BROKEN_PIPE = 141;
/** 128 + SIGINT, as a shell says it. */
export const EXIT_INTERRUPTED = 130;

/** Ends a command with that code; what there was to say has been said. */
export class Exit extends Error {
  override readonly name = "Exit";
  readonly code: number;

  constructor(code: number) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** Lines for stderr, and the exit code. */
export interface Failure {
  readonly lines: readonly string[];
  readonly code: number;
}

export function describeFailure(error: unknown): Failure {
  if (error instanceof Exit) return { lines: [], code: error.code };
  const known = describeOsError(error, "run", "the command");
  if (known instanceof CortexError) {
    const lines = [`cortex: ${oneLine(known.message)}`];
    if (known.hint) lines.push(oneLine(known.hint));
    return { lines, code: EXIT_CODES[known.code] };
  }
  const message = error instanceof Error ? error.message : String(error);
  const text = message.startsWith("Cannot ")
    ? message
    : `Cannot run the command: ${message}`;
  return { lines: [`cortex: ${oneLine(text)}`], code: 1 };
}

function oneLine(text: string): string {
  return safe(text.replaceAll(/\s*\n\s*/g, " "));
}
