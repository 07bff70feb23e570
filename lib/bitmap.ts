/**
 * A bitmap over shared words: bit `i` of word `w` stands for block `32w + i`.
 * Both the free list (1 = used) and the map of committed blocks (1 = backed by
 * memory) are one.
 *
 * @module
 */

/** The bits from index `at` on, to the end of its word or to index `end`. */
function bitsFrom(at: number, end: number): number {
  const from = -1 << (at & 31);
  return end <= (at | 31) ? from & ~(-1 << (end & 31)) : from;
}

export function countBits(word: number): number {
  word -= (word >>> 1) & 0x5555_5555;
  word = (word & 0x3333_3333) + ((word >>> 2) & 0x3333_3333);
  return Math.imul((word + (word >>> 4)) & 0x0f0f_0f0f, 0x0101_0101) >>> 24;
}

/** `length` bits over the front of `words`. */
export class Bitmap {
  readonly words: Uint32Array;
  readonly length: number;

  constructor(words: Uint32Array, length: number) {
    if (words.length * 32 < length) {
      throw new RangeError(
        `bitmap: ${length} bits in ${words.length} words`,
      );
    }
    this.words = words;
    this.length = length;
  }

  /** One of its own, with no bit set. */
  static empty(length: number): Bitmap {
    return new Bitmap(new Uint32Array(Math.ceil(length / 32)), length);
  }

  has(index: number): boolean {
    return (this.words[index >>> 5]! >>> (index & 31) & 1) === 1;
  }

  /** Sets `count` bits from `start` on, by plain stores: under the pool's lock. */
  set(start: number, count: number): void {
    const { words } = this, end = this.#end(start, count);
    for (let at = start; at < end; at = (at | 31) + 1) {
      words[at >>> 5]! |= bitsFrom(at, end);
    }
  }

  /** As `set`. */
  clear(start: number, count: number): void {
    const { words } = this, end = this.#end(start, count);
    for (let at = start; at < end; at = (at | 31) + 1) {
      words[at >>> 5]! &= ~bitsFrom(at, end);
    }
  }

  /** Whether every one of `count` bits from `start` on is set. */
  all(start: number, count: number): boolean {
    const { words } = this, end = this.#end(start, count);
    for (let at = start; at < end; at = (at | 31) + 1) {
      if (~words[at >>> 5]! & bitsFrom(at, end)) return false;
    }
    return true;
  }

  /** Whether any one of `count` bits from `start` on is set. */
  any(start: number, count: number): boolean {
    const { words } = this, end = this.#end(start, count);
    for (let at = start; at < end; at = (at | 31) + 1) {
      if (words[at >>> 5]! & bitsFrom(at, end)) return true;
    }
    return false;
  }

  /**
   * Sets bits that nobody may have set before; those that are set already are set
   * in `contested`, too.
   *
   * @returns whether there were none.
   */
  claim(start: number, count: number, contested: Bitmap): boolean {
    const isFree = !this.any(start, count);
    for (let at = start; !isFree && at < start + count; at++) {
      if (this.has(at)) contested.set(at, 1);
    }
    this.set(start, count);
    return isFree;
  }

  clearAll(): void {
    this.words.fill(0);
  }

  isEmpty(): boolean {
    return this.words.every((word) => word === 0);
  }

  /** Which bits are set, in order. */
  indexes(): number[] {
    const found: number[] = [];
    for (let at = 0; at < this.length; at += 32) {
      let left = this.words[at >>> 5]!;
      if (at + 32 > this.length) left &= bitsFrom(0, this.length & 31);
      for (; left !== 0; left &= left - 1) {
        found.push(at + 31 - Math.clz32(left & -left));
      }
    }
    return found;
  }

  /** How many bits are set. */
  count(): number {
    let total = 0;
    for (const word of this.words) total += countBits(word);
    return total;
  }

  #end(start: number, count: number): number {
    const end = start + count;
    if (start >= 0 && count >= 0 && end <= this.length) return end;
    throw new RangeError(`bitmap: [${start}, ${end}) of ${this.length}`);
  }
}
