/**
 * Which habit suits the workload: each is tried on a sample of the entries, as a
 * cache of its own that holds no values, and the one that hits most often of
 * late leads.
 *
 * A sampled entry has a node here for as long as it is present or remembered.
 * Whether it is sampled is drawn by lot when it is new; the lots that count
 * become fewer as entries become more, so that the sample stays small
 * (Waldspurger et al., FAST'15: a sample of the keys in a cache that is smaller
 * by as much behaves like the whole).
 *
 * @module
 */
import { FIRST_HABIT, HABITS } from "./habits.ts";
import type { Memory } from "./memory.ts";
import { Score } from "./score.ts";
import { type Ranks, Segments } from "./segments.ts";

/** Entries that are sampled, at most about. */
const SAMPLE_MAX = 3072;
/** How much smaller a share is sampled when those would be more. */
const THINNER = 0.84;
/** Nodes per sampled entry: those present, remembered, or held by a habit. */
const NODES_PER_SAMPLE = 6;
/** Sampled accesses that count: over the long run, and to see a change by. */
const WINDOW = 12_288, RECENT_WINDOW = 2048;
/** Standard deviations by which another has to be better, over either. */
const CONFIDENCE = 1, RECENT_CONFIDENCE = 2;
/** Sampled accesses from one choice to the next: they are tried together. */
const CHOICE_INTERVAL = 16;
/** How many of them at once: no single put is to pay for them all. */
const TRIED_AT_ONCE = 2;

/** Numbers that are kept: what they mean. */
const SHARE = 0,
  RANDOM = 1,
  FREE = 2,
  FRESH = 3,
  ACCESSES = 4,
  LEADER = 5,
  WAITING = 6,
  NUMBERS = 7;

export class Tuner {
  readonly #numbers: Float64Array;
  readonly #ranks: Ranks;
  readonly #lots: Uint32Array;
  /** Of nodes that are not in use: the next one, plus one. */
  readonly #nextFree: Uint32Array;
  readonly #trials: readonly Segments[];
  readonly #steady: Score;
  readonly #recent: Score;
  /**
   * Accesses that wait to be tried: node plus one, and whether it was known. When
   * all places are taken, they are tried in order, and the next come to where
   * they were: what is at the last place says whether they have been.
   */
  readonly #waiting: Uint32Array;
  readonly #waitingKnown: Uint32Array;
  /** Position, fame and weight of each. */
  readonly #waitingRanks: Float64Array;
  readonly #isHit = new Uint8Array(HABITS.length);
  readonly #sample: number;
  readonly #nodes: number;

  constructor(memory: Memory, capacity: number) {
    this.#sample = Math.min(capacity, SAMPLE_MAX);
    this.#nodes = NODES_PER_SAMPLE * this.#sample;
    this.#numbers = memory.f64(NUMBERS);
    this.#ranks = {
      position: memory.f64(this.#nodes),
      fame: memory.f64(this.#nodes),
      weight: memory.f64(this.#nodes),
    };
    this.#lots = memory.u32(this.#nodes);
    this.#nextFree = memory.u32(this.#nodes);
    this.#waiting = memory.u32(CHOICE_INTERVAL);
    this.#waitingKnown = memory.u32(CHOICE_INTERVAL);
    this.#waitingRanks = memory.f64(3 * CHOICE_INTERVAL);
    const score = (window: number, confidence: number) =>
      new Score(memory, HABITS.length, window, confidence);
    this.#steady = score(WINDOW, CONFIDENCE);
    this.#recent = score(RECENT_WINDOW, RECENT_CONFIDENCE);
    this.#trials = HABITS.map(() =>
      new Segments(
        memory,
        2 * this.#sample,
        memory.u32(this.#nodes),
        this.#ranks,
      )
    );
  }

  /** The number of the habit that leads. */
  get leader(): number {
    const given = this.#numbers[LEADER]!; // plus one: 0 is before any choice
    return HABITS[given - 1] === undefined ? FIRST_HABIT : given - 1;
  }

  set leader(habit: number) {
    this.#numbers[LEADER] = habit + 1;
  }

  /** A node for a new entry, if the lot falls on it; else -1. */
  draw(): number {
    const lot = this.#random();
    if (!this.#counts(lot)) return -1;
    const free = this.#numbers[FREE]! - 1, fresh = this.#numbers[FRESH]!;
    const node = this.#isNode(free) ? free : fresh;
    if (!this.#isNode(node)) return -1;
    if (node === free) this.#numbers[FREE] = this.#nextFree[node]!;
    else this.#numbers[FRESH] = node + 1;
    this.#lots[node] = lot;
    return node;
  }

  /** Whether any habit still holds the node's entry. */
  isHeld(node: number): boolean {
    return this.#trials.some((trial) => trial.has(node));
  }

  /** Whether the node's lot still counts. */
  isSampled(node: number): boolean {
    return this.#counts(this.#lots[node]!);
  }

  /** Gives a node back. */
  forget(node: number): void {
    if (this.#waiting.includes(node + 1)) this.#tryAll();
    for (const trial of this.#trials) trial.remove(node);
    this.#nextFree[node] = this.#numbers[FREE]!;
    this.#numbers[FREE] = node + 1;
  }

  /**
   * Lets fewer lots count if entries have become many.
   *
   * @returns whether it did: nodes whose lot no longer counts are to be given
   * back.
   */
  thin(entries: number): boolean {
    if (entries * this.#share <= this.#sample) return false;
    this.#numbers[SHARE] = this.#share * THINNER;
    return true;
  }

  /** Tells of all that is present when no more fits. */
  resize(fits_weight: number, entries: number): void {
    const sampled = fits_weight * this.#share;
    this.#trials.forEach((trial, i) =>
      trial.adopt(HABITS[i]!, sampled, entries)
    );
  }

  /** A sampled entry is there, whatever the habit. */
  admit(
    node: number,
    position: number,
    fame: number,
    weight: number,
    known: boolean,
  ): void {
    this.#rank(node, position, fame, weight);
    for (const trial of this.#trials) {
      const isFull = trial.size >= 2 * this.#sample;
      if (!isFull && !trial.has(node)) trial.insert(node, known);
    }
  }

  /**
   * A sampled entry was used, or came. It is tried when there are several: what
   * the trials need is in the processor's cache then.
   *
   * @param known it was there before, present or remembered.
   * @returns whether another habit leads from now on.
   */
  access(
    node: number,
    position: number,
    fame: number,
    weight: number,
    known: boolean,
  ): boolean {
    const changed = this.goOn();
    const at = this.#come, ranks = this.#waitingRanks;
    this.#waiting[at] = node + 1;
    this.#waitingKnown[at] = known ? 1 : 0;
    ranks[3 * at] = position;
    ranks[3 * at + 1] = fame;
    ranks[3 * at + 2] = weight;
    this.#numbers[WAITING] = (at + 1) % CHOICE_INTERVAL;
    return changed;
  }

  /**
   * Tries some of the accesses that wait, if there are enough of them.
   *
   * @returns whether another habit leads from now on.
   */
  goOn(): boolean {
    return this.#waiting[CHOICE_INTERVAL - 1] !== 0 &&
      this.#tryFrom(this.#come, TRIED_AT_ONCE);
  }

  /** How many have come since all places were taken: where the next one waits. */
  get #come(): number {
    const waiting = this.#numbers[WAITING]!;
    const isCount = Number.isInteger(waiting) && waiting >= 0;
    return isCount ? waiting % CHOICE_INTERVAL : 0;
  }

  /** Tries all, the eldest first. */
  #tryAll(): void {
    this.#tryFrom(this.#come, CHOICE_INTERVAL);
    this.#tryFrom(0, CHOICE_INTERVAL);
    this.#numbers[WAITING] = 0;
  }

  /** Tries those that wait at that place and behind it, up to so many. */
  #tryFrom(first: number, most: number): boolean {
    let changed = false;
    for (let at = first; at < CHOICE_INTERVAL && most > 0; at++) {
      const node = this.#waiting[at]! - 1;
      if (node === -1) continue;
      this.#waiting[at] = 0;
      most--;
      if (this.#isNode(node) && this.#tryOne(node, at)) changed = true;
    }
    return changed;
  }

  #tryOne(node: number, at: number): boolean {
    const ranks = this.#waitingRanks, known = this.#waitingKnown[at] === 1;
    const weight = ranks[3 * at + 2]!;
    this.#rank(node, ranks[3 * at]!, ranks[3 * at + 1]!, weight);
    for (let i = 0; i < this.#trials.length; i++) {
      const trial = this.#trials[i]!;
      const hit = trial.has(node);
      this.#isHit[i] = hit ? 1 : 0;
      if (hit) {
        trial.use(node);
        continue;
      }
      this.#makeRoom(trial, weight);
      trial.insert(node, known && HABITS[i]!.remembers);
    }
    return this.#score();
  }

  #makeRoom(trial: Segments, weight: number): void {
    for (let size = trial.size; size > 0; size = trial.size) {
      const isFull = size >= 2 * this.#sample;
      if (!isFull && trial.fits(weight)) return;
      trial.remove(trial.top());
      if (trial.size >= size) return; // whatever shared memory says
    }
  }

  /** Notes what the order goes by. A weight that has changed takes it out first. */
  #rank(node: number, position: number, fame: number, weight: number): void {
    const ranks = this.#ranks;
    if (ranks.weight[node] !== weight) {
      for (const trial of this.#trials) trial.remove(node);
      ranks.weight[node] = weight;
    }
    ranks.position[node] = position;
    ranks.fame[node] = fame;
  }

  #score(): boolean {
    const { leader } = this;
    this.#steady.note(this.#isHit, leader);
    this.#recent.note(this.#isHit, leader);
    const accesses = this.#numbers[ACCESSES]! + 1;
    this.#numbers[ACCESSES] = accesses;
    if (accesses % CHOICE_INTERVAL !== 0) return false;
    this.#steady.endBatch();
    this.#recent.endBatch();
    return this.#choose();
  }

  /** Lets another habit lead if it is better, over the long run or all at once. */
  #choose(): boolean {
    const { leader } = this;
    let best = this.#steady.best(leader);
    if (best === leader) {
      best = this.#recent.best(leader);
      if (best === leader) return false;
      // The workload has changed: what was before it says nothing any more.
      this.#steady.copy(this.#recent);
    }
    this.leader = best;
    this.#steady.follow(best);
    this.#recent.follow(best);
    return true;
  }

  #counts(lot: number): boolean {
    return lot < this.#share * 2 ** 32;
  }

  /** The share of entries that is sampled. */
  get #share(): number {
    const share = this.#numbers[SHARE]!;
    return share > 0 && share <= 1 ? share : 1; // zeros are the empty state
  }

  #isNode(node: number): boolean {
    return Number.isInteger(node) && node >= 0 && node < this.#nodes;
  }

  /** Marsaglia's xorshift32: the same lots again for the same accesses. */
  #random(): number {
    let x = this.#numbers[RANDOM]! || 0x9e37_79b9;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#numbers[RANDOM] = x >>> 0;
    return x >>> 0;
  }
}
