/**
 * The key index: chains of entries by key hash. Writers hold the pool's lock;
 * readers walk it without one.
 *
 * An entry joins at the head of its chain, which hides nothing from anybody.
 * Taking one out may lead a reader astray that stands on it, onto another chain
 * and so to a false miss: `sequence` goes up before and after, and a reader that
 * misses looks whether it moved. Links are checked, and walks bounded, so that a
 * torn or hostile index ends in a miss.
 *
 * @module
 */
import type { Control } from "./control.ts";
import type { EntryNumber } from "./entry_table.ts";
import type { Geometry } from "./geometry.ts";
import { NONE, SHARED } from "./layout.ts";

const SEQUENCE = SHARED.index_sequence >> 2;

export class KeyIndex {
  readonly #u32: Uint32Array;
  readonly #buckets: number;
  readonly #mask: number;
  readonly #links: Links;
  readonly #limit: number;
  /** Of no use, but that what goes into it must be fetched. */
  #fetched = 0;

  constructor(control: Control, geometry: Geometry, links: Links) {
    this.#u32 = control.u32;
    this.#buckets = geometry.buckets_offset >> 2;
    this.#mask = geometry.buckets - 1;
    this.#limit = geometry.max_entries;
    this.#links = links;
  }

  /** A stamp of the index; odd while an entry is being taken out. */
  sequence(): number {
    return Atomics.load(this.#u32, SEQUENCE);
  }

  /** First entry of a chain, or -1. `word` is the first of a key's hash. */
  first(word: number): EntryNumber | -1 {
    const head = Atomics.load(this.#u32, this.#bucket(word));
    return head !== NONE && head <= this.#limit ? head - 1 : -1;
  }

  /** Has the processor fetch what a removal will touch: misses of many overlap. */
  fetch(entry: EntryNumber, word: number): void {
    this.#fetched ^= this.#u32[this.#bucket(word)]! ^ this.#links.peek(entry);
  }

  /** The entry behind `entry` in its chain, or -1. */
  next(entry: EntryNumber): EntryNumber | -1 {
    return this.#links.next(entry);
  }

  insert(entry: EntryNumber, word: number): void {
    const bucket = this.#bucket(word);
    this.#links.set(entry, this.#u32[bucket]!);
    Atomics.store(this.#u32, bucket, entry + 1);
  }

  /**
   * Takes an entry out. `first` makes it unfit to be found, once readers can tell
   * that something moves: one that saw its successor before that was sealed, and
   * comes to it after it was doomed, must look again.
   *
   * @returns whether it was there.
   */
  remove(
    entry: EntryNumber,
    word: number,
    first: () => void = () => {},
  ): boolean {
    const before = this.#before(entry, word);
    if (before === undefined) {
      first();
      return false;
    }
    Atomics.add(this.#u32, SEQUENCE, 1);
    first();
    const after = this.#links.peek(entry);
    if (before === -1) Atomics.store(this.#u32, this.#bucket(word), after);
    else this.#links.set(before, after);
    Atomics.add(this.#u32, SEQUENCE, 1);
    return true;
  }

  /** Empties the index; recovery then puts every entry in again. */
  clear(): void {
    if (this.sequence() % 2 === 0) Atomics.add(this.#u32, SEQUENCE, 1);
    this.#u32.fill(NONE, this.#buckets, this.#buckets + this.#mask + 1);
  }

  /** Ends what `clear` began. */
  settle(): void {
    if (this.sequence() % 2 === 1) Atomics.add(this.#u32, SEQUENCE, 1);
  }

  /** The entry in front of `entry`, -1 if it is first, `undefined` if absent. */
  #before(
    entry: EntryNumber,
    word: number,
  ): EntryNumber | -1 | undefined {
    const links = this.#links;
    let before = -1, at = links.target(this.#u32[this.#bucket(word)]!);
    for (let steps = 0; at !== -1 && steps <= this.#limit; steps++) {
      if (at === entry) return before;
      before = at;
      at = links.target(links.peek(at));
    }
    return undefined;
  }

  #bucket(word: number): number {
    return this.#buckets + (word & this.#mask);
  }
}

/**
 * One link an entry, shared by every chain: an entry is in one chain of the
 * index, or among the free records, or among the doomed ones.
 */
export class Links {
  readonly #u32: Uint32Array;
  readonly #base: number;
  readonly #limit: number;

  constructor(control: Control, geometry: Geometry) {
    this.#u32 = control.u32;
    this.#base = geometry.links_offset >> 2;
    this.#limit = geometry.max_entries;
  }

  /** The entry that the link leads to, or -1 if it ends or cannot be right. */
  next(entry: EntryNumber): EntryNumber | -1 {
    return this.target(this.raw(entry));
  }

  /** The entry that a link or the head of a chain means, or -1. */
  target(link: number): EntryNumber | -1 {
    return link !== NONE && link <= this.#limit ? link - 1 : -1;
  }

  raw(entry: EntryNumber): number {
    return Atomics.load(this.#u32, this.#base + entry);
  }

  /** As `raw`, for who holds the lock: nobody else changes links. */
  peek(entry: EntryNumber): number {
    return this.#u32[this.#base + entry]!;
  }

  /** `link` is an entry's number plus one, or {@linkcode NONE}. */
  set(entry: EntryNumber, link: number): void {
    Atomics.store(this.#u32, this.#base + entry, link);
  }
}
