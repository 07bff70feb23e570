/**
 * Finds room for a value in the free list: the smallest run of blocks that
 * holds it, else up to {@linkcode EXTENTS_MAX} runs, largest first.
 *
 * The allocator only looks; marking is the caller's, under the lock.
 *
 * @module
 */
import type { Bitmap } from "./bitmap.ts";
import { EXTENTS_MAX } from "./layout.ts";

/** A run of blocks. */
export interface Extent {
  readonly start: number;
  readonly count: number;
}

/** Where {@linkcode findExtents} may look. */
export interface FindOptions {
  /** 1 = used. */
  readonly used: Bitmap;
  /** If given, only blocks whose bit is set here. */
  readonly within?: Bitmap | undefined;
}

/** The largest runs seen so far, smallest last. */
class LargestRuns {
  readonly runs: Extent[] = [];

  offer(start: number, count: number): void {
    const { runs } = this;
    if (runs.length === EXTENTS_MAX && count <= runs.at(-1)!.count) return;
    let at = runs.length;
    while (at > 0 && runs[at - 1]!.count < count) at--;
    runs.splice(at, 0, { start, count });
    if (runs.length > EXTENTS_MAX) runs.pop();
  }

  /** The fewest of them that hold `needed` blocks. */
  take(needed: number): Extent[] | undefined {
    const taken: Extent[] = [];
    let left = needed;
    for (const run of this.runs) {
      const count = Math.min(left, run.count);
      taken.push({ start: run.start, count });
      left -= count;
      if (left === 0) return taken;
    }
    return undefined;
  }
}

/**
 * Finds `needed` free blocks.
 *
 * @returns the extents in the order of the value's bytes, or `undefined` if the
 * free blocks are too few or lie in too many pieces.
 *
 * @example
 * ```ts
 * import { findExtents } from "./allocator.ts";
 * import { Bitmap } from "./bitmap.ts";
 * import assert from "node:assert/strict";
 *
 * const used = new Bitmap(new Uint32Array(1), 32);
 * used.set(0, 4);
 * assert.deepEqual(findExtents(3, { used }), [{ start: 4, count: 3 }]);
 * ```
 */
export function findExtents(
  needed: number,
  options: FindOptions,
): Extent[] | undefined {
  if (needed === 0) return [];
  const largest = new LargestRuns();
  let best: Extent | undefined;
  const exact = eachFreeRun(options, (start, count) => {
    if (count < needed) {
      if (best === undefined) largest.offer(start, count);
    } else if (best === undefined || count < best.count) {
      best = { start, count };
      return count === needed;
    }
    return false;
  });
  if (exact || best) return [{ start: best!.start, count: needed }];
  return largest.take(needed);
}

/**
 * Visits the runs of free blocks in order until `visit` says to stop.
 *
 * @returns whether it was stopped.
 */
function eachFreeRun(
  { used, within }: FindOptions,
  visit: (start: number, count: number) => boolean,
): boolean {
  const words = used.words, limit = used.length;
  const wordCount = Math.ceil(limit / 32);
  let start = 0, count = 0;
  for (let word = 0; word < wordCount; word++) {
    let free = ~words[word]!;
    if (within) free &= within.words[word]!;
    if (word === wordCount - 1 && (limit & 31) !== 0) {
      free &= (1 << (limit & 31)) - 1;
    }
    if (free === -1) {
      if (count === 0) start = word * 32;
      count += 32;
      continue;
    }
    for (let bit = 0; bit < 32;) {
      const rest = free >>> bit;
      // Free blocks from here on, then used ones.
      const run = rest === 0 ? 0 : Math.min(32 - bit, trailingOnes(rest));
      if (run > 0) {
        if (count === 0) start = word * 32 + bit;
        count += run;
        bit += run;
        if (bit === 32) break;
      }
      if (count > 0 && visit(start, count)) return true;
      count = 0;
      const left = free >>> bit;
      if (left === 0) break;
      bit += trailingZeros(left);
    }
  }
  return count > 0 && visit(start, count);
}

function trailingZeros(word: number): number {
  return 31 - Math.clz32(word & -word);
}

function trailingOnes(word: number): number {
  const inverse = ~word;
  return inverse === 0 ? 32 : trailingZeros(inverse);
}
