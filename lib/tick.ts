/**
 * A counter of accesses that many processes step without a lock and that never
 * wraps: it says which of two accesses came first.
 *
 * Its low 32 bits are stepped by one atomic add. `halves` counts how often the
 * top bit of them has flipped, so its parity must equal that bit; whoever sees
 * that it does not, steps it on behalf of one who was delayed or killed. This
 * gives the right value as long as nobody is late by 2^30 steps.
 *
 * @module
 */
import { SHARED } from "./layout.ts";

const LOW = SHARED.tick_low >> 2;
const HALVES = SHARED.tick_halves >> 2;

/** Steps the counter; the value after the step, at least 1. */
export function nextTick(u32: Uint32Array): number {
  return compose(u32, (Atomics.add(u32, LOW, 1) + 1) >>> 0);
}

/** The value now. */
export function currentTick(u32: Uint32Array): number {
  return compose(u32, Atomics.load(u32, LOW));
}

/** Moves the counter forward to `tick`; only while nobody else can see it. */
export function restoreTick(u32: Uint32Array, tick: number): void {
  u32[LOW] = tick >>> 0;
  u32[HALVES] = Math.floor(tick / 2 ** 31);
}

/** Moves the counter forward by that much while others may step it. */
export function advanceTick(u32: Uint32Array, by: number): void {
  // In steps that cross one edge at the most, as any other step does.
  for (let left = by; left > 0; left -= STEP_MAX) {
    const step = Math.min(left, STEP_MAX);
    compose(u32, (Atomics.add(u32, LOW, step) + step) >>> 0);
  }
}
const STEP_MAX = 2 ** 28;

function compose(u32: Uint32Array, low: number): number {
  let halves = Atomics.load(u32, HALVES);
  if (((halves & 1) !== 0) !== (low >= 2 ** 31)) {
    if (low % 2 ** 31 < 2 ** 30) {
      // Just over the edge: the halves are late.
      Atomics.compareExchange(u32, HALVES, halves, (halves + 1) >>> 0);
      halves++;
    } else {
      halves--; // Just before it: we are late, another went over it meanwhile.
    }
  }
  return Math.floor(halves / 2) * 2 ** 32 + low;
}
