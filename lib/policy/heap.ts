/**
 * A binary heap of small numbers (entries) with a key each, which can be taken
 * out of the middle: which is least is known at once, a change costs log n. Keys
 * lie in the heap's own order, so two that are compared lie side by side.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

/** Says where in its heap each entry is, plus one; 0: nowhere. */
export type Places = Uint32Array;

/** A heap of at most `capacity` entries, the one with the lowest key on top. */
export class Heap {
  readonly #keys: Float64Array;
  readonly #slots: Uint32Array;
  readonly #size: Uint32Array;
  readonly #places: Places;

  /** @param places may be shared by heaps, if no entry is in two of them. */
  constructor(
    memory: Memory,
    capacity: number,
    places = memory.u32(capacity),
  ) {
    this.#keys = memory.f64(capacity);
    this.#size = memory.u32(1);
    this.#slots = memory.u32(capacity);
    this.#places = places;
  }

  /** Of two entries with the same key, whether `a` goes before `b`. */
  protected isBefore(_a: number, _b: number): boolean {
    return false;
  }

  get size(): number {
    return Math.min(this.#size[0]!, this.#slots.length);
  }

  /** The first to go, or -1. */
  top(): number {
    return this.size === 0 ? -1 : this.#slots[0]!;
  }

  /** Its key. */
  topKey(): number {
    return this.#keys[0]!;
  }

  has(entry: number): boolean {
    const { size } = this;
    if (size === 0) return false; // not even a look: most heaps are empty
    const place = this.#places[entry]!;
    return place !== 0 && place <= size && this.#slots[place - 1] === entry;
  }

  /** Puts in an entry that is in none of the heaps that share its places. */
  add(entry: number, key: number): void {
    const place = this.size;
    this.#size[0] = place + 1;
    this.#rise(place, entry, key);
  }

  /** Puts an entry in, or elsewhere if it is there. */
  put(entry: number, key: number): void {
    if (!this.has(entry)) return this.add(entry, key);
    const place = this.#places[entry]! - 1;
    if (this.#goesFirst(key, entry, place)) this.#rise(place, entry, key);
    else this.#sink(place, entry, key);
  }

  /** Takes out an entry that is in this heap. */
  remove(entry: number): void {
    this.#takeOut(entry);
  }

  /** Gives every entry another key, and puts all in order again. */
  rekey(keyOf: (entry: number) => number): void {
    const { size } = this;
    for (let place = 0; place < size; place++) {
      this.#keys[place] = keyOf(this.#slots[place]!);
    }
    for (let place = (size >> 1) - 1; place >= 0; place--) {
      this.#sink(place, this.#slots[place]!, this.#keys[place]!);
    }
  }

  /**
   * The first to go of those that may, or -1. What may not is stepped over, and
   * stays where it is.
   */
  first(mayGo: (entry: number) => boolean): number {
    if (this.size === 0 || mayGo(this.top())) return this.top();
    const passed: [entry: number, key: number][] = [];
    let found = -1;
    for (let steps = this.size; steps > 0; steps--) {
      const top = this.top();
      if (mayGo(top)) {
        found = top;
        break;
      }
      passed.push([top, this.topKey()]);
      this.#takeOut(top);
    }
    for (const [entry, key] of passed) this.add(entry, key);
    return found;
  }

  #takeOut(entry: number): void {
    const place = this.#places[entry]! - 1;
    const last = this.size - 1;
    if (place < 0 || place > last) return;
    this.#size[0] = last;
    this.#places[entry] = 0;
    if (place === last) return;
    const moved = this.#slots[last]!, key = this.#keys[last]!;
    const above = (place - 1) >> 1;
    const rises = place > 0 && this.#goesFirst(key, moved, above);
    if (rises) this.#rise(place, moved, key);
    else this.#sink(place, moved, key);
  }

  /** Whether an entry with that key goes before the one at a place. */
  #goesFirst(key: number, entry: number, place: number): boolean {
    const other = this.#keys[place]!;
    return key < other ||
      (key === other && this.isBefore(entry, this.#slots[place]!));
  }

  // Most of what a policy costs is spent in these two: their loops call nothing.

  /** Puts an entry at a place, or further up, but not above `top`. */
  #rise(place: number, entry: number, key: number, top = 0): void {
    const keys = this.#keys, slots = this.#slots, places = this.#places;
    while (place > top) {
      const above = (place - 1) >> 1;
      const other = slots[above]!, otherKey = keys[above]!;
      if (key > otherKey) break;
      if (key === otherKey && !this.isBefore(entry, other)) break;
      keys[place] = otherKey;
      slots[place] = other;
      places[other] = place + 1;
      place = above;
    }
    keys[place] = key;
    slots[place] = entry;
    places[entry] = place + 1;
  }

  /**
   * Puts an entry at a place, or further down: down to the end, and up again to
   * where it belongs. What sinks comes from the end most often, so this compares
   * half as much (Wegener, 1993).
   */
  #sink(place: number, entry: number, key: number): void {
    const keys = this.#keys, slots = this.#slots, places = this.#places;
    const { size } = this, top = place;
    for (let below = 2 * place + 1; below < size; below = 2 * place + 1) {
      const beside = below + 1 < size ? below + 1 : below;
      const a = keys[below]!, b = keys[beside]!;
      let least = below + Number(b < a);
      if (
        a === b && beside !== below &&
        this.isBefore(slots[beside]!, slots[below]!)
      ) least = beside;
      const other = slots[least]!;
      keys[place] = keys[least]!;
      slots[place] = other;
      places[other] = place + 1;
      place = least;
    }
    this.#rise(place, entry, key, top);
  }
}
