/**
 * The Linux host over libc. All that the two runtimes share is here; an adapter
 * binds {@linkcode Libc}, which is libc's own calls and nothing else.
 *
 * @module
 */
import { FILES } from "./files.ts";
import {
  type Fd,
  type Files,
  type FileStat,
  type Mapping,
  OsError,
  type Platform,
} from "./platform.ts";

/** A mapped range of memory; no address leaves the adapter. */
export interface Region {
  view(offset: number, length: number): ArrayBuffer;
  madvise(offset: number, length: number, advice: number): number;
  munmap(): number;
}

/**
 * libc, with its own names and its own results: -1 is failure, see `errno`. And
 * what each runtime has its own fast way to do.
 */
export interface Libc {
  readonly runtime: string;
  readonly windowLimit_bytes: number;
  /** As zlib's. */
  crc32(bytes: Uint8Array, seed: number): number;
  errno(): number;
  shm_open(name: Uint8Array, oflag: number, mode: number): number;
  shm_unlink(name: Uint8Array): number;
  renameat2(
    olddir: number,
    oldpath: Uint8Array,
    newdir: number,
    newpath: Uint8Array,
    flags: number,
  ): number;
  close(fd: number): number;
  statx(
    dir: number,
    path: Uint8Array,
    flags: number,
    mask: number,
    out: Uint8Array,
  ): number;
  fchmod(fd: number, mode: number): number;
  ftruncate(fd: number, length: number): number;
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  mmap(length: number, prot: number, flags: number, fd: number):
    | Region
    | undefined;
  flock(fd: number, operation: number): number;
  fcntl(fd: number, command: number, lock: Uint8Array): number;
  nanosleep(request: Uint8Array): number;
  getpid(): number;
  geteuid(): number;
  getegid(): number;
  getgroups(size: number, list: Uint8Array): number;
}

// The C library's constants, equal on x86-64 and arm64.
const O_RDWR = 2, O_CREAT = 0o100, O_EXCL = 0o200;
const O_NONBLOCK = 0o4000; // so that a FIFO put in our place cannot hang us
const AT_FDCWD = -100, AT_EMPTY_PATH = 0x1000, RENAME_NOREPLACE = 1;
const STATX_BASIC_STATS = 0x7ff, S_IFMT = 0o170000, S_IFREG = 0o100000;
const PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1;
const MADV_DONTDUMP = 16, MADV_POPULATE_WRITE = 23;
const LOCK_EX = 2, LOCK_NB = 4, LOCK_UN = 8;
const F_OFD_GETLK = 36, F_OFD_SETLK = 37;
const F_WRLCK = 1, F_UNLCK = 2;

/** Where glibc keeps POSIX shared memory. */
const SHM_DIRECTORY = "/dev/shm";

const ERRNO: Readonly<Record<number, string>> = {
  1: "EPERM",
  2: "ENOENT",
  4: "EINTR",
  5: "EIO",
  9: "EBADF",
  11: "EAGAIN",
  12: "ENOMEM",
  13: "EACCES",
  16: "EBUSY",
  17: "EEXIST",
  20: "ENOTDIR",
  21: "EISDIR",
  22: "EINVAL",
  23: "ENFILE",
  24: "EMFILE",
  27: "EFBIG",
  28: "ENOSPC",
  30: "EROFS",
  36: "ENAMETOOLONG",
  37: "ENOLCK",
  38: "ENOSYS",
  40: "ELOOP",
  75: "EOVERFLOW",
  95: "EOPNOTSUPP",
  122: "EDQUOT",
};

const encoder = new TextEncoder();
const EMPTY_PATH = new Uint8Array(1);

function cstring(text: string): Uint8Array {
  return encoder.encode(text + "\0");
}

/** The path that POSIX shared memory knows a segment by. */
function segmentPath(name: string): Uint8Array {
  return cstring("/" + name);
}

/** {@linkcode Platform} over a bound {@linkcode Libc}. */
export class LibcPlatform implements Platform {
  readonly runtime: string;
  readonly pid: number;
  readonly uid: number;
  readonly files: Files = FILES;
  readonly #libc: Libc;
  readonly #statx = new Uint8Array(256);
  readonly #flock = new Uint8Array(32);

  constructor(libc: Libc) {
    this.#libc = libc;
    this.runtime = libc.runtime;
    this.pid = libc.getpid();
    this.uid = libc.geteuid();
  }

  groups(): number[] {
    const list = new Uint32Array(256);
    const count = this.#libc.getgroups(
      list.length,
      new Uint8Array(list.buffer),
    );
    if (count < 0) throw this.#error("getgroups");
    return [this.#libc.getegid(), ...list.subarray(0, count)];
  }

  createSegment(name: string, mode: number): Fd {
    return this.#shmOpen(name, O_CREAT | O_EXCL, mode);
  }

  openSegment(name: string): Fd {
    return this.#shmOpen(name, 0, 0);
  }

  renameSegment(from: string, to: string): void {
    this.#retry("renameat2", () =>
      this.#libc.renameat2(
        AT_FDCWD,
        cstring(`${SHM_DIRECTORY}/${from}`),
        AT_FDCWD,
        cstring(`${SHM_DIRECTORY}/${to}`),
        RENAME_NOREPLACE,
      ));
  }

  unlinkSegment(name: string): void {
    this.#retry("shm_unlink", () => this.#libc.shm_unlink(segmentPath(name)));
  }

  listSegments(): string[] {
    return this.files.list(SHM_DIRECTORY);
  }

  close(fd: Fd): void {
    // Linux closes the descriptor even when it answers EINTR: never twice.
    this.#libc.close(fd);
  }

  stat(fd: Fd): FileStat {
    const out = this.#statx;
    this.#retry(
      "statx",
      () =>
        this.#libc.statx(fd, EMPTY_PATH, AT_EMPTY_PATH, STATX_BASIC_STATS, out),
    );
    return decodeStatx(new DataView(out.buffer));
  }

  setMode(fd: Fd, mode: number): void {
    this.#retry("fchmod", () => this.#libc.fchmod(fd, mode));
  }

  truncate(fd: Fd, size_bytes: number): void {
    this.#retry("ftruncate", () => this.#libc.ftruncate(fd, size_bytes));
  }

  allocate(fd: Fd, offset: number, length: number): void {
    this.#retry(
      "fallocate",
      () => this.#libc.fallocate(fd, 0, offset, length),
    );
  }

  map(fd: Fd, size_bytes: number): Mapping {
    const region = this.#libc.mmap(
      size_bytes,
      PROT_READ | PROT_WRITE,
      MAP_SHARED,
      fd,
    );
    if (region === undefined) throw this.#error("mmap");
    // Prompts must not end in core dumps; an old kernel may refuse, no harm.
    region.madvise(0, size_bytes, MADV_DONTDUMP);
    return new LibcMapping(
      region,
      size_bytes,
      this.#libc.windowLimit_bytes,
      () => this.#error("madvise"),
    );
  }

  tryLock(fd: Fd): boolean {
    return this.#try("flock", () => this.#libc.flock(fd, LOCK_EX | LOCK_NB));
  }

  unlock(fd: Fd): void {
    this.#retry("flock", () => this.#libc.flock(fd, LOCK_UN));
  }

  tryLockByte(fd: Fd, offset: number): boolean {
    return this.#try(
      "fcntl",
      () => this.#fcntl(fd, F_OFD_SETLK, F_WRLCK, offset),
    );
  }

  unlockByte(fd: Fd, offset: number): void {
    this.#retry("fcntl", () => this.#fcntl(fd, F_OFD_SETLK, F_UNLCK, offset));
  }

  isByteLocked(fd: Fd, offset: number): boolean {
    this.#retry("fcntl", () => this.#fcntl(fd, F_OFD_GETLK, F_WRLCK, offset));
    return new Int16Array(this.#flock.buffer)[0] !== F_UNLCK;
  }

  crc32(bytes: Uint8Array, seed = 0): number {
    return this.#libc.crc32(bytes, seed);
  }

  now(): number {
    return Date.now();
  }

  monotonic(): number {
    return performance.now();
  }

  sleep(milliseconds: number): void {
    const request = new BigInt64Array([
      BigInt(Math.floor(milliseconds / 1000)),
      BigInt(Math.round((milliseconds % 1000) * 1e6)),
    ]);
    this.#libc.nanosleep(new Uint8Array(request.buffer));
  }

  randomBytes(count: number): Uint8Array {
    return crypto.getRandomValues(new Uint8Array(count));
  }

  environment(name: string): string | undefined {
    return process.env[name];
  }

  #shmOpen(name: string, flags: number, mode: number): Fd {
    return this.#retry(
      "shm_open",
      () =>
        this.#libc.shm_open(
          segmentPath(name),
          O_RDWR | O_NONBLOCK | flags,
          mode,
        ),
    );
  }

  /** `fcntl` with a `struct flock`: type, whence, start, length, pid. */
  #fcntl(fd: Fd, command: number, type: number, offset: number): number {
    const lock = new DataView(this.#flock.buffer);
    lock.setInt16(0, type, true);
    lock.setInt16(2, 0, true); // SEEK_SET
    lock.setBigInt64(8, BigInt(offset), true);
    lock.setBigInt64(16, 1n, true);
    lock.setInt32(24, 0, true); // must be 0 for these locks
    return this.#libc.fcntl(fd, command, this.#flock);
  }

  /** Calls again when a signal came between; throws any other failure. */
  #retry(syscall: string, call: () => number): number {
    for (;;) {
      const result = call();
      if (result !== -1) return result;
      const error = this.#error(syscall);
      if (error.code !== "EINTR") throw error;
    }
  }

  /** As `#retry`, with false for a lock that another holds. */
  #try(syscall: string, call: () => number): boolean {
    try {
      this.#retry(syscall, call);
      return true;
    } catch (error) {
      if (error instanceof OsError && isHeldElsewhere(error)) return false;
      throw error;
    }
  }

  #error(syscall: string): OsError {
    const errno = this.#libc.errno();
    return new OsError(syscall, ERRNO[errno] ?? `errno ${errno}`);
  }
}

function isHeldElsewhere(error: OsError): boolean {
  return error.code === "EAGAIN" ||
    (error.syscall === "fcntl" && error.code === "EACCES");
}

/** `struct statx` is the same on every architecture, which `struct stat` is not. */
function decodeStatx(raw: DataView): FileStat {
  const mode = raw.getUint16(28, true);
  return {
    isRegular: (mode & S_IFMT) === S_IFREG,
    mode: mode & 0o7777,
    links: raw.getUint32(16, true),
    uid: raw.getUint32(20, true),
    gid: raw.getUint32(24, true),
    inode: Number(raw.getBigUint64(32, true)),
    size_bytes: Number(raw.getBigUint64(40, true)),
  };
}

/** Shrinking to 0 in the move drops the memory without copying a byte of it. */
function detach(window: ArrayBuffer): void {
  // A caller may have transferred it away already.
  if (!window.detached) window.transfer(0);
}

class LibcMapping implements Mapping {
  readonly size_bytes: number;
  readonly windowLimit_bytes: number;
  readonly #region: Region;
  readonly #error: () => OsError;
  readonly #windows = new Set<ArrayBuffer>();
  #open = true;

  constructor(
    region: Region,
    size_bytes: number,
    windowLimit_bytes: number,
    error: () => OsError,
  ) {
    this.#region = region;
    this.size_bytes = size_bytes;
    this.windowLimit_bytes = windowLimit_bytes;
    this.#error = error;
  }

  window(offset: number, length: number): ArrayBuffer {
    if (!this.#open) throw new OsError("window", "EBADF");
    if (
      !(offset >= 0 && length > 0 && offset + length <= this.size_bytes) ||
      length > this.windowLimit_bytes
    ) {
      throw new OsError("window", "EFAULT");
    }
    const window = this.#region.view(offset, length);
    this.#windows.add(window);
    return window;
  }

  release(window: ArrayBuffer): void {
    if (this.#windows.delete(window)) detach(window);
  }

  populate(offset: number, length: number): void {
    if (this.#region.madvise(offset, length, MADV_POPULATE_WRITE) === 0) return;
    const error = this.#error();
    // Before Linux 5.14 there is no such advice: pages come by fault, as ever.
    if (error.code !== "EINVAL") throw error;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const window of this.#windows) detach(window);
    this.#windows.clear();
    this.#region.munmap();
  }
}
