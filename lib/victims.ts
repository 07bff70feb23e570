/**
 * Picks whom an eviction takes: a binary heap over ranks, so that taking k of n
 * costs n + k log n.
 *
 * @module
 */
import type { EntryFacts, Policy, PolicyContext } from "./policy/mod.ts";

/** An entry that may be evicted. */
export interface Candidate extends EntryFacts {
  readonly entry: number;
  readonly blocks: number;
}

/** Gives candidates in the order in which the policy lets them go. */
export class VictimQueue {
  readonly #candidates: readonly Candidate[];
  readonly #ranks: Float64Array;
  readonly #heap: Uint32Array;
  #size: number;

  constructor(
    candidates: readonly Candidate[],
    policy: Policy,
    context: PolicyContext,
  ) {
    this.#candidates = candidates;
    this.#ranks = Float64Array.from(
      candidates,
      (candidate) => policy.rank(candidate, context),
    );
    this.#heap = Uint32Array.from(candidates, (_, i) => i);
    this.#size = candidates.length;
    for (let at = (this.#size >> 1) - 1; at >= 0; at--) this.#sink(at);
  }

  /** The next to go, or `undefined` when none is left. */
  next(): Candidate | undefined {
    if (this.#size === 0) return undefined;
    const top = this.#heap[0]!;
    this.#heap[0] = this.#heap[--this.#size]!;
    if (this.#size > 0) this.#sink(0);
    return this.#candidates[top];
  }

  /** Whether candidate `a` goes before `b`: by rank, recency, age. */
  #before(a: number, b: number): boolean {
    const byRank = this.#ranks[a]! - this.#ranks[b]!;
    if (byRank !== 0) return byRank < 0;
    const x = this.#candidates[a]!, y = this.#candidates[b]!;
    const byTick = x.access_tick - y.access_tick;
    return byTick !== 0 ? byTick < 0 : x.sequence < y.sequence;
  }

  #sink(at: number): void {
    const heap = this.#heap;
    for (;;) {
      let least = at;
      const left = 2 * at + 1, right = left + 1;
      if (left < this.#size && this.#before(heap[left]!, heap[least]!)) {
        least = left;
      }
      if (right < this.#size && this.#before(heap[right]!, heap[least]!)) {
        least = right;
      }
      if (least === at) return;
      [heap[at], heap[least]] = [heap[least]!, heap[at]!];
      at = least;
    }
  }
}
