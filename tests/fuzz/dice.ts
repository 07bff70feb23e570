/** Numbers that follow from a seed. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed + 1, 0x9e37_79b9) | 1;
  }

  /** From 0 up to, not including, `below`. */
  random(below: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return Math.floor((this.#state >>> 0) / 2 ** 32 * below);
  }

  oneIn(count: number): boolean {
    return this.random(count) === 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.random(from.length)]!;
  }

  /** Any 32 bits, the odd ones more often. */
  word(): number {
    switch (this.random(6)) {
      case 0:
        return this.random(4);
      case 1:
        return 0xffff_ffff - this.random(4);
      case 2:
        return 2 ** this.random(32);
      case 3:
        return this.random(64);
      default:
        return this.random(2 ** 32);
    }
  }
}
