/**
 * What is remembered of entries that were evicted: 64 bits of the key's hash and
 * a little more, first in, first out.
 *
 * They lie in a ring, and are chained by bucket, youngest first. Nothing is taken
 * out of a chain: it ends where a place has been written anew, as the window of
 * an LZ77 compressor does (Deutsch, RFC 1951, section 4).
 *
 * @module
 */
import type { Memory } from "./memory.ts";

/** What is remembered of one. */
export interface Ghost {
  /** Uses before it went. */
  readonly uses: number;
  /** Whatever the policy noted. */
  readonly note: number;
}

/** One, with the hash of its key, and the room that its entry took. */
export interface KnownGhost extends Ghost {
  readonly low: number;
  readonly high: number;
  readonly weight: number;
}

/** Words of a ghost that lie side by side, as a look-up needs them together. */
const LOW = 0, HIGH = 1, USES = 2, NEXT = 3, WORDS = 4;

/** Ghosts in one bucket that are looked at: honest hashes make it a few. */
const CHAIN_MAX = 256;

/** A memory of at most `capacity` ghosts. */
export class Ghosts {
  readonly capacity: number;
  /** Hash, uses, and the next older ghost in the same bucket, plus one. */
  readonly #words: Uint32Array;
  readonly #note: Uint32Array;
  /** Weights plus one, so that 0 is a free place. */
  readonly #weight: Float32Array;
  /** The youngest ghost of each, plus one. */
  readonly #buckets: Uint32Array;
  readonly #mask: number;
  /** Next place to write, the oldest, and how many. */
  readonly #ends: Uint32Array;
  readonly #total: Float64Array;
  /** Of no use, but that what goes into it must be fetched. */
  #fetched = 0;

  constructor(memory: Memory, capacity: number) {
    this.capacity = capacity;
    this.#words = memory.u32(WORDS * capacity);
    this.#note = memory.u32(capacity);
    this.#weight = memory.f32(capacity);
    const buckets = 2 ** Math.ceil(Math.log2(Math.max(1, capacity)));
    this.#buckets = memory.u32(buckets);
    this.#mask = buckets - 1;
    this.#ends = memory.u32(3);
    this.#total = memory.f64(1);
  }

  get count(): number {
    return this.#ends[2]!;
  }

  /** Sum of the weights. */
  get weight(): number {
    return this.#total[0]!;
  }

  /** Has the processor fetch what `add` will touch: misses of many overlap. */
  fetch(low: number): void {
    this.#fetched ^= this.#buckets[low & this.#mask]!;
  }

  /** Remembers one; there must be room (see `dropOldest`). */
  add(low: number, high: number, weight: number, ghost: Ghost): void {
    const at = this.#ends[0]! % this.capacity;
    const bucket = low & this.#mask, words = this.#words, word = WORDS * at;
    words[word + LOW] = low;
    words[word + HIGH] = high;
    words[word + USES] = ghost.uses;
    words[word + NEXT] = this.#buckets[bucket]!;
    this.#buckets[bucket] = at + 1;
    this.#note[at] = ghost.note;
    this.#weight[at] = weight + 1; // rounded, alike whenever it is read

    this.#ends[0] = (at + 1) % this.capacity;
    // Once round, onto the place of one that was taken: the next is the oldest.
    const isRound = this.count > 0 && this.#ends[1]! % this.capacity === at;
    if (isRound) this.#ends[1] = (at + 1) % this.capacity;
    this.#ends[2]!++;
    this.#total[0]! += this.#weight[at]! - 1;
  }

  /** Whether another one finds a place without dropping the oldest. */
  get isFull(): boolean {
    return this.#weight[this.#ends[0]! % this.capacity] !== 0;
  }

  has(low: number, high: number): boolean {
    return this.#find(low, high) !== -1;
  }

  /** Finds one and forgets it. */
  take(low: number, high: number): Ghost | undefined {
    const at = this.#find(low, high);
    if (at === -1) return undefined;
    const ghost = this.#ghost(at);
    this.#forget(at);
    return ghost;
  }

  /** Forgets the oldest; `undefined` if there is none. */
  dropOldest(): KnownGhost | undefined {
    const { capacity } = this;
    for (let steps = 0; steps < capacity && this.count > 0; steps++) {
      const at = this.#ends[1]! % capacity;
      this.#ends[1] = (at + 1) % capacity;
      if (this.#weight[at] === 0) continue; // taken meanwhile
      const ghost = this.#ghost(at);
      this.#forget(at);
      return ghost;
    }
    this.#ends[2] = 0; // whatever shared memory said
    return undefined;
  }

  /** Every one, oldest first. */
  *all(): Generator<KnownGhost> {
    for (let step = 0; step < this.capacity; step++) {
      const at = (this.#ends[1]! + step) % this.capacity;
      if (this.#weight[at] === 0) continue;
      yield this.#ghost(at);
    }
  }

  /** Changes the notes. */
  revise(change: (ghost: Ghost) => number): void {
    if (this.count === 0) return; // while a pool fills up, there are none
    for (let at = 0; at < this.capacity; at++) {
      if (this.#weight[at] === 0) continue;
      this.#note[at] = change(this.#ghost(at));
    }
  }

  #find(low: number, high: number): number {
    const words = this.#words, bucket = low & this.#mask;
    let link = this.#buckets[bucket] ?? 0;
    for (let steps = 0, age = -1; link !== 0 && steps < CHAIN_MAX; steps++) {
      const at = link - 1, word = WORDS * at;
      const isOlder = this.#age(at) > age;
      // A place that was written anew, if not in another bucket, is younger.
      if (!isOlder || (words[word + LOW]! & this.#mask) !== bucket) return -1;
      if (words[word + LOW] === low && words[word + HIGH] === high) {
        return this.#weight[at]! > 0 ? at : -1;
      }
      age = this.#age(at);
      link = words[word + NEXT] ?? 0;
    }
    return -1;
  }

  /** How many places were written after this one, at most. */
  #age(at: number): number {
    const age = this.#ends[0]! - 1 - at;
    return age < 0 ? age + this.capacity : age;
  }

  #ghost(at: number): KnownGhost {
    const words = this.#words, word = WORDS * at;
    return {
      low: words[word + LOW]!,
      high: words[word + HIGH]!,
      uses: words[word + USES]!,
      weight: this.#weight[at]! - 1,
      note: this.#note[at]!,
    };
  }

  #forget(at: number): void {
    this.#total[0]! -= this.#weight[at]! - 1;
    this.#weight[at] = 0;
    this.#ends[2] = Math.max(0, this.count - 1);
  }
}
