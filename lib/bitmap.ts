/**
 * A bitmap over shared words: bit `i` of word `w` stands for block `32w + i`.
 * Both the free list (1 = used) and the map of committed blocks (1 = backed by
 * memory) are one.
 *
 * @module
 */

/** Bits `from` up to, not including, `to` of one word; `0 <= from < to <= 32`. */
function mask(from: number, to: number): number {
  const upper = to === 32 ? 0xffff_ffff : (1 << to) - 1;
  return (upper & ~((1 << from) - 1)) >>> 0;
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

  has(index: number): boolean {
    return (this.words[index >>> 5]! >>> (index & 31) & 1) === 1;
  }

  /** Sets `count` bits from `start` on. */
  set(start: number, count: number): void {
    // A committed block may be noted by two processes at once, without the lock.
    this.#eachWord(start, count, (word, bits) => {
      Atomics.or(this.words, word, bits);
    });
  }

  clear(start: number, count: number): void {
    this.#eachWord(start, count, (word, bits) => {
      Atomics.and(this.words, word, ~bits);
    });
  }

  /** Whether every one of `count` bits from `start` on is set. */
  all(start: number, count: number): boolean {
    // Without `#eachWord`: every hit asks this of its blocks.
    const end = this.#end(start, count);
    for (let at = start; at < end;) {
      const word = at >>> 5;
      const next = Math.min(end, (word + 1) * 32);
      const bits = mask(at & 31, next - word * 32);
      if ((this.words[word]! & bits) >>> 0 !== bits) return false;
      at = next;
    }
    return true;
  }

  /** Whether any one of `count` bits from `start` on is set. */
  any(start: number, count: number): boolean {
    let any = false;
    this.#eachWord(start, count, (word, bits) => {
      if ((this.words[word]! & bits) !== 0) any = true;
    });
    return any;
  }

  clearAll(): void {
    this.words.fill(0);
  }

  isEmpty(): boolean {
    return this.words.every((word) => word === 0);
  }

  /** Bits that are set. */
  count(): number {
    let total = 0;
    for (const word of this.words) total += countBits(word);
    return total;
  }

  #eachWord(
    start: number,
    count: number,
    visit: (word: number, bits: number) => void,
  ): void {
    const end = this.#end(start, count);
    for (let at = start; at < end;) {
      const word = at >>> 5;
      const next = Math.min(end, (word + 1) * 32);
      visit(word, mask(at & 31, next - word * 32));
      at = next;
    }
  }

  #end(start: number, count: number): number {
    const end = start + count;
    if (start >= 0 && count >= 0 && end <= this.length) return end;
    throw new RangeError(`bitmap: [${start}, ${end}) of ${this.length}`);
  }
}
