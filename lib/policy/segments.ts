/**
 * Entries in two segments: on probation, and kept. What is used on probation is
 * kept; what is least worth keeping goes back on probation when the kept ones
 * are too many; victims come from probation. How much room probation has, and
 * what counts as worth, are a {@linkcode Habit}, which may change at any time.
 *
 * A probation of everything is LRU, one of nothing LFU; a small one resists
 * scans, as in S3-FIFO; a large one suits conversations.
 *
 * @module
 */
import { Heap, type Places } from "./heap.ts";
import type { Memory } from "./memory.ts";

/** How entries are treated. */
export interface Habit {
  /** Share of the room that is for probation: 0 to 1. */
  readonly probation: number;
  /**
   * What doubling an entry's uses is worth: as if it had been used later by this
   * many accesses per entry. 0: only recency counts.
   */
  readonly fame: number;
  /** Whether what comes back after it was evicted is kept at once. */
  readonly remembers: boolean;
}

/** What the order of entries goes by; both only ever grow while one is present. */
export interface Ranks {
  /** Last use, as a tick; see `Prefix` for what chains make of it. */
  readonly position: Float64Array;
  /** Logarithm to base 2 of the uses. */
  readonly fame: Float64Array;
  /** Room that each takes. */
  readonly weight: Float64Array;
}

/** Numbers of a heap: what they mean. */
const REACH = 0, WEIGHT = 1;

/** The one with the lowest `position + reach * fame` is on top. */
class RankHeap extends Heap {
  readonly #ranks: Ranks;
  readonly #numbers: Float64Array;

  constructor(
    memory: Memory,
    capacity: number,
    places: Places,
    ranks: Ranks,
  ) {
    super(memory, capacity, places);
    this.#ranks = ranks;
    this.#numbers = memory.f64(2);
  }

  get weight(): number {
    return this.#numbers[WEIGHT]!;
  }

  /** Adds the weights up anew. */
  recount(): void {
    let weight = 0;
    for (let place = 0; place < this.size; place++) {
      weight += this.#ranks.weight[this.at(place)] ?? 0;
    }
    this.#numbers[WEIGHT] = weight;
  }

  setReach(reach: number): void {
    if (this.#numbers[REACH] === reach) return;
    this.#numbers[REACH] = reach;
    this.restore();
  }

  override add(entry: number): void {
    this.#numbers[WEIGHT]! += this.#ranks.weight[entry]!;
    super.add(entry);
  }

  override remove(entry: number): boolean {
    const isThere = super.remove(entry);
    if (isThere) this.#numbers[WEIGHT]! -= this.#ranks.weight[entry]!;
    return isThere;
  }

  protected override before(a: number, b: number): boolean {
    const { position, fame } = this.#ranks;
    const reach = this.#numbers[REACH]!;
    if (reach === 0) return position[a]! < position[b]!;
    return position[a]! + reach * fame[a]! < position[b]! + reach * fame[b]!;
  }
}

/** How many entries change segments after one access, so that none costs much. */
const MOVES_MAX = 32;

export class Segments {
  readonly #probation: RankHeap;
  readonly #kept: RankHeap;
  readonly #ranks: Ranks;
  /** Weight of all that fits, 0 while that is not known; share of probation. */
  readonly #room: Float64Array;

  /** @param entries at most, in each segment. */
  constructor(
    memory: Memory,
    entries: number,
    places: Places,
    ranks: Ranks,
  ) {
    this.#probation = new RankHeap(memory, entries, places, ranks);
    this.#kept = new RankHeap(memory, entries, places, ranks);
    this.#room = memory.f64(2);
    this.#ranks = ranks;
  }

  get weight(): number {
    return this.#probation.weight + this.#kept.weight;
  }

  get size(): number {
    return this.#probation.size + this.#kept.size;
  }

  /** Adds the weights up anew: what is wrong with them heals. */
  recount(): void {
    this.#probation.recount();
    this.#kept.recount();
  }

  /** Whether so much more fits. */
  fits(weight: number): boolean {
    return this.#room[0] === 0 || this.weight + weight <= this.#room[0]!;
  }

  has(entry: number): boolean {
    return this.#probation.has(entry) || this.#kept.has(entry);
  }

  /** Takes on a habit, and the room there is. */
  adopt(habit: Habit, fits_weight: number, accessesPerEntry: number): void {
    this.#room[0] = fits_weight;
    this.#room[1] = habit.probation;
    this.#kept.setReach(habit.fame * accessesPerEntry);
  }

  insert(entry: number, known: boolean): void {
    // While all of it fits, who is kept is for later to say.
    const kept = known || (this.#room[0]! > 0 && this.#room[1] === 0);
    (kept ? this.#kept : this.#probation).add(entry);
    this.#settle();
  }

  /** An entry was used: its ranks have grown. */
  use(entry: number): void {
    if (this.#kept.postpone(entry)) return;
    this.#probation.remove(entry);
    this.#kept.add(entry);
    this.#settle();
  }

  /** An entry's turn is later than it was, for another reason than a use. */
  postpone(entry: number): void {
    if (!this.#probation.postpone(entry)) this.#kept.postpone(entry);
  }

  /** Takes an entry out; false if it is in neither. */
  remove(entry: number): boolean {
    return this.#probation.remove(entry) || this.#kept.remove(entry);
  }

  /** The first to go, or -1. */
  top(): number {
    return this.#probation.size > 0 ? this.#probation.top() : this.#kept.top();
  }

  /** The first to go of those that may, or -1. */
  first(mayGo: (entry: number) => boolean): number {
    const found = this.#probation.first(mayGo);
    return found === -1 ? this.#kept.first(mayGo) : found;
  }

  /** Moves the border to where it should be, a few entries at a time. */
  #settle(): void {
    const [fits, share] = this.#room;
    if (fits === 0) return; // all of it fits as yet
    const probation_max = fits! * share!, kept_max = fits! - probation_max;
    const { weight } = this.#ranks;
    for (let moves = 0; moves < MOVES_MAX; moves++) {
      if (this.#kept.weight > kept_max) {
        const least = this.#kept.top();
        if (!this.#kept.remove(least)) return; // whatever shared memory says
        this.#probation.add(least);
        continue;
      }
      if (this.#probation.weight <= probation_max) return;
      // There is room among the kept: nobody need leave for want of a use.
      const oldest = this.#probation.top();
      if (!this.#probation.has(oldest)) return;
      if (this.#kept.weight + weight[oldest]! > kept_max) return;
      this.#probation.remove(oldest);
      this.#kept.add(oldest);
    }
  }
}
