/**
 * A binary heap of small numbers (entries), which can be taken out of the
 * middle: which is least is known at once, a change costs log n.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

/** Says where in its heap each entry is, plus one; 0: nowhere. */
export type Places = Uint32Array;

/** A heap of at most `capacity` entries, the one that goes first on top. */
export abstract class Heap {
  readonly #slots: Uint32Array;
  readonly #size: Uint32Array;
  readonly #places: Places;

  constructor(memory: Memory, capacity: number, places: Places) {
    this.#size = memory.u32(1);
    this.#slots = memory.u32(capacity);
    this.#places = places;
  }

  /** Whether entry `a` goes before entry `b`. */
  protected abstract before(a: number, b: number): boolean;

  get size(): number {
    return Math.min(this.#size[0]!, this.#slots.length);
  }

  /** The entry at a place of the heap, from 0 on. */
  at(place: number): number {
    return this.#slots[place]!;
  }

  /** The first to go, or -1. */
  top(): number {
    return this.size === 0 ? -1 : this.#slots[0]!;
  }

  /** Puts in an entry that is in none of the heaps that share its places. */
  add(entry: number): void {
    const place = this.size;
    this.#size[0] = place + 1;
    this.#slots[place] = entry;
    this.#rise(place);
  }

  has(entry: number): boolean {
    const { size } = this;
    if (size === 0) return false; // not even a look: most heaps are empty
    const place = this.#places[entry]!;
    return place !== 0 && place <= size && this.#slots[place - 1] === entry;
  }

  /**
   * An entry's turn is later than it was: puts it where it belongs. False if it
   * is not in this heap.
   */
  postpone(entry: number): boolean {
    if (!this.has(entry)) return false;
    this.#sink(this.#places[entry]! - 1);
    return true;
  }

  /** Takes an entry out; false if it is not in this heap. */
  remove(entry: number): boolean {
    const slots = this.#slots, last = this.size - 1;
    if (last < 0) return false;
    const place = this.#places[entry]! - 1;
    // Of no entry, it is NaN.
    if (!(place >= 0 && place <= last && slots[place] === entry)) return false;
    const moved = slots[last]!;
    this.#size[0] = last;
    this.#places[entry] = 0;
    if (place === last) return true;
    slots[place] = moved;
    this.#sink(place, 0);
    return true;
  }

  /** Puts everything in order again, after keys have changed. */
  restore(): void {
    for (let place = (this.size >> 1) - 1; place >= 0; place--) {
      this.#sink(place);
    }
  }

  /**
   * The first to go of those that may, or -1. What may not is stepped over, and
   * stays where it is.
   *
   * @param most so many are stepped over at most.
   */
  first(mayGo: (entry: number) => boolean, most = Infinity): number {
    if (this.size === 0 || mayGo(this.top())) return this.top();
    const passed: number[] = [];
    let found = -1;
    for (let size = this.size; size > 0 && most >= 0; size = this.size) {
      const top = this.top();
      if (mayGo(top)) {
        found = top;
        break;
      }
      this.remove(top);
      if (this.size >= size) break; // whatever shared memory says
      passed.push(top);
      most--;
    }
    for (const entry of passed) this.add(entry);
    return found;
  }

  /** Moves an entry up to where it belongs, not above `top`. */
  #rise(place: number, top = 0): void {
    const slots = this.#slots, places = this.#places, entry = slots[place]!;
    while (place > top) {
      const above = (place - 1) >> 1, other = slots[above]!;
      if (!this.before(entry, other)) break;
      slots[place] = other;
      places[other] = place + 1;
      place = above;
    }
    slots[place] = entry;
    places[entry] = place + 1;
  }

  /**
   * Down to the end, and up again to where it belongs: what sinks comes from the
   * end most often, so this compares half as much (Wegener, 1993).
   */
  #sink(place: number, top = place): void {
    const slots = this.#slots, places = this.#places, size = this.size;
    const entry = slots[place]!;
    for (let below = 2 * place + 1; below < size; below = 2 * place + 1) {
      let other = slots[below]!;
      if (below + 1 < size && this.before(slots[below + 1]!, other)) {
        other = slots[++below]!;
      }
      slots[place] = other;
      places[other] = place + 1;
      place = below;
    }
    slots[place] = entry;
    this.#rise(place, top);
  }
}

/** A heap with a stored key an entry: the lowest goes first. */
export class KeyHeap extends Heap {
  readonly keys: Float64Array;

  constructor(memory: Memory, capacity: number) {
    const keys = memory.f64(capacity), places = memory.u32(capacity);
    super(memory, capacity, places);
    this.keys = keys;
  }

  /** Puts an entry in, or elsewhere if it is there. */
  put(entry: number, key: number): void {
    this.remove(entry);
    this.keys[entry] = key;
    this.add(entry);
  }

  protected override before(a: number, b: number): boolean {
    return this.keys[a]! < this.keys[b]!;
  }
}
