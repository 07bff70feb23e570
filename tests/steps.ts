/**
 * Stops code at a step of its work on shared memory: before its n-th atomic
 * access. With that, "a process may be killed at any instruction" is tried one
 * instruction after the other, in one thread and with the same end every time.
 *
 * @module
 */
import { watchPlainStores } from "./stores.ts";

type Operation =
  | "load"
  | "store"
  | "add"
  | "and"
  | "or"
  | "compareExchange";

const WRITES: readonly Operation[] = [
  "store",
  "add",
  "and",
  "or",
  "compareExchange",
];
const READS: readonly Operation[] = ["load"];

/** Calls `before` ahead of each of these, and of plain stores, while `run` runs. */
function watch<T>(
  operations: readonly Operation[],
  before: () => void,
  run: () => T,
): T {
  const table = Atomics as unknown as Record<
    Operation,
    (...args: unknown[]) => unknown
  >;
  const originals = operations.map((name) => table[name]);
  operations.forEach((name, i) => {
    const original = originals[i]!;
    table[name] = (...args) => {
      before();
      return original(...args);
    };
  });
  const unwatch = operations === WRITES ? watchPlainStores(before) : () => {};
  try {
    return run();
  } finally {
    unwatch();
    operations.forEach((name, i) => table[name] = originals[i]!);
  }
}

class Killed extends Error {}

/**
 * Runs until ahead of the `at`-th write, and not one write further: whatever
 * would tidy up then is dead as well.
 *
 * @returns whether it came to its end before.
 */
export function runUntilWrite(at: number, run: () => void): boolean {
  let writes = 0;
  try {
    watch(WRITES, () => {
      if (++writes >= at) throw new Killed(`killed at write ${at}`);
    }, run);
  } catch (error) {
    if (writes < at) throw error;
  }
  return writes < at;
}

/**
 * Runs `meanwhile` ahead of the `at`-th read of `run`.
 *
 * @returns what `run` gave, and whether it came that far.
 */
export function runWithinRead<T>(
  at: number,
  run: () => T,
  meanwhile: () => void,
): { result: T; reached: boolean } {
  let reads = 0;
  let busy = false;
  const result = watch(READS, () => {
    if (busy || ++reads !== at) return;
    busy = true;
    meanwhile();
    busy = false;
  }, run);
  return { result, reached: reads >= at };
}
