import { KeyHeap } from "./heap.ts";
import type { Memory } from "./memory.ts";
import type { Arrival, Policy, PolicyKind } from "./policy.ts";

/**
 * Accesses to the pool, per entry in it, after which an idle entry's count has
 * lost half its weight: without ageing, what was popular once stays for ever.
 */
const HALF_LIFE_PER_ENTRY = 8;

/**
 * Least frequently used, with ageing: a count halves for each half-life that
 * its entry goes untouched. Entries are ranked by the logarithm of what is left,
 * `log2(uses) - idle / half_life`, in which the moment of looking cancels out:
 * `log2(uses) * half_life + last use` gives the same order at any time.
 */
class Lfu implements Policy {
  readonly #heap: KeyHeap;
  readonly #uses: Uint32Array;
  readonly #last: Float64Array;
  /** Entries that the half-life was worked out for. */
  readonly #entries: Float64Array;

  constructor(memory: Memory, capacity: number) {
    this.#heap = new KeyHeap(memory, capacity);
    this.#uses = memory.u32(capacity);
    this.#last = memory.f64(capacity);
    this.#entries = memory.f64(1);
  }

  insert({ entry, tick, uses }: Arrival): void {
    this.#uses[entry] = 0;
    this.use(entry, tick, uses);
    this.#adjust();
  }

  use(entry: number, tick: number, uses: number): void {
    this.#uses[entry]! += uses;
    this.#last[entry] = tick;
    this.#heap.put(entry, this.#key(entry));
  }

  pressed(): void {
    this.#adjust();
  }

  victim(mayGo: (entry: number) => boolean): number {
    return this.#heap.first(mayGo);
  }

  remove(entry: number): void {
    this.#heap.remove(entry);
  }

  /** The half-life goes with the number of entries: a new one is a new order. */
  #adjust(): void {
    const { size } = this.#heap;
    const known = this.#entries[0]!;
    if (size > known * 0.75 && size < known * 1.5) return;
    this.#entries[0] = size;
    for (let place = 0; place < size; place++) {
      const entry = this.#heap.at(place);
      this.#heap.keys[entry] = this.#key(entry);
    }
    this.#heap.restore();
  }

  #key(entry: number): number {
    const half_life = HALF_LIFE_PER_ENTRY * this.#entries[0]!;
    return Math.log2(Math.max(1, this.#uses[entry]!)) * half_life +
      this.#last[entry]!;
  }
}

export const LFU: PolicyKind<"lfu"> = {
  name: "lfu",
  summary: "evicts what is used least often; old fame fades",
  create: (memory, capacity) => new Lfu(memory, capacity),
};
