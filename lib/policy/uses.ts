/**
 * Which entries were used since somebody last looked: one bit each, set by
 * readers without a lock, and one bit for every 32 of them, so that looking costs
 * little when there is little to see.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

const BITS = 32;

export class Uses {
  readonly #bits: Uint32Array;
  /** Which words of `bits` have any. */
  readonly #words: Uint32Array;

  constructor(memory: Memory, capacity: number) {
    const words = Math.ceil(capacity / BITS);
    this.#bits = memory.u32(words);
    this.#words = memory.u32(Math.ceil(words / BITS));
  }

  /** Notes a use: two loads, and at most two atomic stores. */
  note(entry: number): void {
    const word = entry >>> 5, summary = word >>> 5;
    const bit = 1 << (entry & 31), wordBit = 1 << (word & 31);
    if ((this.#bits[word]! & bit) === 0) Atomics.or(this.#bits, word, bit);
    // After the bit: who clears the summary first sees the bit then.
    if ((this.#words[summary]! & wordBit) === 0) {
      Atomics.or(this.#words, summary, wordBit);
    }
  }

  /** Whether the entry was used; takes the note away. */
  take(entry: number): boolean {
    const word = entry >>> 5, bit = 1 << (entry & 31);
    if ((this.#bits[word]! & bit) === 0) return false;
    return (Atomics.and(this.#bits, word, ~bit) & bit) !== 0;
  }

  /** Entries that were used, and takes the notes away; about `most` at most. */
  takeAll(most: number): number[] {
    const found: number[] = [];
    const words = this.#words;
    for (let summary = 0; summary < words.length; summary++) {
      if (words[summary] === 0) continue;
      if (found.length >= most) break;
      let marked = Atomics.exchange(words, summary, 0);
      while (marked !== 0) {
        const lowest = 31 - Math.clz32(marked & -marked);
        marked &= marked - 1;
        this.#takeWord(summary * BITS + lowest, found);
      }
    }
    return found;
  }

  #takeWord(word: number, found: number[]): void {
    if (word >= this.#bits.length) return; // no reader of ours set that
    let bits = Atomics.exchange(this.#bits, word, 0);
    while (bits !== 0) {
      found.push(word * BITS + 31 - Math.clz32(bits & -bits));
      bits &= bits - 1;
    }
  }
}
