/**
 * The Bun adapter: libc through `bun:ffi`.
 *
 * `bun:ffi` has no types under `deno check`, so a wrong symbol passes there: the
 * conformance suite, run on both runtimes, is the guard.
 *
 * @module
 */
import type { Libc, Region } from "./libc.ts";

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

const LIBC = {
  __errno_location: { args: [], returns: "ptr" },
  renameat2: {
    // int olddirfd, const char *, int newdirfd, const char *, unsigned flags
    args: ["i32", "ptr", "i32", "ptr", "u32"],
    returns: "i32",
  },
  close: { args: ["i32"], returns: "i32" },
  statx: {
    // int dirfd, const char *path, int flags, unsigned mask, struct statx *
    args: ["i32", "ptr", "i32", "u32", "ptr"],
    returns: "i32",
  },
  fchmod: { args: ["i32", "u32"], returns: "i32" }, // int, mode_t
  ftruncate: { args: ["i32", "i64"], returns: "i32" }, // int, off_t
  fallocate: {
    // int fd, int mode, off_t offset, off_t len
    args: ["i32", "i32", "i64", "i64"],
    returns: "i32",
  },
  mmap: {
    // void *addr, size_t length, int prot, int flags, int fd, off_t offset
    args: ["ptr", "usize", "i32", "i32", "i32", "i64"],
    returns: "ptr",
  },
  munmap: { args: ["ptr", "usize"], returns: "i32" },
  madvise: { args: ["ptr", "usize", "i32"], returns: "i32" },
  flock: { args: ["i32", "i32"], returns: "i32" }, // int fd, int operation
  fcntl: { args: ["i32", "i32", "ptr"], returns: "i32" }, // int, int, struct flock *
  nanosleep: { args: ["ptr", "ptr"], returns: "i32" }, // struct timespec *, NULL
  getpid: { args: [], returns: "i32" },
  geteuid: { args: [], returns: "u32" },
  getegid: { args: [], returns: "u32" },
  getgroups: { args: ["i32", "ptr"], returns: "i32" },
} as const;

// In librt until glibc 2.34, in libc since.
const SHM = {
  shm_open: { args: ["ptr", "i32", "u32"], returns: "i32" }, // const char *, int, mode_t
  shm_unlink: { args: ["ptr"], returns: "i32" },
} as const;

/** Bun cannot make an `ArrayBuffer` above 4 GiB over foreign memory. */
const WINDOW_LIMIT_BYTES = 2 ** 32 - 1;

/** Opens libc. Throws where there is no glibc. */
export function bindBun(): Libc {
  const bun = (globalThis as unknown as { Bun: BunGlobal }).Bun;
  const ffi = process.getBuiltinModule("bun:ffi") as unknown as BunFfi;
  const libc = ffi.dlopen("libc.so.6", LIBC).symbols;
  const shm = openShm(ffi);
  const call = (name: keyof typeof LIBC) =>
    libc[name] as (...args: unknown[]) => number;
  const mmap = libc["mmap"]!, munmap = call("munmap");
  const madvise = call("madvise"), errnoLocation = call("__errno_location");
  const renameat2 = call("renameat2"), statx = call("statx");

  function mapRegion(address: number, length: number): Region {
    return {
      view: (offset, size) => ffi.toArrayBuffer(address, offset, size),
      madvise: (offset, size, advice) =>
        madvise(address + offset, size, advice),
      munmap: () => munmap(address, length),
    };
  }

  return {
    runtime: `bun ${process.versions["bun"]}`,
    windowLimit_bytes: WINDOW_LIMIT_BYTES,
    crc32: bun.hash.crc32, // node:zlib's is as fast, but takes 6 ms to load
    errno: () => ffi.read.i32(errnoLocation(), 0),
    shm_open: shm["shm_open"] as Libc["shm_open"],
    shm_unlink: shm["shm_unlink"] as Libc["shm_unlink"],
    renameat2,
    close: call("close"),
    statx,
    fchmod: call("fchmod"),
    ftruncate: call("ftruncate"),
    fallocate: call("fallocate"),
    mmap: (length, prot, flags, fd) => {
      const address = mmap(null, length, prot, flags, fd, 0);
      // A failure is (void *)-1: too large for a number, so it comes as a bigint.
      if (typeof address !== "number" || address <= 0) return undefined;
      return mapRegion(address, length);
    },
    flock: call("flock"),
    fcntl: call("fcntl"),
    nanosleep: (request) => call("nanosleep")(request, null),
    getpid: call("getpid"),
    geteuid: call("geteuid"),
    getegid: call("getegid"),
    getgroups: call("getgroups"),
  };
}

function openShm(ffi: BunFfi) {
  try {
    return ffi.dlopen("libc.so.6", SHM).symbols;
  } catch {
    return ffi.dlopen("librt.so.1", SHM).symbols;
  }
}
