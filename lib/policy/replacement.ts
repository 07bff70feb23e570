/**
 * A policy at work, and what holds for every policy: uses are noted without a
 * lock and told to it later; what has expired goes first; of the rest what has
 * the lowest priority goes first, and the policy orders those of priority 0,
 * which most are. Others of one priority go by recency.
 *
 * The pool and the simulator run this same code.
 *
 * @module
 */
import { KeyHeap } from "./heap.ts";
import { Memory } from "./memory.ts";
import { POLICIES, type PolicyName } from "./mod.ts";
import type { EntryFacts, Policy } from "./policy.ts";
import { Uses } from "./uses.ts";

/** What is known of an entry that is present. */
export interface HostFacts extends EntryFacts {
  /** Tick of its last use. */
  tick(entry: number): number;
  /** Uses in its life, its making included. */
  uses(entry: number): number;
  /** Orders entries by their making. */
  order(entry: number): number;
  priority(entry: number): number;
  /** When it expires, in milliseconds since 1970; 0: never. */
  expires_at(entry: number): number;
}

/** Expired entries that are held, and are stepped over in looking for another. */
const HELD_MAX = 64;

/**
 * Uses that are told to the policy at once, under the pool's lock. What is left
 * costs no order: a victim's own is looked for before it goes.
 */
const TOLD_MAX = 256;

/** Lowest priority on top, and of equals what was used the longest ago. */
class PriorityHeap extends KeyHeap {
  readonly #facts: HostFacts;

  constructor(memory: Memory, capacity: number, facts: HostFacts) {
    super(memory, capacity);
    this.#facts = facts;
  }

  protected override before(a: number, b: number): boolean {
    const x = this.#facts.priority(a), y = this.#facts.priority(b);
    return x === y ? super.before(a, b) : x < y;
  }
}

export class Replacement {
  readonly #facts: HostFacts;
  readonly #uses: Uses;
  /** Uses that the policy knows of; 0: the entry is not present. */
  readonly #told: Uint32Array;
  readonly #expiring: KeyHeap;
  /** Entries of another priority than 0. */
  readonly #ranked: PriorityHeap;
  readonly #policy: Policy;
  /** Evicted, and not yet remembered. */
  readonly #leaving: number[] = [];

  constructor(
    memory: Memory,
    policy: PolicyName,
    capacity: number,
    facts: HostFacts,
  ) {
    this.#facts = facts;
    this.#uses = new Uses(memory, capacity);
    this.#told = memory.u32(capacity);
    this.#expiring = new KeyHeap(memory, capacity);
    this.#ranked = new PriorityHeap(memory, capacity, facts);
    this.#policy = POLICIES[policy].create(memory, capacity, facts);
  }

  /** Bytes that a policy needs for so many entries. */
  static bytes(policy: PolicyName, capacity: number): number {
    const memory = Memory.measure();
    new Replacement(memory, policy, capacity, NO_FACTS);
    return memory.used_bytes;
  }

  /** One in memory of its own: empty, or as `state` is, which may be longer. */
  static fresh(
    policy: PolicyName,
    capacity: number,
    facts: HostFacts,
    state?: Uint8Array,
  ): Replacement {
    const buffer = state?.slice().buffer as ArrayBuffer ??
      new ArrayBuffer(Replacement.bytes(policy, capacity));
    return new Replacement(Memory.over(buffer), policy, capacity, facts);
  }

  /** Notes a use, without a lock; the facts say already when and how often. */
  noteUse(entry: number): void {
    this.#uses.note(entry);
  }

  /** An entry has come. */
  insert(entry: number, parent: number): void {
    const facts = this.#facts;
    // Of whoever had its number before, if he went without a word.
    if (this.#told[entry]) this.remove(entry, false);
    this.#uses.take(entry);
    const uses = facts.uses(entry), tick = facts.tick(entry);
    this.#told[entry] = uses;
    const expires_at = facts.expires_at(entry);
    if (expires_at > 0) this.#expiring.put(entry, expires_at);
    if (facts.priority(entry) !== 0) {
      this.#ranked.put(entry, tick);
      return;
    }
    const order = facts.order(entry);
    // A parent of another priority is none of the policy's.
    const known = parent !== -1 && facts.priority(parent) === 0;
    this.#policy.insert({
      entry,
      tick,
      order,
      uses,
      parent: known ? parent : -1,
    });
  }

  /** Tells the policy of the uses since the last time, in their order. */
  tellUses(): void {
    const used = this.#uses.takeAll(TOLD_MAX);
    if (used.length > 1) {
      used.sort((a, b) => this.#facts.tick(a) - this.#facts.tick(b));
    }
    for (const entry of used) this.#tell(entry);
  }

  /** A batch of evictions begins: what is present is all that fits. */
  pressed(): void {
    this.#policy.pressed?.();
  }

  /** The next to go of those that may, or -1. */
  victim(mayGo: (entry: number) => boolean, now: number): number {
    for (;;) {
      const entry = this.#choose(mayGo, now);
      if (entry === -1 || !this.#uses.take(entry)) return entry;
      this.#tell(entry); // it was used just now: that may save it
    }
  }

  /** An entry goes: evicted, or else deleted or replaced. */
  remove(entry: number, evicted: boolean): void {
    this.#takeOut(entry, evicted);
    if (evicted) this.remember();
  }

  /**
   * As `remove`, for one of many that are evicted together: `remember` ends it,
   * before anything else is told.
   *
   * @returns the room that it takes.
   */
  letGo(entry: number): number {
    const isRanked = this.#ranked.has(entry);
    const known = isRanked ? undefined : this.#policy.weight?.(entry);
    this.#takeOut(entry, true);
    return known ?? this.#facts.weight(entry);
  }

  /** Has the policy note those that were let go, while the facts of them hold. */
  remember(): void {
    if (this.#leaving.length > 0) this.#policy.remember?.(this.#leaving);
    this.#leaving.length = 0;
  }

  /** What should outlive the entries. */
  save(): Uint8Array {
    return this.#policy.save?.() ?? new Uint8Array();
  }

  /** Takes what `save` gave; what cannot be right is left out. */
  restore(saved: Uint8Array): void {
    this.#policy.restore?.(saved);
  }

  #takeOut(entry: number, evicted: boolean): void {
    this.#told[entry] = 0;
    this.#expiring.remove(entry);
    if (this.#ranked.remove(entry)) return;
    this.#policy.remove(entry, evicted);
    if (evicted) this.#leaving.push(entry);
  }

  #tell(entry: number): void {
    // A use may be noted while the entry goes: then it is nobody's.
    if (!this.#told[entry]) return;
    const facts = this.#facts;
    const total = facts.uses(entry);
    const uses = Math.max(1, total - this.#told[entry]!);
    this.#told[entry] = total;
    if (this.#ranked.has(entry)) this.#ranked.put(entry, facts.tick(entry));
    else this.#policy.use(entry, facts.tick(entry), uses);
  }

  #choose(mayGo: (entry: number) => boolean, now: number): number {
    const isExpired = this.#expiring.top() !== -1 &&
      this.#expiring.keys[this.#expiring.top()]! <= now;
    if (isExpired) {
      const expired = this.#expiring.first(mayGo, HELD_MAX);
      if (expired !== -1 && this.#expiring.keys[expired]! <= now) {
        return expired;
      }
    }
    const lowest = this.#ranked.top();
    if (lowest !== -1 && this.#facts.priority(lowest) < 0) {
      const ranked = this.#ranked.first(mayGo);
      if (ranked !== -1 && this.#facts.priority(ranked) < 0) return ranked;
    }
    const ordinary = this.#policy.victim(mayGo);
    return ordinary === -1 ? this.#ranked.first(mayGo) : ordinary;
  }
}

/** For working out sizes: there are no entries to ask about. */
const NO_FACTS: HostFacts = {
  weight: () => 0,
  keyLow: () => 0,
  keyHigh: () => 0,
  tick: () => 0,
  uses: () => 0,
  order: () => 0,
  priority: () => 0,
  expires_at: () => 0,
};
