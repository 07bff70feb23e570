import type { Memory } from "./memory.ts";
import type { Arrival, EntryFacts, Policy, PolicyKind } from "./policy.ts";
import { Queue, QueueLinks } from "./queue.ts";

/**
 * SIEVE (Zhang et al., NSDI'24): one queue in the order of arrival, and a hand
 * that goes from its tail to its head, evicting what was not used since it last
 * came by.
 */
class Sieve implements Policy {
  readonly #queue: Queue;
  readonly #visited: Uint32Array;
  /** Where the hand is, plus one; 0: at the tail. */
  readonly #hand: Uint32Array;
  readonly #count: Uint32Array;
  readonly #links: QueueLinks;

  constructor(memory: Memory, capacity: number, _facts: EntryFacts) {
    this.#links = new QueueLinks(memory, capacity);
    this.#queue = new Queue(memory, this.#links, 1);
    this.#visited = memory.u32(capacity);
    this.#hand = memory.u32(1);
    this.#count = memory.u32(1);
  }

  insert({ entry }: Arrival): void {
    this.#queue.push(entry, 1);
    this.#visited[entry] = 0;
    this.#count[0]!++;
  }

  use(entry: number): void {
    this.#visited[entry] = 1;
  }

  victim(mayGo: (entry: number) => boolean): number {
    let at = this.#hand[0]! - 1;
    // Twice round: the first may only clear marks.
    const entries = Math.min(this.#count[0]!, this.#visited.length);
    for (let steps = 2 * entries; steps > 0; steps--) {
      if (at === -1) at = this.#queue.tail();
      if (at === -1) return -1;
      if (this.#visited[at] === 0 && mayGo(at)) {
        this.#hand[0] = at + 1;
        return at;
      }
      this.#visited[at] = 0;
      at = this.#queue.newer(at);
    }
    return -1;
  }

  remove(entry: number): void {
    if (!this.#queue.has(entry)) return;
    if (this.#hand[0] === entry + 1) {
      this.#hand[0] = this.#queue.newer(entry) + 1;
    }
    this.#queue.remove(entry, 1);
    this.#count[0]!--;
  }
}

export const SIEVE: PolicyKind<"sieve"> = {
  name: "sieve",
  summary:
    "evicts, in order of arrival, what was not used since the last round",
  create: (memory, capacity, facts) => new Sieve(memory, capacity, facts),
};
