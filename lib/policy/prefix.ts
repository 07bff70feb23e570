import { Ghosts } from "./ghosts.ts";
import { HABITS } from "./habits.ts";
import type { Memory } from "./memory.ts";
import type { Arrival, EntryFacts, Policy, PolicyKind } from "./policy.ts";
import { restoreGhosts, saveGhosts } from "./saved.ts";
import { type Ranks, Segments } from "./segments.ts";
import { Tuner } from "./tuner.ts";

/** Ghosts per entry: conversations come back after minutes. */
const GHOSTS_PER_ENTRY = 4;
/** More of them, as long as a habit that is tried still holds theirs. */
const GHOSTS_MAX_PER_ENTRY = 5;
/** How many old ghosts are looked at for each new one. */
const DROPS_MAX = 4;
/** A parent used this lately, as a share of the entries, was used with its child. */
const TOGETHER_SHARE = 1 / 8;
/** Deeper entries go first; 8,192 of them are one tick. */
const DEPTH_TICKS = 1 / 8192;
/**
 * How far a victim is looked for, under the pool's lock. What is pinned or held
 * together in odd ways may go in another order then; a writer must not wait.
 */
const TRIES_MAX = 64, CHAIN_MAX = 4096, PINNED_MAX = 4096;

const USES_MAX = 2 ** 32 - 1;

/** Numbers that are kept: what they mean. */
const ENTRIES = 0, FITS = 1, ENTRIES_FIT = 2, LATEST = 3;

/**
 * For prefix caches. Entries that are used together, as a prompt's chain is, are
 * worth the same, and an entry is worthless without its parents. So a child
 * takes on its parent's last use, deeper ones go first, and nothing goes before
 * what extends it. Keys that were evicted are remembered, and kept when they
 * come back. How new entries are received, and what counts more, use or uses, is
 * chosen by trying (see `Tuner`).
 */
class Prefix implements Policy {
  readonly #facts: EntryFacts;
  readonly #ranks: Ranks;
  readonly #segments: Segments;
  readonly #ghosts: Ghosts;
  readonly #tuner: Tuner;
  readonly #numbers: Float64Array;
  readonly #uses: Uint32Array;
  readonly #last: Float64Array;
  readonly #depth: Uint32Array;
  /** Parents plus one, and which arrival it was that the parent's number meant. */
  readonly #parent: Uint32Array;
  readonly #parentBirth: Uint32Array;
  readonly #birth: Uint32Array;
  readonly #children: Uint32Array;
  /** The youngest of them, plus one. */
  readonly #child: Uint32Array;
  /** Nodes of the tuner plus one. */
  readonly #node: Uint32Array;
  /** Evictions since this handle held the sums of weights against the weights. */
  #unchecked = 0;

  constructor(memory: Memory, capacity: number, facts: EntryFacts) {
    this.#facts = facts;
    this.#numbers = memory.f64(4);
    this.#ranks = {
      position: memory.f64(capacity),
      fame: memory.f64(capacity),
      weight: memory.f64(capacity),
    };
    this.#last = memory.f64(capacity);
    this.#uses = memory.u32(capacity);
    this.#depth = memory.u32(capacity);
    this.#parent = memory.u32(capacity);
    this.#parentBirth = memory.u32(capacity);
    this.#birth = memory.u32(capacity);
    this.#children = memory.u32(capacity);
    this.#child = memory.u32(capacity);
    this.#node = memory.u32(capacity);
    this.#segments = new Segments(
      memory,
      capacity,
      memory.u32(capacity),
      this.#ranks,
    );
    this.#ghosts = new Ghosts(memory, GHOSTS_MAX_PER_ENTRY * capacity);
    this.#tuner = new Tuner(memory, capacity);
  }

  insert(arrival: Arrival): void {
    const { entry, tick } = arrival;
    const { keyLow, keyHigh, weight } = this.#facts;
    const ghost = this.#ghosts.take(keyLow(entry), keyHigh(entry));
    const node = ghost ? ghost.note - 1 : this.#tuner.draw();
    const uses = arrival.uses + (ghost?.uses ?? 0);
    this.#adopt(arrival);
    this.#node[entry] = node + 1;
    this.#ranks.weight[entry] = weight(entry);
    this.#ranks.position[entry] = 0;
    this.#rank(entry, tick, uses);
    const entries = this.#numbers[ENTRIES]! + 1;
    this.#numbers[ENTRIES] = entries;
    if (this.#tuner.thin(entries)) this.#giveBackNodes();
    const known = uses > 1;
    this.#segments.insert(
      entry,
      known && HABITS[this.#tuner.leader]!.remembers,
    );
    this.#try(entry, known);
  }

  use(entry: number, tick: number, uses: number): void {
    this.#rank(entry, tick, this.#uses[entry]! + uses);
    this.#segments.use(entry);
    this.#try(entry, true);
  }

  pressed(): void {
    // Once for as many evictions as there are entries: shared memory may be wrong.
    if (this.#unchecked > this.#segments.size) {
      this.#segments.recount();
      this.#numbers[ENTRIES] = this.#segments.size;
      this.#unchecked = 0;
    }
    if (this.#numbers[FITS] === 0) this.#beginTrials();
    const fits_weight = this.#segments.weight;
    const entries = this.#numbers[ENTRIES]!;
    const known = this.#numbers[ENTRIES_FIT]!;
    this.#numbers[FITS] = fits_weight;
    // What the order goes by is put right when it is off by much: that costs.
    if (entries < known * 0.75 || entries > known * 1.5) {
      this.#numbers[ENTRIES_FIT] = entries;
    }
    this.#tuner.resize(fits_weight, this.#numbers[ENTRIES_FIT]!);
    this.#follow();
  }

  victim(mayGo: (entry: number) => boolean): number {
    const next = this.#postponePinned(mayGo);
    if (next !== -1 && this.#children[next] === 0) return next;
    for (let tries = TRIES_MAX; tries > 0; tries--) {
      const first = this.#segments.first(mayGo);
      if (first === -1 || this.#children[first] === 0) return first;
      const child = this.#childOf(first);
      const wasUsedAlone = child !== -1 && !this.#isBefore(child, first);
      if (child !== -1 && !wasUsedAlone) {
        // The chain is what goes; its end goes first.
        const end = this.#endOf(child);
        if (this.#children[end] === 0 && mayGo(end)) return end;
      }
      this.#hold(first, wasUsedAlone ? child : -1);
    }
    let left = TRIES_MAX;
    const end = this.#segments.first((entry) =>
      mayGo(entry) && (this.#children[entry] === 0 || --left < 0)
    );
    return end === -1 ? this.#segments.first(mayGo) : end;
  }

  /**
   * What may not go is in use: its turn is later, and it is passed only once.
   *
   * @returns the first that may go, or -1.
   */
  #postponePinned(mayGo: (entry: number) => boolean): number {
    for (let steps = PINNED_MAX; steps > 0; steps--) {
      const first = this.#segments.top();
      if (first === -1 || mayGo(first)) return first;
      this.#hold(first, -1);
    }
    return -1;
  }

  weight(entry: number): number {
    return this.#ranks.weight[entry]!;
  }

  remove(entry: number, evicted: boolean): void {
    if (!this.#segments.remove(entry)) return;
    this.#numbers[ENTRIES]!--;
    this.#orphan(entry);
    if (evicted) {
      this.#unchecked++;
      return; // its node goes on to its ghost
    }
    const node = this.#node[entry]! - 1;
    this.#node[entry] = 0;
    if (node !== -1) this.#tuner.forget(node);
  }

  remember(evicted: readonly number[]): void {
    const { keyLow } = this.#facts;
    for (const entry of evicted) this.#ghosts.fetch(keyLow(entry));
    // As if each had been remembered when it went: so many were there then.
    let entries = this.#numbers[ENTRIES]! + evicted.length;
    for (const entry of evicted) this.#remember(entry, --entries);
  }

  save(): Uint8Array {
    return saveGhosts([this.#ghosts]);
  }

  restore(saved: Uint8Array): void {
    restoreGhosts(saved, [this.#ghosts]);
  }

  /** Whose child a new entry is. */
  #adopt({ entry, parent, order }: Arrival): void {
    this.#birth[entry] = order;
    this.#children[entry] = 0;
    this.#child[entry] = 0;
    this.#depth[entry] = 0;
    this.#parent[entry] = parent + 1;
    if (parent === -1) return;
    this.#parentBirth[entry] = this.#birth[parent]!;
    this.#depth[entry] = this.#depth[parent]! + 1;
    this.#child[parent] = entry + 1;
    this.#children[parent]!++;
  }

  /** The parent, or -1 if it has gone. */
  #parentOf(entry: number): number {
    const parent = this.#parent[entry]! - 1;
    if (parent === -1 || !this.#segments.has(parent)) return -1;
    return this.#birth[parent] === this.#parentBirth[entry] ? parent : -1;
  }

  /** The youngest child, or -1 if that has gone. */
  #childOf(entry: number): number {
    const child = this.#child[entry]! - 1;
    const isThere = child !== -1 && this.#segments.has(child) &&
      this.#parentOf(child) === entry;
    return isThere ? child : -1;
  }

  /** What extends it was used without it, or is held: it is worth as much. */
  #hold(entry: number, usedAlone: number): void {
    const { position } = this.#ranks;
    const latest = this.#numbers[LATEST]!;
    const wasHeld = position[entry]! >= latest;
    position[entry] = Math.max(
      position[entry]!,
      usedAlone === -1 ? latest : position[usedAlone]! + DEPTH_TICKS,
    );
    // What is first all the same has nobody beside it on probation: it is kept.
    if (wasHeld) this.#segments.use(entry);
    else this.#segments.postpone(entry);
  }

  #isBefore(child: number, parent: number): boolean {
    return this.#ranks.position[child]! <= this.#ranks.position[parent]!;
  }

  /** Where the chain ends that goes on with this entry. */
  #endOf(entry: number): number {
    let end = entry;
    for (let steps = CHAIN_MAX; steps > 0; steps--) {
      const next = this.#childOf(end);
      if (next === -1) break;
      end = next;
    }
    return end;
  }

  #orphan(entry: number): void {
    const parent = this.#parentOf(entry);
    if (parent === -1 || this.#children[parent] === 0) return;
    this.#children[parent]!--;
  }

  /** Notes a use, as of the same moment as the parent's if that was used with it. */
  #rank(entry: number, tick: number, uses: number): void {
    const { position, fame } = this.#ranks;
    const parent = this.#parentOf(entry);
    const together = Math.max(1, this.#numbers[ENTRIES]! * TOGETHER_SHARE);
    const moment = parent !== -1 && tick - this.#last[parent]! <= together
      ? position[parent]! - DEPTH_TICKS
      : tick - this.#depth[entry]! * DEPTH_TICKS;
    position[entry] = Math.max(position[entry]!, moment);
    this.#last[entry] = tick;
    this.#numbers[LATEST] = tick; // no maximum: a wrong one heals
    this.#uses[entry] = Math.min(uses, USES_MAX);
    fame[entry] = Math.log2(this.#uses[entry]!);
  }

  /**
   * While all of it fits, every habit keeps all: there is nothing to be tried, and
   * an access costs less. The first pressure makes up for it.
   */
  #beginTrials(): void {
    const { position, fame, weight } = this.#ranks;
    for (let entry = 0; entry < this.#node.length; entry++) {
      const node = this.#node[entry]! - 1;
      if (node === -1) continue;
      this.#tuner.admit(
        node,
        position[entry]!,
        fame[entry]!,
        weight[entry]!,
        this.#uses[entry]! > 1,
      );
    }
  }

  /** Lets the tuner try the access, if the entry is sampled; or go on trying. */
  #try(entry: number, known: boolean): void {
    if (this.#numbers[FITS] === 0) return;
    const node = this.#node[entry]! - 1;
    const { position, fame, weight } = this.#ranks;
    const changed = node === -1 ? this.#tuner.goOn() : this.#tuner.access(
      node,
      position[entry]!,
      fame[entry]!,
      weight[entry]!,
      known,
    );
    if (changed) this.#follow();
  }

  /** Takes on the habit that leads. */
  #follow(): void {
    this.#segments.adopt(
      HABITS[this.#tuner.leader]!,
      this.#numbers[FITS]!,
      this.#numbers[ENTRIES_FIT]!,
    );
  }

  /** @param present entries, when this one went. */
  #remember(entry: number, present: number): void {
    this.#dropOldGhosts(Math.max(1, present));
    const { keyLow, keyHigh } = this.#facts;
    this.#ghosts.add(
      keyLow(entry),
      keyHigh(entry),
      this.#ranks.weight[entry]!,
      {
        uses: this.#uses[entry]!,
        note: this.#node[entry]!,
      },
    );
    this.#node[entry] = 0;
  }

  #dropOldGhosts(entries: number): void {
    for (let drops = 0; drops < DROPS_MAX || this.#ghosts.isFull; drops++) {
      const { count } = this.#ghosts;
      if (count < GHOSTS_PER_ENTRY * entries && !this.#ghosts.isFull) return;
      const ghost = this.#ghosts.dropOldest();
      if (!ghost) return;
      const node = ghost.note - 1;
      if (node === -1) continue;
      const spare = drops < DROPS_MAX &&
        count < GHOSTS_MAX_PER_ENTRY * entries && this.#tuner.isHeld(node);
      if (spare) this.#ghosts.add(ghost.low, ghost.high, ghost.weight, ghost);
      else this.#tuner.forget(node);
    }
  }

  /** Gives back the nodes whose lots no longer count. */
  #giveBackNodes(): void {
    const isLost = (node: number) => node >= 0 && !this.#tuner.isSampled(node);
    for (let entry = 0; entry < this.#node.length; entry++) {
      const node = this.#node[entry]! - 1;
      if (!isLost(node)) continue;
      this.#tuner.forget(node);
      this.#node[entry] = 0;
    }
    this.#ghosts.revise(({ note }) => {
      if (!isLost(note - 1)) return note;
      this.#tuner.forget(note - 1);
      return 0;
    });
  }
}

export const PREFIX: PolicyKind<"prefix"> = {
  name: "prefix",
  summary:
    "the default, for prompts: keeps chains whole, remembers, and adapts",
  followsChains: true,
  create: (memory, capacity, facts) => new Prefix(memory, capacity, facts),
};
