/**
 * The platform: everything that `lib/` needs from the host. It is an interface
 * so that a fake one can inject faults, stop at every call and replay a seed;
 * the real one is {@linkcode file://./libc.ts} over one of the two adapters.
 *
 * Every method is synchronous. A method that the host refuses throws an
 * {@linkcode OsError}.
 *
 * @module
 */

/** An open file description, as the kernel numbers it. */
export type Fd = number;

/** What the kernel says of an open file. */
export interface FileStat {
  readonly isRegular: boolean;
  /** Permission bits only, such as `0o600`. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly inode: number;
  /** Names that lead to the file: 0 once it was unlinked. */
  readonly links: number;
  readonly size_bytes: number;
  /** Memory or disk that it takes up. */
  readonly allocated_bytes: number;
  /** When its inode last changed, in milliseconds since the Unix epoch. */
  readonly changed_at: number;
}

/** What is at the end of a path, links followed. */
export interface PathStat {
  readonly isRegular: boolean;
  readonly isDirectory: boolean;
  /** Permission bits only. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Room of a file system. */
export interface Space {
  readonly size_bytes: number;
  /** What an ordinary user may still take of it. */
  readonly free_bytes: number;
  /** Whether it is gone after a reboot. */
  readonly isMemory: boolean;
}

/** A call that the operating system refused. */
export class OsError extends Error {
  override readonly name = "OsError";
  /** Symbolic name, such as `"ENOSPC"`. */
  readonly code: string;
  readonly syscall: string;

  constructor(syscall: string, code: string) {
    super(`${syscall}: ${code}`);
    this.syscall = syscall;
    this.code = code;
  }
}

/**
 * A shared mapping of a file. It hands out windows, never an address; a window
 * reads as empty once it is released or the mapping is closed.
 */
export interface Mapping {
  readonly size_bytes: number;
  /** Largest single window that the runtime can make, in bytes. */
  readonly windowLimit_bytes: number;
  /** A window onto `[offset, offset + length)`. Bounds are checked. */
  window(offset: number, length: number): ArrayBuffer;
  /** Detaches a window: every view of it has length 0 from now on. */
  release(window: ArrayBuffer): void;
  /** Touches the pages of a range, so that later writes take no page fault. */
  populate(offset: number, length: number): void;
  /** Writes what has changed to the file behind it; on disk when this returns. */
  sync(): void;
  /** Detaches every window and unmaps. May be called twice. */
  close(): void;
}

/** A move of bytes between a mapping and a file. */
export interface Transfer {
  readonly kind: "read" | "write";
  readonly fd: Fd;
  readonly mapping: Mapping;
  /** In the mapping. */
  readonly offset: number;
  readonly length: number;
  /** In the file. */
  readonly position: number;
  /** Bytes moved, once it is over: fewer than `length` at the end of a file only. */
  done?: number;
}

/**
 * Transfers of which several are under way at once. On a file that is open for
 * direct access, offset, length and position are multiples of 4,096.
 */
export interface Transfers {
  /** Begins one; waits first if as many as may be are under way. */
  start(transfer: Transfer): void;
  /** Waits until one is over and gives it, in any order; `undefined` if none is left. */
  wait(): Transfer | undefined;
  /** Transfers begun that `wait` has not given yet. */
  readonly pending: number;
  /** Waits for what is under way, and drops it. */
  close(): void;
}

/** How {@linkcode Files.open} opens. */
export type FileAccess =
  | "r"
  | "w"
  | "direct r"
  | "direct w"
  | "user"
  | "replace";

/** Files on disk, for snapshots. Paths are absolute or relative to the cwd. */
export interface Files {
  /**
   * `"r"` and `"w"` are for our own files: they refuse symlinks and whatever is
   * no regular file, and `"w"` a file that exists. `"user"` reads and `"replace"`
   * overwrites what the user named, whatever it is. `mode` holds past the umask.
   * `"direct r"` and `"direct w"` are as `"r"` and `"w"`, past the page cache
   * where the file system allows it: for `Transfers`.
   */
  open(path: string, access: FileAccess, mode?: number): Fd;
  close(fd: Fd): void;
  /** Bytes read: fewer than asked at the end of the file only. */
  read(fd: Fd, into: Uint8Array, position: number): number;
  /** Writes all of `bytes`. */
  write(fd: Fd, bytes: Uint8Array, position: number): void;
  size(fd: Fd): number;
  sync(fd: Fd): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** With its parents, past the umask; one that exists is left as it is. */
  makeDirectory(path: string, mode: number): void;
  /** A directory, to be locked or synced. Refuses a symlink. */
  openDirectory(path: string): Fd;
  list(path: string): string[];
  /** The path from the root on. */
  absolute(path: string): string;
  /** Makes `path` a symbolic link to `target`; refuses if it exists. */
  link(target: string, path: string): void;
  /** Where a symbolic link leads; `undefined` if there is none. */
  linkTarget(path: string): string | undefined;
  exists(path: string): boolean;
  /** `undefined` if there is nothing. */
  stat(path: string): PathStat | undefined;
  /** Without symlinks in it. */
  realPath(path: string): string;
  /** Of the file system that a path is on. */
  space(path: string): Space;
}

/** The host. See the module's text. */
export interface Platform {
  /** Such as `"deno 2.9.6"`. */
  readonly runtime: string;
  /** What it is tested with, in words, where that is not what it runs on. */
  testedRuntime(): string | undefined;
  readonly pid: number;
  /** Effective user. */
  readonly uid: number;
  /** Groups of the process, the effective one included. */
  groups(): number[];
  readonly files: Files;

  /** For reading and writing; refuses if the name is taken. */
  createSegment(name: string, mode: number): Fd;
  /** For reading and writing. */
  openSegment(name: string): Fd;
  /** Gives a segment its final name; refuses if that name is taken. */
  renameSegment(from: string, to: string): void;
  unlinkSegment(name: string): void;
  listSegments(): string[];

  /** As `createSegment`, for a file on disk. */
  createFile(path: string, mode: number): Fd;
  /** As `openSegment`, for a file on disk. */
  openFile(path: string): Fd;
  /** Gives a file its final name; refuses if that name is taken. */
  renameFile(from: string, to: string): void;

  close(fd: Fd): void;
  stat(fd: Fd): FileStat;
  setMode(fd: Fd, mode: number): void;
  /** Bytes read: a head that is only looked at need not be mapped. */
  read(fd: Fd, into: Uint8Array, offset: number): number;
  truncate(fd: Fd, size_bytes: number): void;
  /** Backs a range with memory, or throws `ENOSPC`; contents stay. */
  allocate(fd: Fd, offset: number, length: number): void;
  /**
   * Maps it shared, writable even for those who only read: Bun compiles
   * `Atomics.load` to an instruction that writes, see ADR 4.
   */
  map(fd: Fd, size_bytes: number): Mapping;

  /** Memory of our own, aligned to pages: what transfers need. */
  allocateMemory(size_bytes: number): Mapping;
  /**
   * A queue for at most so many transfers at once. One for more than one costs
   * some 30 ms to close; with one, each is over when `start` returns.
   */
  openTransfers(depth: number): Transfers;

  /** The whole-file lock, exclusive. False if another holds it. */
  tryLock(fd: Fd): boolean;
  unlock(fd: Fd): void;
  /** The lock of one byte, bound to `fd`: the kernel drops it when the process dies. */
  tryLockByte(fd: Fd, offset: number): boolean;
  unlockByte(fd: Fd, offset: number): void;
  /**
   * Whether a holder other than `fd` has that byte, or any of `length` from it on;
   * a length of 0 is all there are.
   */
  isByteLocked(fd: Fd, offset: number, length?: number): boolean;

  /**
   * Copies all of `from` to the start of `to`; the two do not overlap. Many bytes
   * go past the processor's cache, where the host can do that.
   *
   * @throws {RangeError} if `to` is shorter.
   */
  copy(to: Uint8Array, from: Uint8Array): void;
  /** As `copy`; gives what `crc32` would of the bytes as they were copied. */
  copyAndSum(to: Uint8Array, from: Uint8Array, seed?: number): number;
  /** CRC-32 (IEEE 802.3, as zlib's) of `bytes`, going on from `seed`. */
  crc32(bytes: Uint8Array, seed?: number): number;
  /** A frame of zstd, level 1. */
  compress(bytes: Uint8Array): Uint8Array;
  /** What is in a frame of zstd; throws if that is not `size_bytes` bytes. */
  decompress(bytes: Uint8Array, size_bytes: number): Uint8Array;
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds that never go back. */
  monotonic(): number;
  sleep(milliseconds: number): void;
  randomBytes(count: number): Uint8Array;
  environment(name: string): string | undefined;
  /** Such as `"glibc 2.36"`. */
  libcVersion(): string;
  /** Another at every start of the host. */
  bootId(): string;
  /** Of the effective user, as the host knows it. */
  homeDirectory(): string | undefined;
}
