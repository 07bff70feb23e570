/**
 * Finds room for a value in the free list: for most the next run of blocks that
 * holds it, for large ones the smallest, else up to {@linkcode EXTENTS_MAX} runs,
 * largest first.
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

/** Words of the free list: from the first up to, not including, the second. */
interface Range {
  readonly from: number;
  readonly to: number;
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
  const exact = eachFreeRun(options, whole(options.used), (start, count) => {
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
 * Finds `needed` free blocks in one run: the first from `nearBlock` on and round;
 * or one that just fits, if there is one a little behind, so that long ones stay.
 * Where a block was found or given back last, the next one often is: what this
 * costs grows neither with the pool nor with what is free of it.
 *
 * @returns the first block, or -1 if there is no such run.
 */
export function findNear(
  needed: number,
  nearBlock: number,
  options: FindOptions,
): number {
  const { to } = whole(options.used);
  const near = Math.min(nearBlock >>> 5, to);
  const start = findFirst(needed, options, { from: near, to });
  return start !== -1
    ? start
    : findFirst(needed, options, { from: 0, to: near });
}

/** Words of the free list in which a run that just fits is looked for, a block. */
const LOOK_AHEAD_WORDS = 128;
/** The longer the copy, the farther it pays to look. */
const LOOK_AHEAD_MAX_WORDS = 2048;
/** Where so much is left of a run there is room enough: none need be spared. */
const PLENTY_BLOCKS = 256;

function findFirst(
  needed: number,
  options: FindOptions,
  { from, to }: Range,
): number {
  let found = -1, found_count = 0;
  const isLongEnough = (start: number, count: number) => {
    found_count = count;
    if (count >= needed) found = start;
    return found !== -1;
  };
  eachFreeRun(options, { from, to }, isLongEnough, needed + 1);
  if (found === -1 || found_count === needed) return found;
  const plenty = needed + PLENTY_BLOCKS;
  let fitting = -1;
  const isEnough = (start: number, count: number) => {
    if (count === needed) fitting = start;
    return fitting !== -1 || count >= plenty;
  };
  const ahead = found >>> 5;
  const words = Math.min(LOOK_AHEAD_WORDS * needed, LOOK_AHEAD_MAX_WORDS);
  const range = { from: ahead, to: Math.min(ahead + words, to) };
  eachFreeRun(options, range, isEnough, plenty);
  return fitting !== -1 ? fitting : found;
}

function whole(bitmap: Bitmap): Range {
  return { from: 0, to: Math.ceil(bitmap.length / 32) };
}

/**
 * Visits the runs of free blocks in order until `visit` says to stop.
 *
 * @param enough blocks of a run at which to visit it before its end is known.
 * @returns whether it was stopped.
 */
function eachFreeRun(
  { used, within }: FindOptions,
  { from, to }: Range,
  visit: (start: number, count: number) => boolean,
  enough = Infinity,
): boolean {
  const words = used.words, limit = used.length;
  const lastWord = Math.ceil(limit / 32) - 1;
  let start = 0, count = 0;
  for (let word = from; word < to; word++) {
    let free = ~words[word]!;
    if (within) free &= within.words[word]!;
    if (word === lastWord && (limit & 31) !== 0) {
      free &= (1 << (limit & 31)) - 1;
    }
    if (free === -1) {
      if (count === 0) start = word * 32;
      count += 32;
      if (count >= enough && visit(start, count)) return true;
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
        if (count >= enough && visit(start, count)) return true;
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
