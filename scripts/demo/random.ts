/**
 * Deterministic pseudo-random numbers, so that every machine writes the same
 * model and the same prompt.
 *
 * The algorithm is mulberry32: 32 bits of state and a few integer operations,
 * enough for weights and nonsense words, and the same in every runtime.
 */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** The next number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** The next whole number in [0, limit). */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** Fills `out` evenly over the range whose standard deviation is given. */
  fill(out: Float32Array, deviation: number): void {
    const width = deviation * Math.sqrt(12);
    for (let i = 0; i < out.length; i++) out[i] = (this.next() - 0.5) * width;
  }
}
