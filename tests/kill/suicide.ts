/**
 * A process that does one thing to a pool, and kills itself on the way: at the
 * n-th call of its host if `CORTEX_KILL_AT_CALL` is n, or at the n-th store to
 * shared memory that others go by if `CORTEX_KILL_AT_STORE` is.
 *
 *     suicide.ts OPERATION POOL DIRECTORY
 *
 * It ends with 0 if it came to its end before.
 *
 * @module
 */
import process from "node:process";
import { hostPlatform } from "../../ffi/mod.ts";
import type { Mapping, Platform } from "../../ffi/platform.ts";
import { Pool } from "../../lib/pool.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import { applyMutant } from "../sim/mutants.ts";
import { watchPlainStores } from "../stores.ts";
import { OPERATIONS, SIZE_BYTES, valueOf } from "./operations.ts";

const [operation, name, directory] = process.argv.slice(2);

/** Counts, and kills at the number that the environment names. */
function fuse(variable: string): () => void {
  const kill_at = Number(process.env[variable] ?? 0);
  let count = 0;
  return () => {
    if (++count === kill_at) process.kill(process.pid, "SIGKILL");
  };
}
const countCall = fuse("CORTEX_KILL_AT_CALL");
const countStore = fuse("CORTEX_KILL_AT_STORE");

function watchStores(): void {
  watchPlainStores(countStore);
  const table = Atomics as unknown as Record<
    string,
    (...args: unknown[]) => unknown
  >;
  for (const name of ["store", "add", "and", "or", "compareExchange"]) {
    const original = table[name]!;
    table[name] = (...args) => {
      countStore();
      return original(...args);
    };
  }
}

/** Every method of `target`, counted. What it hands out is counted, too. */
function counted<T extends object>(target: T): T {
  return new Proxy(target, {
    get(_, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (property === "files") return counted(value as object);
      if (typeof value !== "function" || PURE.has(String(property))) {
        return typeof value === "function" ? value.bind(target) : value;
      }
      return (...args: unknown[]) => {
        countCall();
        const result: unknown = value.apply(target, args);
        return property === "map" ? counted(result as Mapping) : result;
      };
    },
  });
}

/** Calls that leave nothing behind on the host. */
const PURE: ReadonlySet<string> = new Set([
  "crc32",
  "now",
  "monotonic",
  "environment",
  "groups",
  "window",
  "release",
]);

const mutant = process.env["CORTEX_TEST_MUTANT"];
if (mutant !== undefined) applyMutant(mutant);
watchStores();
const platform: Platform = counted(hostPlatform());
const run = OPERATIONS[operation as keyof typeof OPERATIONS];
run({
  open: () => Pool.open(name!, { platform }),
  create: () => Pool.create(name!, { size: SIZE_BYTES, platform }),
  destroy: () => Pool.destroy(name!, { platform }),
  persist: (pool) => void persist(pool, { path: directory }),
  restore: () => void restore(name!, { path: directory, platform }),
  value: valueOf,
});
