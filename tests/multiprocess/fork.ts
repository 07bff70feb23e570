/**
 * A raw `fork`, as a library in the same process might do it: the child has all
 * descriptors and mappings of its parent. Here it only pauses, within libc, since
 * a runtime does not survive in a child that has one of its threads.
 *
 * @module
 */
import process from "node:process";

type Pointer = unknown;

interface Libc {
  fork(): number;
  dlsym(handle: null, name: Uint8Array): Pointer;
  __register_atfork(
    prepare: null,
    parent: null,
    child: Pointer,
    dso: null,
  ): number;
}

interface Host {
  Deno?: { dlopen(path: string, symbols: unknown): { symbols: Libc } };
}

function bind(): Libc {
  const { Deno } = globalThis as unknown as Host;
  if (Deno) {
    const pointers = ["pointer", "pointer", "pointer", "pointer"];
    return Deno.dlopen("libc.so.6", {
      fork: { parameters: [], result: "i32" },
      dlsym: { parameters: ["pointer", "buffer"], result: "pointer" },
      __register_atfork: { parameters: pointers, result: "i32" },
    }).symbols;
  }
  const ffi = process.getBuiltinModule("bun:ffi") as unknown as {
    dlopen(path: string, symbols: unknown): { symbols: Libc };
  };
  return ffi.dlopen("libc.so.6", {
    fork: { args: [], returns: "i32" },
    dlsym: { args: ["ptr", "ptr"], returns: "ptr" },
    __register_atfork: { args: ["ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  }).symbols;
}

/** The child's pid. The child never comes back from here. */
export function rawFork(): number {
  const libc = bind();
  const pause = libc.dlsym(null, new TextEncoder().encode("pause\0"));
  libc.__register_atfork(null, null, pause, null);
  return libc.fork();
}
