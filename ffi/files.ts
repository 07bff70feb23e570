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

function openFlags(access: "r" | "w" | "user" | "replace"): number {
  const c = fs().constants;
  switch (access) {
    case "r":
      return c.O_RDONLY | c.O_NOFOLLOW | c.O_NONBLOCK;
    case "w":
      return c.O_WRONLY | c.O_CREAT | c.O_EXCL | c.O_NOFOLLOW;
    case "user":
      return c.O_RDONLY;
    case "replace":
      return c.O_WRONLY | c.O_CREAT | c.O_TRUNC;
  }
}

const open: Files["open"] = (path, access, mode = 0o600) => {
  const fd = call(() => fs().openSync(path, openFlags(access), mode));
  const isOurs = access === "r" || access === "w";
  if (!isOurs || call(() => fs().fstatSync(fd)).isFile()) return fd;
  fs().closeSync(fd);
  throw new OsError("open", "ENOTREG");
};

/** Neither runtime moves 2 GiB or more in one call. */
const CALL_MAX_BYTES = 1 << 30;

/** Runs a call at a position; on a pipe, which has none, where it stands. */
function at<T>(position: number, run: (position: number | null) => T): T {
  try {
    return call(() => run(position));
  } catch (error) {
    if (!(error instanceof OsError && error.code === "ESPIPE")) throw error;
    return call(() => run(null));
  }
}

function read(fd: Fd, into: Uint8Array, position: number): number {
  let done = 0;
  while (done < into.length) {
    const length = Math.min(into.length - done, CALL_MAX_BYTES);
    const count = at(
      position + done,
      (from) => fs().readSync(fd, into, done, length, from),
    );
    if (count === 0) break;
    done += count;
  }
  return done;
}

function write(fd: Fd, bytes: Uint8Array, position: number): void {
  let done = 0;
  while (done < bytes.length) {
    const length = Math.min(bytes.length - done, CALL_MAX_BYTES);
    done += at(
      position + done,
      (to) => fs().writeSync(fd, bytes, done, length, to),
    );
  }
}

function openDirectory(path: string): Fd {
  const { O_RDONLY, O_DIRECTORY } = fs().constants;
  return call(() => fs().openSync(path, O_RDONLY | O_DIRECTORY));
}

/** {@linkcode Files} on the host's own file system. */
export const FILES: Files = {
  open,
  close: (fd) => call(() => fs().closeSync(fd)),
  read,
  write,
  size: (fd) => call(() => fs().fstatSync(fd)).size,
  sync: (fd) => call(() => fs().fsyncSync(fd)),
  openDirectory,
  rename: (from, to) => call(() => fs().renameSync(from, to)),
  remove: (path) => call(() => fs().rmSync(path)),
  makeDirectory: (path, mode) =>
    void call(() => fs().mkdirSync(path, { recursive: true, mode })),
  list: (path) => call(() => fs().readdirSync(path)),
  exists: (path) => fs().existsSync(path),
};
