/**
 * Where a policy keeps its state: arrays laid one behind the other over bytes
 * that the host of the policy provides. In a pool those bytes are shared memory,
 * so a policy keeps nothing else: every process that attaches sees the same.
 *
 * Zeroed bytes are the empty state of every structure here and of every policy.
 *
 * @module
 */

const ALIGN_BYTES = 8;

/** Lays out arrays. The same calls in the same order give the same places. */
export class Memory {
  readonly #buffer: ArrayBuffer | undefined;
  readonly #start: number;
  readonly #end: number;
  #at = 0;

  private constructor(
    buffer: ArrayBuffer | undefined,
    start: number,
    end: number,
  ) {
    this.#buffer = buffer;
    this.#start = start;
    this.#end = end;
  }

  /**
   * Arrays over `buffer`, from byte `start` on, a multiple of 8. What would pass
   * byte `end` is empty, and only adds up.
   */
  static over(
    buffer: ArrayBuffer,
    start = 0,
    end: number = buffer.byteLength,
  ): Memory {
    return new Memory(buffer, start, end);
  }

  /** Only adds up: the arrays that it gives are empty. */
  static measure(): Memory {
    return new Memory(undefined, 0, 0);
  }

  /** Bytes laid out so far. */
  get used_bytes(): number {
    return this.#at;
  }

  u32(length: number): Uint32Array {
    const at = this.#take(length * Uint32Array.BYTES_PER_ELEMENT);
    if (!this.#buffer || this.#isFull) return new Uint32Array();
    return new Uint32Array(this.#buffer, at, length);
  }

  f32(length: number): Float32Array {
    const at = this.#take(length * Float32Array.BYTES_PER_ELEMENT);
    if (!this.#buffer || this.#isFull) return new Float32Array();
    return new Float32Array(this.#buffer, at, length);
  }

  f64(length: number): Float64Array {
    const at = this.#take(length * Float64Array.BYTES_PER_ELEMENT);
    if (!this.#buffer || this.#isFull) return new Float64Array();
    return new Float64Array(this.#buffer, at, length);
  }

  get #isFull(): boolean {
    return this.#start + this.#at > this.#end;
  }

  #take(bytes: number): number {
    const at = this.#start + this.#at;
    this.#at += Math.ceil(bytes / ALIGN_BYTES) * ALIGN_BYTES;
    return at;
  }
}
