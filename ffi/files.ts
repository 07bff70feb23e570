/**
 * Files on disk, through the `node:fs` that both runtimes carry. It is loaded on
 * first use: most commands never touch the disk.
 *
 * @module
 */
import { type Fd, type Files, OsError } from "./platform.ts";

let loaded: typeof import("node:fs") | undefined;
function fs(): typeof import("node:fs") {
  return loaded ??= process.getBuiltinModule("node:fs");
}

/** Turns the runtime's error into ours, which both runtimes then share. */
function call<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    const { code, syscall } = error as { code?: string; syscall?: string };
    if (typeof code !== "string") throw error;
    throw new OsError(syscall ?? "file", code);
  }
}

function openFlags(access: "r" | "w"): number {
  const { O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK } =
    fs().constants;
  return O_NOFOLLOW | O_NONBLOCK |
    (access === "r" ? O_RDONLY : O_WRONLY | O_CREAT | O_EXCL);
}

function open(path: string, access: "r" | "w", mode = 0o600): Fd {
  const fd = call(() => fs().openSync(path, openFlags(access), mode));
  if (call(() => fs().fstatSync(fd)).isFile()) return fd;
  fs().closeSync(fd);
  throw new OsError("open", "ENOTREG");
}

function read(fd: Fd, into: Uint8Array, position: number): number {
  let done = 0;
  while (done < into.length) {
    const count = call(() =>
      fs().readSync(fd, into, done, into.length - done, position + done)
    );
    if (count === 0) break;
    done += count;
  }
  return done;
}

function write(fd: Fd, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) {
    done += call(() =>
      fs().writeSync(fd, bytes, done, bytes.length - done, position + done)
    );
  }
}

function syncDirectory(path: string): void {
  const fd = call(() => fs().openSync(path, fs().constants.O_RDONLY));
  try {
    call(() => fs().fsyncSync(fd));
  } finally {
    fs().closeSync(fd);
  }
}

/** {@linkcode Files} on the host's own file system. */
export const FILES: Files = {
  open,
  close: (fd) => call(() => fs().closeSync(fd)),
  read,
  write,
  size: (fd) => call(() => fs().fstatSync(fd)).size,
  sync: (fd) => call(() => fs().fsyncSync(fd)),
  syncDirectory,
  rename: (from, to) => call(() => fs().renameSync(from, to)),
  remove: (path) => call(() => fs().rmSync(path)),
  makeDirectory: (path, mode) =>
    void call(() => fs().mkdirSync(path, { recursive: true, mode })),
  list: (path) => call(() => fs().readdirSync(path)),
  exists: (path) => fs().existsSync(path),
};
