import { Ghosts } from "./ghosts.ts";
import type { Memory } from "./memory.ts";
import type { Arrival, EntryFacts, Policy, PolicyKind } from "./policy.ts";
import { Queue, QueueLinks } from "./queue.ts";
import { restoreGhosts, saveGhosts } from "./saved.ts";

/** Of what fits, for entries on probation. */
const SMALL_SHARE = 0.1;
const USES_MAX = 3;

/**
 * S3-FIFO (Yang et al., SOSP'23): new entries queue in a small queue; those
 * used there, and those that come back soon after they were evicted, go to the
 * main queue, in which a use buys another round.
 */
class S3Fifo implements Policy {
  readonly #facts: EntryFacts;
  readonly #small: Queue;
  readonly #main: Queue;
  readonly #uses: Uint32Array;
  readonly #ghosts: Ghosts;
  readonly #count: Uint32Array;
  /** Weight of all that fits. */
  readonly #fits: Float64Array;

  constructor(memory: Memory, capacity: number, facts: EntryFacts) {
    this.#facts = facts;
    const links = new QueueLinks(memory, capacity);
    this.#small = new Queue(memory, links, 1);
    this.#main = new Queue(memory, links, 2);
    this.#uses = memory.u32(capacity);
    this.#ghosts = new Ghosts(memory, capacity);
    this.#count = memory.u32(1);
    this.#fits = memory.f64(1);
  }

  insert({ entry, uses }: Arrival): void {
    const { keyLow, keyHigh, weight } = this.#facts;
    const known = this.#ghosts.take(keyLow(entry), keyHigh(entry));
    const queue = known || uses > 1 ? this.#main : this.#small;
    queue.push(entry, weight(entry));
    this.#uses[entry] = 0;
    this.#count[0]!++;
  }

  use(entry: number, _tick: number, uses: number): void {
    this.#uses[entry] = Math.min(USES_MAX, this.#uses[entry]! + uses);
  }

  pressed(): void {
    this.#fits[0] = this.#small.weight + this.#main.weight;
  }

  victim(mayGo: (entry: number) => boolean): number {
    const small_weight = SMALL_SHARE * this.#fits[0]!;
    // Each step takes a use away or moves an entry on, so this ends.
    const entries = Math.min(this.#count[0]!, this.#uses.length);
    for (let steps = (2 + USES_MAX) * entries; steps > 0; steps--) {
      const fromSmall = this.#small.tail() !== -1 &&
        (this.#small.weight > small_weight || this.#main.tail() === -1);
      const queue = fromSmall ? this.#small : this.#main;
      const entry = queue.tail();
      if (entry === -1) return -1;
      const used = this.#uses[entry]! > 0;
      if (!used && mayGo(entry)) return entry;
      const weight = this.#facts.weight(entry);
      queue.remove(entry, weight);
      this.#uses[entry] = fromSmall || !used ? 0 : this.#uses[entry]! - 1;
      // What may not go just now goes round where it is.
      (fromSmall && !used ? this.#small : this.#main).push(entry, weight);
    }
    // What is held keeps the others from their turn.
    const found = this.#small.oldest(mayGo);
    return found === -1 ? this.#main.oldest(mayGo) : found;
  }

  remove(entry: number, evicted: boolean): void {
    const { keyLow, keyHigh, weight } = this.#facts;
    const queue = this.#small.has(entry) ? this.#small : this.#main;
    if (!queue.has(entry)) return;
    queue.remove(entry, weight(entry));
    this.#count[0]!--;
    if (!evicted || queue === this.#main) return;
    const fits = Math.max(this.#fits[0]!, weight(entry));
    while (
      this.#ghosts.isFull || this.#ghosts.weight + weight(entry) > fits
    ) {
      if (!this.#ghosts.dropOldest()) break;
    }
    this.#ghosts.add(keyLow(entry), keyHigh(entry), weight(entry), {
      uses: 0,
      note: 0,
    });
  }

  save(): Uint8Array {
    return saveGhosts([this.#ghosts]);
  }

  restore(saved: Uint8Array): void {
    restoreGhosts(saved, [this.#ghosts]);
  }
}

export const S3FIFO: PolicyKind<"s3fifo"> = {
  name: "s3fifo",
  summary: "evicts what was not used soon after it came; the rest goes round",
  create: (memory, capacity, facts) => new S3Fifo(memory, capacity, facts),
};
