/**
 * How often each of several caches hit of late, and whether one is better than
 * another by more than chance.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

/** When the unit has grown to this, all is made smaller by it. */
const UNIT_MAX = 2 ** 64;

export class Score {
  readonly #growth: number;
  readonly #confidence: number;
  /** Hits of each. */
  readonly #hits: Float64Array;
  /** Variance of its hits less the leader's: the squares of what batches differed by. */
  readonly #variance: Float64Array;
  /** How far each is ahead of the leader in the batch that goes on. */
  readonly #ahead: Float64Array;
  /** What a hit counts now: old ones fade by the new ones' counting for more. */
  readonly #unit: Float64Array;

  /**
   * @param window accesses after which a hit counts 1/e.
   * @param confidence standard deviations by which another has to be better.
   */
  constructor(
    memory: Memory,
    caches: number,
    window: number,
    confidence: number,
  ) {
    this.#growth = 1 + 1 / window;
    this.#confidence = confidence;
    this.#hits = memory.f64(caches);
    this.#variance = memory.f64(caches);
    this.#ahead = memory.f64(caches);
    this.#unit = memory.f64(1);
  }

  /** Notes one access: which of them hit. */
  note(isHit: Uint8Array, leader: number): void {
    const unit = (this.#unit[0]! || 1) * this.#growth;
    const led = isHit[leader]!;
    for (let i = 0; i < isHit.length; i++) {
      const hit = isHit[i]!;
      if (hit) this.#hits[i]! += unit;
      this.#ahead[i]! += hit - led;
    }
    this.#unit[0] = unit;
    if (unit > UNIT_MAX) this.#scale(1 / unit);
  }

  /**
   * A batch ends. Accesses of one request hit or miss together, so they say less
   * than as many on their own: it is batches that are told apart from chance.
   */
  endBatch(): void {
    const unit = this.#unit[0]! || 1;
    for (let i = 0; i < this.#ahead.length; i++) {
      this.#variance[i]! += this.#ahead[i]! ** 2 * unit;
    }
    this.#ahead.fill(0);
  }

  /**
   * The best, if it is better than the leader by more than chance, else the
   * leader.
   */
  best(leader: number): number {
    const unit = this.#unit[0]! || 1, hits = this.#hits;
    let best = leader;
    for (let i = 0; i < hits.length; i++) {
      const ahead = (hits[i]! - hits[leader]!) / unit;
      const chance = Math.sqrt(this.#variance[i]! / unit + 1);
      if (ahead > this.#confidence * chance && hits[i]! > hits[best]!) best = i;
    }
    return best;
  }

  /** Another leads from now on: the variance is of what the two differ by. */
  follow(leader: number): void {
    const hits = this.#hits;
    for (let i = 0; i < hits.length; i++) {
      this.#variance[i] = Math.abs(hits[i]! - hits[leader]!);
    }
  }

  /** Forgets what was before the other's window. */
  copy(other: Score): void {
    const scale = (this.#unit[0]! || 1) / (other.#unit[0]! || 1);
    for (let i = 0; i < this.#hits.length; i++) {
      this.#hits[i] = other.#hits[i]! * scale;
    }
  }

  #scale(by: number): void {
    for (let i = 0; i < this.#hits.length; i++) {
      this.#hits[i]! *= by;
      this.#variance[i]! *= by;
    }
    this.#unit[0]! *= by;
  }
}
