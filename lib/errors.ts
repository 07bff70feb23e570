/**
 * Errors that a caller can act on. Each says `Cannot <verb> <thing>: <state>`,
 * carries a {@linkcode ErrorCode}, and may add one line of what to do.
 *
 * @module
 */
import { OsError } from "../ffi/platform.ts";

/** What kind of failure it is. */
export type ErrorCode =
  /** An argument that can never be right. */
  | "USAGE"
  /** No such pool, key, snapshot or file. */
  | "NOT_FOUND"
  /** The name is taken. */
  | "EXISTS"
  /** Another process holds what is needed, for longer than the deadline. */
  | "BUSY"
  /** Damaged, or not one of ours. */
  | "CORRUPT"
  /** No space in the pool, in memory or on disk. */
  | "NO_SPACE"
  /** The handle was closed or released. */
  | "CLOSED"
  /** Anything else that the host refused. */
  | "FAILED";

/** The parts of `Cannot <verb> <thing>: <state>`, and what to do about it. */
type Parts = [
  verb: string,
  thing: string,
  state: string,
  hint?: string | undefined,
  cause?: unknown,
];

/** What every error of cortex is. */
export class CortexError extends Error {
  override readonly name: string = "CortexError";
  readonly code: ErrorCode;
  /** One line of what to do about it. */
  readonly hint: string | undefined;

  constructor(code: ErrorCode, ...parts: Parts) {
    const [verb, thing, state, hint, cause] = parts;
    super(`Cannot ${verb} ${thing}: ${state}`, { cause });
    this.code = code;
    this.hint = hint;
  }
}

/** What an error says is the matter, without what was to be done. */
export function stateOf({ message }: Error): string {
  return message.replace(/^Cannot [^:]*: /, "");
}

/** An argument that can never be right. */
export class UsageError extends CortexError {
  constructor(...parts: Parts) {
    super("USAGE", ...parts);
  }
}

/** No such pool, key, snapshot or file. */
export class NotFoundError extends CortexError {
  constructor(...parts: Parts) {
    super("NOT_FOUND", ...parts);
  }
}

/** The name is taken. */
export class ExistsError extends CortexError {
  constructor(...parts: Parts) {
    super("EXISTS", ...parts);
  }
}

/** Held by another for longer than the deadline. */
export class BusyError extends CortexError {
  constructor(...parts: Parts) {
    super("BUSY", ...parts);
  }
}

/** Damaged, or not one of ours. */
export class CorruptError extends CortexError {
  constructor(...parts: Parts) {
    super("CORRUPT", ...parts);
  }
}

/** No space in the pool, in memory or on disk. */
export class NoSpaceError extends CortexError {
  constructor(...parts: Parts) {
    super("NO_SPACE", ...parts);
  }
}

/** No memory on the host, which may have some again: the pool has room. */
export class NoMemoryError extends NoSpaceError {}

/** The handle was closed or released. */
export class ClosedError extends CortexError {
  constructor(...parts: Parts) {
    super("CLOSED", ...parts);
  }
}

/** Anything else that the host refused. */
export class FailedError extends CortexError {
  constructor(...parts: Parts) {
    super("FAILED", ...parts);
  }
}

/** Whether the operating system refused with that code, such as `"ENOENT"`. */
export function isOsError(error: unknown, code: string): boolean {
  return error instanceof OsError && error.code === code;
}

const OS_STATES: Readonly<
  Record<
    string,
    readonly [
      new (
        verb: string,
        thing: string,
        state: string,
        hint: string,
        cause: OsError,
      ) => CortexError,
      state: string,
      hint: string,
    ]
  >
> = {
  ENOENT: [NotFoundError, "it does not exist", "Check the path"],
  ENOTDIR: [
    NotFoundError,
    "a part of the path is not a directory",
    "Check the path",
  ],
  EEXIST: [
    ExistsError,
    "it exists already",
    "Choose another name, or remove what is there",
  ],
  EISDIR: [CorruptError, "it is a directory", "Give the path of a file"],
  ENOTREG: [
    CorruptError,
    "it is not a regular file",
    "Give the path of a regular file",
  ],
  ELOOP: [
    CorruptError,
    "it is a symbolic link",
    "Give the path that the link leads to",
  ],
  ENXIO: [
    CorruptError,
    "it is not a regular file",
    "Give the path of a regular file",
  ],
  ENOSPC: [
    NoSpaceError,
    "no space left on the device",
    "Make room there, or choose another place",
  ],
  EDQUOT: [
    NoSpaceError,
    "the disk quota is used up",
    "Make room there, or choose another place",
  ],
  EFBIG: [
    NoSpaceError,
    "it would be larger than a file may be",
    "Choose a file system, or a limit (ulimit -f), that allows it",
  ],
  ENOMEM: [
    NoSpaceError,
    "the host has no memory left for it",
    "Make room: see cortex doctor",
  ],
  EACCES: [
    FailedError,
    "permission denied",
    "Run it as the owner, or ask for permission",
  ],
  EPERM: [
    FailedError,
    "permission denied",
    "Run it as the owner, or ask for permission",
  ],
  EROFS: [
    FailedError,
    "the file system is read-only",
    "Choose a place that can be written to",
  ],
  EIO: [
    FailedError,
    "the device reported an input/output error",
    "Look into the kernel log (dmesg), and at the disk",
  ],
  EMFILE: [
    FailedError,
    "this process has too many open files",
    "Raise the limit (ulimit -n)",
  ],
};

/** Turns an {@linkcode OsError} into a typed one, whose cause it is; lets any other error pass. */
export function describeOsError(
  error: unknown,
  verb: string,
  thing: string,
): unknown {
  if (!(error instanceof OsError)) return error;
  const known = OS_STATES[error.code];
  if (known) {
    const [Kind, state, hint] = known;
    return new Kind(verb, thing, state, hint, error);
  }
  const state = `${error.syscall} said ${error.code}`;
  return new FailedError(verb, thing, state, undefined, error);
}

/** Runs a call of the host, and gives its refusal our words. */
export function onHost<T>(verb: string, thing: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw describeOsError(error, verb, thing);
  }
}

/** The same for work in steps: whatever the host refuses in the midst of it. */
export function* stepsOnHost<Step, Result>(
  verb: string,
  thing: string,
  steps: Generator<Step, Result>,
): Generator<Step, Result> {
  try {
    return yield* steps;
  } catch (error) {
    throw describeOsError(error, verb, thing);
  }
}
