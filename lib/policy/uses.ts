/**
 * Which entries were used since somebody last looked: one bit each, set by
 * readers without a lock; one bit for every 32 of them, and one for every 1,024,
 * so that looking costs little when there is little to see.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

const BITS = 32;

export class Uses {
  readonly #bits: Uint32Array;
  /** Which words of `bits` have any. */
  readonly #words: Uint32Array;
  /** Which words of `words` have any. */
  readonly #groups: Uint32Array;

  constructor(memory: Memory, capacity: number) {
    const words = Math.ceil(capacity / BITS), groups = Math.ceil(words / BITS);
    this.#bits = memory.u32(words);
    this.#words = memory.u32(groups);
    this.#groups = memory.u32(Math.ceil(groups / BITS));
  }

  /** Notes a use: three loads, and at most three atomic stores. */
  note(entry: number): void {
    const word = entry >>> 5, group = word >>> 5;
    // In this order: who clears the last of them first sees the others then.
    mark(this.#bits, word, 1 << (entry & 31));
    mark(this.#words, group, 1 << (word & 31));
    mark(this.#groups, group >>> 5, 1 << (group & 31));
  }

  /** Whether the entry was used; takes the note away. */
  take(entry: number): boolean {
    const word = entry >>> 5, bit = 1 << (entry & 31);
    if ((this.#bits[word]! & bit) === 0) return false;
    return (Atomics.and(this.#bits, word, ~bit) & bit) !== 0;
  }

  /** Entries that were used, and takes the notes away; about `most` at most. */
  takeAll(most: number): number[] {
    const found: number[] = [], groups = this.#groups;
    for (let at = 0; at < groups.length; at++) {
      if (groups[at] === 0) continue;
      let marked = Atomics.exchange(groups, at, 0);
      for (; marked !== 0 && found.length < most; marked &= marked - 1) {
        this.#takeGroup(BITS * at + lowest(marked), found);
      }
      if (marked !== 0) Atomics.or(groups, at, marked); // another time
    }
    return found;
  }

  #takeGroup(group: number, found: number[]): void {
    if (group >= this.#words.length) return; // no reader of ours set that
    let marked = Atomics.exchange(this.#words, group, 0);
    for (; marked !== 0; marked &= marked - 1) {
      this.#takeWord(BITS * group + lowest(marked), found);
    }
  }

  #takeWord(word: number, found: number[]): void {
    if (word >= this.#bits.length) return;
    let bits = Atomics.exchange(this.#bits, word, 0);
    for (; bits !== 0; bits &= bits - 1) {
      found.push(BITS * word + lowest(bits));
    }
  }
}

function mark(words: Uint32Array, at: number, bit: number): void {
  if ((words[at]! & bit) === 0) Atomics.or(words, at, bit);
}

/** The number of the lowest bit that is set. */
function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}
