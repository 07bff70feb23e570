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
  /** Detaches every window and unmaps. May be called twice. */
  close(): void;
}

/** Files on disk, for snapshots. Paths are absolute or relative to the cwd. */
export interface Files {
  /**
   * `"r"` and `"w"` are for our own files: they refuse symlinks and whatever is
   * no regular file, and `"w"` a file that exists. `"user"` reads and `"replace"`
   * overwrites what the user named, whatever it is.
   */
  open(
    path: string,
    access: "r" | "w" | "user" | "replace",
    mode?: number,
  ): Fd;
  close(fd: Fd): void;
  /** Bytes read: fewer than asked at the end of the file only. */
  read(fd: Fd, into: Uint8Array, position: number): number;
  /** Writes all of `bytes`. */
  write(fd: Fd, bytes: Uint8Array, position: number): void;
  size(fd: Fd): number;
  sync(fd: Fd): void;
  rename(from: string, to: string): void;
  remove(path: string): void;
  /** With its parents; one that exists is left as it is. */
  makeDirectory(path: string, mode: number): void;
  /** A directory, to be locked or synced. */
  openDirectory(path: string): Fd;
  list(path: string): string[];
  exists(path: string): boolean;
}

/** The host. See the module's text. */
export interface Platform {
  /** Such as `"deno 2.9.6"`. */
  readonly runtime: string;
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

  close(fd: Fd): void;
  stat(fd: Fd): FileStat;
  setMode(fd: Fd, mode: number): void;
  truncate(fd: Fd, size_bytes: number): void;
  /** Backs a range with memory, or throws `ENOSPC`; contents stay. */
  allocate(fd: Fd, offset: number, length: number): void;
  /**
   * Maps it shared, writable even for those who only read: Bun compiles
   * `Atomics.load` to an instruction that writes, see ADR 4.
   */
  map(fd: Fd, size_bytes: number): Mapping;

  /** The whole-file lock, exclusive. False if another holds it. */
  tryLock(fd: Fd): boolean;
  unlock(fd: Fd): void;
  /** The lock of one byte, bound to `fd`: the kernel drops it when the process dies. */
  tryLockByte(fd: Fd, offset: number): boolean;
  unlockByte(fd: Fd, offset: number): void;
  /** Whether a holder other than `fd` has that byte. */
  isByteLocked(fd: Fd, offset: number): boolean;

  /** CRC-32 (IEEE 802.3, as zlib's) of `bytes`, going on from `seed`. */
  crc32(bytes: Uint8Array, seed?: number): number;
  /** Milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds that never go back. */
  monotonic(): number;
  sleep(milliseconds: number): void;
  randomBytes(count: number): Uint8Array;
  environment(name: string): string | undefined;
}
