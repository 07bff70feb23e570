import { Ghosts } from "./ghosts.ts";
import type { Memory } from "./memory.ts";
import type { Arrival, EntryFacts, Policy, PolicyKind } from "./policy.ts";
import { Queue, QueueLinks } from "./queue.ts";
import { restoreGhosts, saveGhosts } from "./saved.ts";

/**
 * ARC (Megiddo and Modha, FAST'03): a list of what was used once and one of what
 * was used again, each with ghosts; a ghost that comes back moves the border
 * between the two in favour of its list. Sizes are weights, for entries differ.
 */
class Arc implements Policy {
  readonly #facts: EntryFacts;
  readonly #once: Queue;
  readonly #again: Queue;
  readonly #onceGhosts: Ghosts;
  readonly #againGhosts: Ghosts;
  /** Weight of all that fits; weight that `once` should have. */
  readonly #numbers: Float64Array;
  readonly #links: QueueLinks;

  constructor(memory: Memory, capacity: number, facts: EntryFacts) {
    this.#facts = facts;
    this.#links = new QueueLinks(memory, capacity);
    this.#once = new Queue(memory, this.#links, 1);
    this.#again = new Queue(memory, this.#links, 2);
    this.#onceGhosts = new Ghosts(memory, capacity);
    this.#againGhosts = new Ghosts(memory, capacity);
    this.#numbers = memory.f64(2);
  }

  insert({ entry, uses }: Arrival): void {
    const low = this.#facts.keyLow(entry), high = this.#facts.keyHigh(entry);
    const weight = this.#facts.weight(entry);
    const known = this.#adapt(low, high, weight);
    (known || uses > 1 ? this.#again : this.#once).push(entry, weight);
  }

  use(entry: number): void {
    const weight = this.#facts.weight(entry);
    (this.#once.has(entry) ? this.#once : this.#again).remove(entry, weight);
    this.#again.push(entry, weight);
  }

  pressed(): void {
    this.#numbers[0] = this.#once.weight + this.#again.weight;
  }

  victim(mayGo: (entry: number) => boolean): number {
    const fromOnce = this.#once.weight > this.#numbers[1]! ||
      this.#again.tail() === -1;
    const [first, second] = fromOnce
      ? [this.#once, this.#again]
      : [this.#again, this.#once];
    const found = first.oldest(mayGo);
    return found === -1 ? second.oldest(mayGo) : found;
  }

  remove(entry: number, evicted: boolean): void {
    const isOnce = this.#once.has(entry);
    const queue = isOnce ? this.#once : this.#again;
    if (!queue.has(entry)) return;
    const weight = this.#facts.weight(entry);
    queue.remove(entry, weight);
    if (!evicted) return;
    const ghosts = isOnce ? this.#onceGhosts : this.#againGhosts;
    if (ghosts.isFull) ghosts.dropOldest();
    ghosts.add(
      this.#facts.keyLow(entry),
      this.#facts.keyHigh(entry),
      weight,
      { uses: 0, note: 0 },
    );
    this.#trim();
  }

  save(): Uint8Array {
    return saveGhosts([this.#onceGhosts, this.#againGhosts]);
  }

  restore(saved: Uint8Array): void {
    restoreGhosts(saved, [this.#onceGhosts, this.#againGhosts]);
  }

  /** Whether the key was evicted lately; moves the border if so. */
  #adapt(low: number, high: number, weight: number): boolean {
    const [fits, target] = this.#numbers;
    const once_weight = this.#onceGhosts.weight;
    const again_weight = this.#againGhosts.weight;
    if (this.#onceGhosts.take(low, high)) {
      const step = weight * Math.max(1, again_weight / once_weight);
      this.#numbers[1] = Math.min(fits!, target! + step);
      return true;
    }
    if (this.#againGhosts.take(low, high)) {
      const step = weight * Math.max(1, once_weight / again_weight);
      this.#numbers[1] = Math.max(0, target! - step);
      return true;
    }
    return false;
  }

  /** Once and its ghosts are as much as fits, all four lists twice that. */
  #trim(): void {
    const fits = this.#numbers[0]!;
    const once = () => this.#once.weight + this.#onceGhosts.weight;
    while (once() > fits && this.#onceGhosts.dropOldest());
    const all = () => once() + this.#again.weight + this.#againGhosts.weight;
    while (all() > 2 * fits && this.#againGhosts.dropOldest());
  }
}

export const ARC: PolicyKind<"arc"> = {
  name: "arc",
  summary: "balances what was used once against what was used again",
  create: (memory, capacity, facts) => new Arc(memory, capacity, facts),
};
