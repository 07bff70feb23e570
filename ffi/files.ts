/**
 * Files on disk, through the `node:fs` that both runtimes carry. It is loaded on
 * first use: most commands never touch the disk.
 *
 * @module
 */
import { errnoName } from "./errno.ts";
import {
  type Fd,
  type FileAccess,
  type Files,
  OsError,
  type PathStat,
  type Space,
} from "./platform.ts";

let loaded: typeof import("node:fs") | undefined;
function fs(): typeof import("node:fs") {
  return loaded ??= process.getBuiltinModule("node:fs");
}

function asOsError(error: unknown): OsError {
  const { code, syscall, message } = error as Partial<
    { code: string; syscall: string; message: string }
  >;
  if (typeof code === "string") return new OsError(syscall ?? "file", code);
  // Deno names some only in words, such as "Illegal seek (os error 29)".
  const errno = /\(os error (\d+)\)/.exec(message ?? "")?.[1];
  if (errno === undefined) throw error;
  return new OsError("file", errnoName(Number(errno)));
}

/**
 * Calls again when a signal came between, and turns the runtime's error into
 * ours, which both runtimes then share.
 */
function call<T>(run: () => T): T {
  for (;;) {
    try {
      return run();
    } catch (error) {
      const refusal = asOsError(error);
      if (refusal.code !== "EINTR") throw refusal;
    }
  }
}

// Another number on each, and not every runtime knows its name.
const O_DIRECT = process.arch === "arm64" ? 0o200000 : 0o40000;

function openFlags(access: FileAccess): number {
  const c = fs().constants;
  switch (access) {
    case "r":
      return c.O_RDONLY | c.O_NOFOLLOW | c.O_NONBLOCK;
    case "w":
      return c.O_WRONLY | c.O_CREAT | c.O_EXCL | c.O_NOFOLLOW;
    case "direct r":
      return openFlags("r") | O_DIRECT;
    case "direct w":
      return openFlags("w") | O_DIRECT;
    case "user":
      return c.O_RDONLY;
    case "replace":
      return c.O_WRONLY | c.O_CREAT | c.O_TRUNC;
  }
}

const open: Files["open"] = (path, access, mode = 0o600) => {
  const fd = openAs(path, access, mode);
  if (access === "user" || access === "replace") return fd;
  if (call(() => fs().fstatSync(fd)).isFile()) {
    const isNew = access === "w" || access === "direct w";
    if (isNew) call(() => fs().fchmodSync(fd, mode)); // past the umask
    return fd;
  }
  fs().closeSync(fd);
  throw new OsError("open", "ENOTREG");
};

function openAs(path: string, access: FileAccess, mode: number): Fd {
  const flags = openFlags(access);
  try {
    return call(() => fs().openSync(path, flags, mode));
  } catch (error) {
    const isRefused = error instanceof OsError && error.code === "EINVAL";
    if (!isRefused || (flags & O_DIRECT) === 0) throw error;
  }
  // The file system has no direct access. Linux makes the file before it says so.
  const remade = flags & ~O_DIRECT & ~fs().constants.O_EXCL;
  return call(() => fs().openSync(path, remade, mode));
}

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
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = fs().constants;
  return call(() => fs().openSync(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
}

/** One after the other: a mode that the umask took from a parent bars its children. */
function makeDirectory(path: string, mode: number): void {
  try {
    makeOne(path, mode);
  } catch (error) {
    const parent = path.replace(/\/+[^/]*\/*$/, "");
    const isMissing = error instanceof OsError && error.code === "ENOENT";
    if (!isMissing || parent === "" || parent === path) throw error;
    makeDirectory(parent, mode);
    makeOne(path, mode); // a parent like /proc is there, and takes none
  }
}

function makeOne(path: string, mode: number): void {
  try {
    call(() => fs().mkdirSync(path, mode));
  } catch (error) {
    const isThere = error instanceof OsError && error.code === "EEXIST" &&
      stat(path)?.isDirectory;
    if (isThere) return;
    throw error;
  }
  call(() => fs().chmodSync(path, mode));
}

function stat(path: string): PathStat | undefined {
  const found = call(() => fs().statSync(path, { throwIfNoEntry: false }));
  return found && {
    isRegular: found.isFile(),
    isDirectory: found.isDirectory(),
    mode: found.mode & 0o7777,
    uid: found.uid,
    gid: found.gid,
  };
}

/** The magic numbers of tmpfs and ramfs. */
const MEMORY_FILE_SYSTEMS: readonly number[] = [0x01021994, 0x858458f6];

function space(path: string): Space {
  const { bsize, blocks, bavail, type } = call(() => fs().statfsSync(path));
  return {
    size_bytes: blocks * bsize,
    free_bytes: bavail * bsize,
    isMemory: MEMORY_FILE_SYSTEMS.includes(type),
  };
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
  makeDirectory,
  list: (path) => call(() => fs().readdirSync(path)),
  absolute: (path) => process.getBuiltinModule("node:path").resolve(path),
  link: (target, path) => call(() => fs().symlinkSync(target, path)),
  linkTarget: (path) => {
    try {
      return call(() => fs().readlinkSync(path));
    } catch (error) {
      const { code } = error as OsError;
      if (["ENOENT", "EINVAL", "ENOTDIR"].includes(code)) return undefined;
      throw error;
    }
  },
  exists: (path) => fs().existsSync(path),
  stat,
  realPath: (path) => call(() => fs().realpathSync(path)),
  space,
};
