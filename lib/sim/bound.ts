/**
 * What could be hit by one who knows the future (Belady, 1966), and may leave a
 * block out: it holds what is used next. No policy hits more, as long as blocks
 * are of one size; where they differ it is a good guess.
 *
 * @module
 */
import { KeyHeap } from "../policy/heap.ts";
import { Memory } from "../policy/memory.ts";
import type { Trace } from "./trace.ts";

/** The touch at which each touch's key is touched next; `Infinity`: never. */
function nextTouches({ touches, keys }: Trace): Float64Array {
  const next = new Float64Array(touches.length);
  const seen = new Float64Array(keys).fill(Infinity);
  for (let at = touches.length - 1; at >= 0; at--) {
    next[at] = seen[touches[at]!]!;
    seen[touches[at]!] = at;
  }
  return next;
}

/** A cache that knows the trace. */
export class KnowingCache {
  readonly #next: Float64Array;
  readonly #heap: KeyHeap;
  readonly #weights: Float64Array;
  readonly #fits: number;
  #weight = 0;

  constructor(trace: Trace, fits: number) {
    const { keys } = trace;
    this.#next = nextTouches(trace);
    const measure = Memory.measure();
    new KeyHeap(measure, keys);
    this.#heap = new KeyHeap(
      Memory.over(new ArrayBuffer(measure.used_bytes)),
      keys,
    );
    this.#weights = new Float64Array(keys);
    this.#fits = fits;
  }

  /** Whether the touch hits; its key is held if that is worth it. */
  access(touch: number, key: number, weight: number): boolean {
    const next = this.#next[touch]!;
    const hit = this.#heap.has(key);
    if (hit) this.#drop(key);
    // Lowest first: what is used last of all.
    if (next < Infinity && this.#makeRoom(next, weight)) {
      this.#heap.put(key, -next);
      this.#weights[key] = weight;
      this.#weight += weight;
    }
    return hit;
  }

  #makeRoom(next: number, weight: number): boolean {
    while (this.#weight + weight > this.#fits) {
      const last = this.#heap.top();
      if (last === -1 || -this.#heap.keys[last]! <= next) return false;
      this.#drop(last);
    }
    return true;
  }

  #drop(key: number): void {
    this.#heap.remove(key);
    this.#weight -= this.#weights[key]!;
  }
}
