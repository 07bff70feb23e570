/**
 * Chooses the adapter of the runtime that we run on. This folder is the only
 * one that names a runtime.
 *
 * @module
 */
import { bindBun } from "./bun.ts";
import { bindDeno } from "./deno.ts";
import { type Libc, LibcPlatform } from "./libc.ts";
import type { Platform } from "./platform.ts";

let host: Platform | undefined;
let libc: Libc | undefined;

/**
 * The host that this process runs on. libc is opened on the first call, not at
 * import.
 *
 * @throws {Error} in one sentence, on a host that cortex does not run on.
 */
export function hostPlatform(): Platform {
  return host ??= new LibcPlatform(libc = bindLibc());
}

/** libc, if it was opened already: who could do with it can do without. */
export function openedLibc(): Libc | undefined {
  return libc;
}

function bindLibc(): Libc {
  const scope = globalThis as { Deno?: unknown; Bun?: unknown };
  const bind = scope.Deno ? bindDeno : scope.Bun ? bindBun : undefined;
  if (bind === undefined) {
    throw new Error("Cannot start cortex: it needs Deno or Bun to run");
  }
  try {
    return bind();
  } catch (error) {
    const { name } = error as Error;
    if (name === "NotCapable" || name === "PermissionDenied") {
      throw new Error(
        "Cannot start cortex: it may not call libc; give it deno's --allow-all, or -A",
        { cause: error },
      );
    }
    throw new Error(
      "Cannot start cortex: it needs Linux on x86-64 or arm64 with glibc 2.28 or newer",
      { cause: error },
    );
  }
}

export { OsError } from "./platform.ts";
export type { Files, FileStat, Mapping, Platform } from "./platform.ts";
