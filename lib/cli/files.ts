/**
 * Files that the user names: read whole, or written anew.
 *
 * @module
 */
import type { Fd, Files } from "../../ffi/platform.ts";
import { isOsError, NotFoundError, onHost, UsageError } from "../errors.ts";
import type { Context } from "./context.ts";

/** A file's bytes; `-` is standard input. */
export function readFile(context: Context, path: string): Uint8Array {
  if (path === "-") return context.terminal.readAll();
  const { files } = context.platform();
  const what = `file ${JSON.stringify(path)}`;
  return onUserFile("read", what, () => {
    const fd = files.open(path, "user");
    try {
      return readToEnd(files, fd);
    } finally {
      files.close(fd);
    }
  });
}

const READ_MIN_BYTES = 1 << 16;

/** A pipe, as `<(command)` is one, does not say how much there is to come. */
function readToEnd(files: Files, fd: Fd): Uint8Array {
  let bytes = new Uint8Array(Math.max(files.size(fd) + 1, READ_MIN_BYTES));
  for (let length = 0;;) {
    length += files.read(fd, bytes.subarray(length), length);
    if (length < bytes.length) return bytes.subarray(0, length);
    const longer = new Uint8Array(2 * length);
    longer.set(bytes);
    bytes = longer;
  }
}

/** Runs a call of the host on a file that the user names. */
export function onUserFile<T>(verb: string, what: string, run: () => T): T {
  return onHost(verb, what, () => {
    try {
      return run();
    } catch (error) {
      if (isOsError(error, "ENOENT")) {
        throw new NotFoundError(
          verb,
          what,
          verb === "read"
            ? "it does not exist"
            : "its directory does not exist",
          "Check the path",
        );
      }
      if (!isOsError(error, "EISDIR")) throw error;
      throw new UsageError(
        verb,
        what,
        "it is a directory",
        "Give the path of a file",
      );
    }
  });
}

/** The same, as text. */
export function readText(context: Context, path: string): string {
  return new TextDecoder().decode(readFile(context, path));
}

/** Writes a file, over whatever was there. */
export function writeFile(context: Context, path: string, text: string): void {
  const { files } = context.platform();
  onUserFile("write", `file ${JSON.stringify(path)}`, () => {
    const fd = files.open(path, "replace", 0o644);
    try {
      files.write(fd, new TextEncoder().encode(text), 0);
    } finally {
      files.close(fd);
    }
  });
}
