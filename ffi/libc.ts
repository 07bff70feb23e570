/**
 * The Linux host over libc. All that the two runtimes share is here; an adapter
 * binds {@linkcode Libc}, which is libc's own calls and nothing else.
 *
 * @module
 */
import { copying } from "./copying.ts";
import { errnoName } from "./errno.ts";
import { FILES } from "./files.ts";
import { LibcMapping } from "./mapping.ts";
import {
  type Fd,
  type Files,
  type FileStat,
  type Mapping,
  OsError,
  type Platform,
  type Transfers,
} from "./platform.ts";
import { MAP_PRIVATE_ANONYMOUS, PROT, type Region } from "./region.ts";
import { KernelTransfers } from "./transfers.ts";

/**
 * libc, with its own names and its own results: -1 is failure, see `errno`. And
 * what each runtime has its own fast way to do.
 */
export interface Libc {
  readonly runtime: string;
  readonly architecture: "x64" | "arm64";
  readonly windowLimit_bytes: number;
  /** `syscall(2)`, for calls that the C library has no name for. */
  syscall(
    number: number,
    a: number,
    b?: number,
    c?: number,
    d?: number,
    e?: number,
  ): number;
  /** As zlib's. */
  crc32(bytes: Uint8Array, seed: number): number;
  errno(): number;
  open(path: Uint8Array, flags: number, mode: number): number;
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
  pread(fd: number, into: Uint8Array, count: number, offset: number): number;
  write(fd: number, from: Uint8Array, count: number): number;
  /** Only where the runtime's own way takes long, and has nothing to save. */
  readonly _exit?: (code: number) => void;
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
  confstr(name: number, buffer: Uint8Array, length: number): number;
}

// The C library's constants, equal on x86-64 and arm64.
const O_RDWR = 2, O_CREAT = 0o100, O_EXCL = 0o200;
const O_CLOEXEC = 0o2000000;
const O_NOFOLLOW = { x64: 0o400000, arm64: 0o100000 } as const;
const O_NONBLOCK = 0o4000; // so that a FIFO put in our place cannot hang us
const AT_FDCWD = -100, AT_EMPTY_PATH = 0x1000, RENAME_NOREPLACE = 1;
const STATX_BASIC_STATS = 0x7ff, S_IFMT = 0o170000, S_IFREG = 0o100000;
const MAP_SHARED = 1;
const MADV_DONTDUMP = 16;
const LOCK_EX = 2, LOCK_NB = 4, LOCK_UN = 8;
const F_OFD_GETLK = 36, F_OFD_SETLK = 37;
const F_WRLCK = 1, F_UNLCK = 2;
const CS_GNU_LIBC_VERSION = 2;

/** What `stat` counts in, whatever the file system's own unit. */
const SECTOR_BYTES = 512;

/** Where glibc keeps POSIX shared memory. */
const SHM_DIRECTORY = "/dev/shm";

/** Loaded on first use: it costs Bun a start-up. */
function zlib(): typeof import("node:zlib") {
  return process.getBuiltinModule("node:zlib");
}

/** Deno sums of an array what its length leaves, divided by 4 GiB. */
const SUMMED_MAX_BYTES = 2 ** 30;

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
  readonly copy: Platform["copy"];
  readonly copyAndSum: Platform["copyAndSum"];
  readonly #libc: Libc;
  readonly #statxWords = new Uint32Array(64);
  readonly #statx = new Uint8Array(this.#statxWords.buffer);
  readonly #flock = new Uint8Array(32);

  constructor(libc: Libc) {
    this.#libc = libc;
    ({ copy: this.copy, copyAndSum: this.copyAndSum } = copying(libc));
    this.runtime = libc.runtime;
    this.pid = libc.getpid();
    this.uid = libc.geteuid();
  }

  testedRuntime(): string | undefined {
    return /^(deno 2\.9|bun 1\.4)\./.test(this.runtime)
      ? undefined
      : "Deno 2.9 and Bun 1.4";
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
    this.#renameNew(
      cstring(`${SHM_DIRECTORY}/${from}`),
      cstring(`${SHM_DIRECTORY}/${to}`),
    );
  }

  createFile(path: string, mode: number): Fd {
    return this.#openFile(path, O_CREAT | O_EXCL, mode);
  }

  openFile(path: string): Fd {
    return this.#openFile(path, 0, 0);
  }

  renameFile(from: string, to: string): void {
    this.#renameNew(cstring(from), cstring(to));
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
    return decodeStatx(this.#statxWords);
  }

  setMode(fd: Fd, mode: number): void {
    this.#retry("fchmod", () => this.#libc.fchmod(fd, mode));
  }

  read(fd: Fd, into: Uint8Array, offset: number): number {
    return this.#retry(
      "pread",
      () => this.#libc.pread(fd, into, into.length, offset),
    );
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
      PROT.READ | PROT.WRITE,
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
      (syscall) => this.#error(syscall),
    );
  }

  allocateMemory(size_bytes: number): Mapping {
    const region = this.#anonymous(size_bytes);
    return new LibcMapping(
      region,
      size_bytes,
      this.#libc.windowLimit_bytes,
      (syscall) => this.#error(syscall),
    );
  }

  openTransfers(depth: number): Transfers {
    return new KernelTransfers({
      libc: this.#libc,
      allocate: (size_bytes) => this.#anonymous(size_bytes),
      addressOf: (mapping) => (mapping as LibcMapping).address,
      error: (syscall, errno) => this.#error(syscall, errno),
    }, depth);
  }

  #anonymous(size_bytes: number): Region {
    const region = this.#libc.mmap(
      size_bytes,
      PROT.READ | PROT.WRITE,
      MAP_PRIVATE_ANONYMOUS,
      -1,
    );
    if (region === undefined) throw this.#error("mmap");
    return region;
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

  isByteLocked(fd: Fd, offset: number, length = 1): boolean {
    this.#retry(
      "fcntl",
      () => this.#fcntl(fd, F_OFD_GETLK, F_WRLCK, offset, length),
    );
    return new Int16Array(this.#flock.buffer)[0] !== F_UNLCK;
  }

  crc32(bytes: Uint8Array, seed = 0): number {
    if (bytes.length <= SUMMED_MAX_BYTES) return this.#libc.crc32(bytes, seed);
    let crc = seed;
    for (let at = 0; at < bytes.length; at += SUMMED_MAX_BYTES) {
      crc = this.#libc.crc32(bytes.subarray(at, at + SUMMED_MAX_BYTES), crc);
    }
    return crc;
  }

  compress(bytes: Uint8Array): Uint8Array {
    const { zstdCompressSync, constants } = zlib();
    const params = { [constants.ZSTD_c_compressionLevel]: 1 };
    return zstdCompressSync(bytes, { params });
  }

  decompress(bytes: Uint8Array, size_bytes: number): Uint8Array {
    let found: Uint8Array;
    try {
      // An output limit of 0 would be refused.
      const maxOutputLength = Math.max(1, size_bytes);
      found = zlib().zstdDecompressSync(bytes, { maxOutputLength });
    } catch {
      throw new OsError("decompress", "EBADMSG");
    }
    if (found.length === size_bytes) return found;
    throw new OsError("decompress", "EBADMSG");
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

  libcVersion(): string {
    const text = new Uint8Array(64);
    const length = Number(
      this.#libc.confstr(CS_GNU_LIBC_VERSION, text, text.length),
    );
    return new TextDecoder().decode(text.subarray(0, Math.max(0, length - 1)));
  }

  bootId(): string {
    const path = "/proc/sys/kernel/random/boot_id";
    const fd = this.files.open(path, "user");
    try {
      const text = new Uint8Array(64);
      const length = this.files.read(fd, text, 0);
      return new TextDecoder().decode(text.subarray(0, length)).trim();
    } finally {
      this.files.close(fd);
    }
  }

  homeDirectory(): string | undefined {
    try {
      return process.getBuiltinModule("node:os").userInfo().homedir;
    } catch {
      return undefined; // a user that the host does not know
    }
  }

  #renameNew(from: Uint8Array, to: Uint8Array): void {
    this.#retry(
      "renameat2",
      () =>
        this.#libc.renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE),
    );
  }

  #openFile(path: string, flags: number, mode: number): Fd {
    const all = O_RDWR | O_NONBLOCK | O_CLOEXEC |
      O_NOFOLLOW[this.#libc.architecture] | flags;
    return this.#retry(
      "open",
      () => this.#libc.open(cstring(path), all, mode),
    );
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
  #fcntl(
    fd: Fd,
    command: number,
    type: number,
    offset: number,
    length = 1,
  ): number {
    const lock = new DataView(this.#flock.buffer);
    lock.setInt16(0, type, true);
    lock.setInt16(2, 0, true); // SEEK_SET
    lock.setBigInt64(8, BigInt(offset), true);
    lock.setBigInt64(16, BigInt(length), true);
    lock.setInt32(24, 0, true); // must be 0 for these locks
    return this.#libc.fcntl(fd, command, this.#flock);
  }

  /** Calls again when a signal came between; throws any other failure. */
  #retry(syscall: string, call: () => number): number {
    for (let strays = 0;;) {
      const result = call();
      if (result !== -1) return result;
      const error = this.#error(syscall);
      if (error.code === "EINTR") continue;
      if (!isStray(error) || ++strays > STRAYS_MAX) throw error;
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

  #error(syscall: string, errno = this.#libc.errno()): OsError {
    return new OsError(syscall, errnoName(errno));
  }
}

/** How often in a row what is not our call's own errno is believed to be none. */
const STRAYS_MAX = 3;

/**
 * What the runtime's own waiting left in `errno` between our call, which failed,
 * and the look at it: no call of ours ends so, but for those that take locks.
 */
function isStray({ syscall, code }: OsError): boolean {
  const takesLocks = syscall === "flock" || syscall === "fcntl";
  return code === "ETIMEDOUT" || (code === "EAGAIN" && !takesLocks);
}

function isHeldElsewhere(error: OsError): boolean {
  return error.code === "EAGAIN" ||
    (error.syscall === "fcntl" && error.code === "EACCES");
}

/** `struct statx` is the same on every architecture, which `struct stat` is not. */
function decodeStatx(words: Uint32Array): FileStat {
  // Without a BigInt: every change of a pool asks for this.
  const u64 = (at: number) => words[at]! + words[at + 1]! * 2 ** 32;
  const mode = words[7]! & 0xffff;
  return {
    isRegular: (mode & S_IFMT) === S_IFREG,
    mode: mode & 0o7777,
    links: words[4]!,
    uid: words[5]!,
    gid: words[6]!,
    inode: u64(8),
    size_bytes: u64(10),
    allocated_bytes: u64(12) * SECTOR_BYTES,
    changed_at: u64(24) * 1000 + Math.floor(words[26]! / 1e6),
  };
}
