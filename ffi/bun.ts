/**
 * The Bun adapter: libc through `bun:ffi`.
 *
 * `bun:ffi` has no types under `deno check`, so a wrong symbol passes there: the
 * conformance suite, run on both runtimes, is the guard.
 *
 * @module
 */
import type { Libc } from "./libc.ts";
import type { Region } from "./region.ts";

/** The part of `bun:ffi` that is used here. A pointer is a plain number. */
interface BunFfi {
  dlopen(
    path: string,
    symbols: Record<string, { args: readonly string[]; returns: string }>,
  ): { symbols: Record<string, (...args: unknown[]) => number | bigint> };
  toArrayBuffer(address: number, offset: number, length: number): ArrayBuffer;
  read: { i32(address: number, offset: number): number };
}

/** The part of the global `Bun` that is used here. */
interface BunGlobal {
  hash: { crc32(bytes: Uint8Array, seed: number): number };
}

/** What nearly every command needs. */
const LIBC = {
  __errno_location: { args: [], returns: "ptr" },
  close: { args: ["i32"], returns: "i32" },
  statx: {
    // int dirfd, const char *path, int flags, unsigned mask, struct statx *
    args: ["i32", "ptr", "i32", "u32", "ptr"],
    returns: "i32",
  },
  mmap: {
    // void *addr, size_t length, int prot, int flags, int fd, off_t offset
    args: ["ptr", "usize", "i32", "i32", "i32", "i64"],
    returns: "ptr",
  },
  munmap: { args: ["ptr", "usize"], returns: "i32" },
  madvise: { args: ["ptr", "usize", "i32"], returns: "i32" },
  fcntl: { args: ["i32", "i32", "ptr"], returns: "i32" }, // int, int, struct flock *
  getpid: { args: [], returns: "i32" },
  geteuid: { args: [], returns: "u32" },
  write: { args: ["i32", "ptr", "usize"], returns: "i64_fast" }, // int, void *, size_t
  _exit: { args: ["i32"], returns: "void" },
} as const;

/** Bound on first use: each takes 30 us of a start-up. */
const MORE = {
  // const char *, int flags, mode_t: the last as a variable argument, in a register
  open: { args: ["ptr", "i32", "u32"], returns: "i32" },
  renameat2: {
    // int olddirfd, const char *, int newdirfd, const char *, unsigned flags
    args: ["i32", "ptr", "i32", "ptr", "u32"],
    returns: "i32",
  },
  fchmod: { args: ["i32", "u32"], returns: "i32" }, // int, mode_t
  pread: {
    // int fd, void *buf, size_t count, off_t offset
    args: ["i32", "ptr", "usize", "i64"],
    returns: "i64_fast",
  },
  ftruncate: { args: ["i32", "i64"], returns: "i32" }, // int, off_t
  fallocate: {
    // int fd, int mode, off_t offset, off_t len
    args: ["i32", "i32", "i64", "i64"],
    returns: "i32",
  },
  msync: { args: ["ptr", "usize", "i32"], returns: "i32" },
  mprotect: { args: ["ptr", "usize", "i32"], returns: "i32" },
  syscall: {
    // long number, ...: registers are passed alike on x86-64 and arm64
    args: ["i64", "i64", "i64", "i64", "i64", "i64"],
    returns: "i64",
  },
  flock: { args: ["i32", "i32"], returns: "i32" }, // int fd, int operation
  nanosleep: { args: ["ptr", "ptr"], returns: "i32" }, // struct timespec *, NULL
  getegid: { args: [], returns: "u32" },
  getgroups: { args: ["i32", "ptr"], returns: "i32" },
  confstr: { args: ["i32", "ptr", "usize"], returns: "usize" },
  bsearch: {
    // const void *key, const void *base, size_t count, size_t size, int (*)(key, element)
    args: ["ptr", "ptr", "usize", "usize", "ptr"],
    returns: "void", // what it found does not matter
  },
} as const;

// In librt until glibc 2.34, in libc since.
const SHM = {
  shm_open: { args: ["ptr", "i32", "u32"], returns: "i32" }, // const char *, int, mode_t
  shm_unlink: { args: ["ptr"], returns: "i32" },
} as const;

type Call = (...args: unknown[]) => number;

/** Bun cannot make an `ArrayBuffer` above 4 GiB over foreign memory. */
const WINDOW_LIMIT_BYTES = 2 ** 32 - 1;

/** Opens libc. Throws where there is no glibc. */
export function bindBun(): Libc {
  const bun = (globalThis as unknown as { Bun: BunGlobal }).Bun;
  const ffi = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
  const libc = ffi.dlopen("libc.so.6", LIBC).symbols;
  const shm = openShm(ffi);
  const call = (name: keyof typeof LIBC) => libc[name] as Call;
  const more: Partial<Record<keyof typeof MORE, Call>> = {};
  const later = (name: keyof typeof MORE): Call =>
    more[name] ??= ffi.dlopen("libc.so.6", { [name]: MORE[name] })
      .symbols[name] as Call;
  const mmap = libc["mmap"]!, munmap = call("munmap");
  const madvise = call("madvise"), errnoLocation = call("__errno_location");

  function mapRegion(address: number, length: number): Region {
    return {
      address,
      view: (offset, size) => ffi.toArrayBuffer(address, offset, size),
      madvise: (offset, size, advice) =>
        madvise(address + offset, size, advice),
      msync: (flags) => later("msync")(address, length, flags),
      mprotect: (offset, size, prot) =>
        later("mprotect")(address + offset, size, prot),
      munmap: () => munmap(address, length),
      asFunction: (offset) => {
        const bsearch = later("bsearch"), code = address + offset;
        return (first, second) => void bsearch(first, second, 1, 1, code);
      },
    };
  }

  return {
    runtime: `bun ${process.versions["bun"]}`,
    windowLimit_bytes: WINDOW_LIMIT_BYTES,
    architecture: process.arch === "arm64" ? "arm64" : "x64",
    syscall: (number, a, b = 0, c = 0, d = 0, e = 0) =>
      Number(later("syscall")(number, a, b, c, d, e)),
    crc32: bun.hash.crc32, // node:zlib's is as fast, but takes 6 ms to load
    errno: () => ffi.read.i32(errnoLocation(), 0),
    open: (...args) => later("open")(...args),
    shm_open: shm["shm_open"] as Libc["shm_open"],
    shm_unlink: shm["shm_unlink"] as Libc["shm_unlink"],
    renameat2: (...args) => later("renameat2")(...args),
    close: call("close"),
    statx: call("statx"),
    fchmod: (...args) => later("fchmod")(...args),
    pread: (...args) => later("pread")(...args),
    write: call("write"),
    _exit: call("_exit"),
    ftruncate: (...args) => later("ftruncate")(...args),
    fallocate: (...args) => later("fallocate")(...args),
    mmap: (length, prot, flags, fd) => {
      const address = mmap(null, length, prot, flags, fd, 0);
      // A failure is (void *)-1: too large for a number, so it comes as a bigint.
      if (typeof address !== "number" || address <= 0) return undefined;
      return mapRegion(address, length);
    },
    // No rest parameters: every change of a pool takes and gives a lock.
    flock: (fd, operation) => later("flock")(fd, operation),
    fcntl: call("fcntl"),
    nanosleep: (request) => later("nanosleep")(request, null),
    getpid: call("getpid"),
    geteuid: call("geteuid"),
    getegid: () => later("getegid")(),
    getgroups: (...args) => later("getgroups")(...args),
    confstr: (...args) => later("confstr")(...args),
  };
}

function openShm(ffi: BunFfi) {
  try {
    return ffi.dlopen("libc.so.6", SHM).symbols;
  } catch {
    return ffi.dlopen("librt.so.1", SHM).symbols;
  }
}
