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
  /** The word of `bits` from which to take next. */
  #next = 0;

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

  /**
   * Entries that were used, and takes the notes away: `most`, or up to 31 more.
   * Begins where the last call ended, so that each has its turn.
   */
  takeAll(most: number): number[] {
    const found: number[] = [];
    const from = this.#next;
    this.#takeRange(from, this.#bits.length, most, found);
    if (from > 0) this.#takeRange(0, from, most, found);
    if (found.length < most) this.#next = 0;
    return found;
  }

  /** Takes notes from those words of `bits`, group by group. */
  #takeRange(from: number, to: number, most: number, found: number[]): void {
    for (let word = from; word < to && found.length < most;) {
      const group = word >>> 5, map = group >>> 5;
      if (this.#groups[map] === 0) {
        word = (map + 1) * BITS * BITS;
        continue;
      }
      const end = Math.min((group + 1) * BITS, to);
      const isMarked = (this.#groups[map]! & (1 << (group & 31))) !== 0;
      this.#next = word = isMarked
        ? this.#takeGroup(word, end, most, found)
        : end;
    }
  }

  /** Takes notes from words of one group; where it ended. */
  #takeGroup(from: number, end: number, most: number, found: number[]): number {
    const group = from >>> 5;
    // In this order, the reverse of `note`: what is noted behind us is marked anew.
    Atomics.and(this.#groups, group >>> 5, ~(1 << (group & 31)));
    let word = from;
    for (; word < end && found.length < most; word++) {
      if ((this.#words[group]! & (1 << (word & 31))) === 0) continue;
      Atomics.and(this.#words, group, ~(1 << (word & 31)));
      this.#takeWord(word, found);
    }
    if (Atomics.load(this.#words, group) !== 0) {
      mark(this.#groups, group >>> 5, 1 << (group & 31)); // another time
    }
    return word;
  }

  #takeWord(word: number, found: number[]): void {
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
