/**
 * The Deno adapter: libc through `Deno.dlopen`.
 *
 * @module
 */
import type { Libc } from "./libc.ts";
import type { Region } from "./region.ts";

const LIBC = {
  __errno_location: { parameters: [], result: "pointer" },
  // const char *, int flags, mode_t: the last as a variable argument, in a register
  open: { parameters: ["buffer", "i32", "u32"], result: "i32" },
  renameat2: {
    // int olddirfd, const char *, int newdirfd, const char *, unsigned flags
    parameters: ["i32", "buffer", "i32", "buffer", "u32"],
    result: "i32",
  },
  close: { parameters: ["i32"], result: "i32" },
  statx: {
    // int dirfd, const char *path, int flags, unsigned mask, struct statx *
    parameters: ["i32", "buffer", "i32", "u32", "buffer"],
    result: "i32",
  },
  fchmod: { parameters: ["i32", "u32"], result: "i32" }, // int, mode_t
  pread: {
    // int fd, void *buf, size_t count, off_t offset
    parameters: ["i32", "buffer", "usize", "i64"],
    result: "isize",
  },
  write: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  ftruncate: { parameters: ["i32", "i64"], result: "i32" }, // int, off_t
  fallocate: {
    // int fd, int mode, off_t offset, off_t len
    parameters: ["i32", "i32", "i64", "i64"],
    result: "i32",
  },
  mmap: {
    // void *addr, size_t length, int prot, int flags, int fd, off_t offset
    parameters: ["pointer", "usize", "i32", "i32", "i32", "i64"],
    result: "pointer",
  },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
  madvise: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  msync: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  mprotect: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  syscall: {
    // long number, ...: registers are passed alike on x86-64 and arm64
    parameters: ["i64", "i64", "i64", "i64", "i64", "i64"],
    result: "i64",
  },
  flock: { parameters: ["i32", "i32"], result: "i32" }, // int fd, int operation
  fcntl: {
    parameters: ["i32", "i32", "buffer"], // int fd, int cmd, struct flock *
    result: "i32",
  },
  nanosleep: {
    parameters: ["buffer", "pointer"], // const struct timespec *, NULL
    result: "i32",
  },
  getpid: { parameters: [], result: "i32" },
  geteuid: { parameters: [], result: "u32" },
  getegid: { parameters: [], result: "u32" },
  getgroups: { parameters: ["i32", "buffer"], result: "i32" },
  confstr: { parameters: ["i32", "buffer", "usize"], result: "usize" },
  bsearch: {
    // const void *key, const void *base, size_t count, size_t size, int (*)(key, element)
    parameters: ["buffer", "buffer", "usize", "usize", "pointer"],
    result: "void", // what it found does not matter
  },
} as const satisfies Deno.ForeignLibraryInterface;

// In librt until glibc 2.34, in libc since.
const SHM = {
  shm_open: {
    parameters: ["buffer", "i32", "u32"], // const char *name, int oflag, mode_t
    result: "i32",
  },
  shm_unlink: { parameters: ["buffer"], result: "i32" },
} as const satisfies Deno.ForeignLibraryInterface;

const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

/** Opens libc. Throws where there is no glibc. */
export function bindDeno(): Libc {
  const libc = Deno.dlopen("libc.so.6", LIBC).symbols;
  const shm = openShm();

  function mapRegion(address: Deno.PointerObject, length: number): Region {
    return {
      address: Number(Deno.UnsafePointer.value(address)),
      view: (offset, size) =>
        Deno.UnsafePointerView.getArrayBuffer(address, size, offset),
      madvise: (offset, size, advice) =>
        libc.madvise(
          Deno.UnsafePointer.offset(address, offset),
          BigInt(size),
          advice,
        ),
      msync: (flags) => libc.msync(address, BigInt(length), flags),
      mprotect: (offset, size, prot) =>
        libc.mprotect(
          Deno.UnsafePointer.offset(address, offset),
          BigInt(size),
          prot,
        ),
      munmap: () => libc.munmap(address, BigInt(length)),
      asFunction: (offset) => {
        const code = Deno.UnsafePointer.offset(address, offset);
        return (first, second) =>
          libc.bsearch(bytes(first), bytes(second), 1n, 1n, code);
      },
    };
  }

  return {
    runtime: `deno ${Deno.version.deno}`,
    architecture: process.arch === "arm64" ? "arm64" : "x64",
    windowLimit_bytes: Number.MAX_SAFE_INTEGER,
    crc32: (data, seed) => zlib().crc32(data, seed),
    syscall: (number, a, b = 0, c = 0, d = 0, e = 0) =>
      Number(
        libc.syscall(
          BigInt(number),
          BigInt(a),
          BigInt(b),
          BigInt(c),
          BigInt(d),
          BigInt(e),
        ),
      ),
    errno: () => {
      const location = libc.__errno_location();
      return location ? new Deno.UnsafePointerView(location).getInt32() : 0;
    },
    open: (path, flags, mode) => libc.open(bytes(path), flags, mode),
    shm_open: (name, oflag, mode) => shm.shm_open(bytes(name), oflag, mode),
    shm_unlink: (name) => shm.shm_unlink(bytes(name)),
    renameat2: (olddir, oldpath, newdir, newpath, flags) =>
      libc.renameat2(olddir, bytes(oldpath), newdir, bytes(newpath), flags),
    close: (fd) => libc.close(fd),
    statx: (dir, path, flags, mask, out) =>
      libc.statx(dir, bytes(path), flags, mask, bytes(out)),
    fchmod: (fd, mode) => libc.fchmod(fd, mode),
    pread: (fd, into, count, offset) =>
      Number(libc.pread(fd, bytes(into), BigInt(count), BigInt(offset))),
    write: (fd, from, count) =>
      Number(libc.write(fd, bytes(from), BigInt(count))),
    ftruncate: (fd, length) => libc.ftruncate(fd, BigInt(length)),
    fallocate: (fd, mode, offset, length) =>
      libc.fallocate(fd, mode, BigInt(offset), BigInt(length)),
    mmap: (length, prot, flags, fd) => {
      const address = libc.mmap(null, BigInt(length), prot, flags, fd, 0n);
      if (address === null) return undefined;
      if (BigInt(Deno.UnsafePointer.value(address)) === MAP_FAILED) {
        return undefined;
      }
      return mapRegion(address, length);
    },
    flock: (fd, operation) => libc.flock(fd, operation),
    fcntl: (fd, command, lock) => libc.fcntl(fd, command, bytes(lock)),
    nanosleep: (request) => libc.nanosleep(bytes(request), null),
    getpid: () => libc.getpid(),
    geteuid: () => libc.geteuid(),
    getegid: () => libc.getegid(),
    getgroups: (size, list) => libc.getgroups(size, bytes(list)),
    confstr: (name, buffer, length) =>
      Number(libc.confstr(name, bytes(buffer), BigInt(length))),
  };
}

function openShm() {
  try {
    return Deno.dlopen("libc.so.6", SHM).symbols;
  } catch {
    return Deno.dlopen("librt.so.1", SHM).symbols;
  }
}

/** Deno takes no view whose buffer may be shared; none of ours is. */
function bytes(view: Uint8Array): Uint8Array<ArrayBuffer> {
  return view as Uint8Array<ArrayBuffer>;
}

/** Loaded on first use: it costs a start-up. */
let zlibModule: typeof import("node:zlib") | undefined;
function zlib(): typeof import("node:zlib") {
  return zlibModule ??= process.getBuiltinModule("node:zlib");
}
