/**
 * A cache that holds no values: a policy's own code at work on the keys of a
 * trace, with the bookkeeping of a pool.
 *
 * @module
 */
import type { PolicyName } from "../policy/mod.ts";
import { type HostFacts, Replacement } from "../policy/replacement.ts";

/** How large a simulated cache is. */
export interface Room {
  /** Sum of the weights that fits. */
  readonly weight: number;
  /** Entries that fit. */
  readonly entries: number;
  /** Percent of the room that a batch of evictions goes down to. */
  readonly low_percent: number;
}

/** Mixes a key's number, as a hash of its text would. */
function mix(key: number): number {
  let x = Math.imul(key ^ 0x9e37_79b9, 0x85eb_ca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2_ae35);
  return (x ^ (x >>> 16)) >>> 0;
}

const ANY = () => true;

/** A simulated cache over keys `0..keys - 1`. */
export class SimulatedCache {
  readonly #replacement: Replacement;
  readonly #room: Room;
  /** Entry of a key, or -1. */
  readonly #entryOf: Int32Array;
  readonly #keyOf: Int32Array;
  readonly #weights: Float64Array;
  readonly #ticks: Float64Array;
  readonly #uses: Uint32Array;
  readonly #orders: Float64Array;
  readonly #free: number[];
  #tick = 0;
  #order = 0;
  #weight = 0;
  #entries = 0;

  constructor(policy: PolicyName, keys: number, room: Room) {
    const entries = Math.max(1, Math.min(room.entries, keys));
    this.#room = { ...room, entries };
    this.#entryOf = new Int32Array(keys).fill(-1);
    this.#keyOf = new Int32Array(entries);
    this.#weights = new Float64Array(entries);
    this.#ticks = new Float64Array(entries);
    this.#uses = new Uint32Array(entries);
    this.#orders = new Float64Array(entries);
    this.#free = Array.from({ length: entries }, (_, i) => entries - 1 - i);
    this.#replacement = Replacement.fresh(policy, entries, this.#facts());
  }

  has(key: number): boolean {
    return this.#entryOf[key] !== -1;
  }

  /**
   * Uses a key, or puts it in.
   *
   * @param parent the key before it in its chain, or -1.
   * @returns whether it was there.
   */
  access(key: number, parent: number, weight: number): boolean {
    const entry = this.#entryOf[key]!;
    if (entry !== -1) {
      this.#ticks[entry] = ++this.#tick;
      this.#uses[entry]!++;
      this.#replacement.noteUse(entry);
      return true;
    }
    this.#put(key, parent, weight);
    return false;
  }

  #put(key: number, parent: number, weight: number): void {
    if (weight > this.#room.weight) return; // no eviction could make room
    this.#replacement.tellUses();
    this.#makeRoom(weight);
    const entry = this.#free.pop()!;
    this.#entryOf[key] = entry;
    this.#keyOf[entry] = key;
    this.#weights[entry] = weight;
    this.#ticks[entry] = ++this.#tick;
    this.#uses[entry] = 1;
    this.#orders[entry] = ++this.#order;
    this.#weight += weight;
    this.#entries++;
    this.#replacement.insert(
      entry,
      parent === -1 ? -1 : this.#entryOf[parent]!,
    );
  }

  /**
   * As a pool does: just enough, and down to the low watermark of what was short.
   * (A pool goes there in steps of 1,024 entries, so that others need not wait.)
   */
  #makeRoom(weight: number): void {
    const { weight: fits, entries, low_percent } = this.#room;
    const share = low_percent / 100;
    const isShort = fits - this.#weight < weight;
    const isFull = this.#entries >= entries;
    if (!isShort && !isFull) return;
    const weight_max = isShort
      ? Math.min(fits - weight, Math.floor(fits * share))
      : Infinity;
    const entries_max = isFull
      ? Math.min(entries - 1, Math.floor(entries * share))
      : Infinity;
    this.#replacement.pressed();
    while (this.#weight > weight_max || this.#entries > entries_max) {
      const victim = this.#replacement.victim(ANY, 0);
      if (victim === -1) return;
      this.#evict(victim);
    }
  }

  #evict(entry: number): void {
    this.#replacement.remove(entry, true);
    this.#entryOf[this.#keyOf[entry]!] = -1;
    this.#weight -= this.#weights[entry]!;
    this.#entries--;
    this.#free.push(entry);
  }

  #facts(): HostFacts {
    return {
      weight: (entry) => this.#weights[entry]!,
      keyLow: (entry) => mix(this.#keyOf[entry]!),
      keyHigh: (entry) => this.#keyOf[entry]!,
      tick: (entry) => this.#ticks[entry]!,
      uses: (entry) => this.#uses[entry]!,
      order: (entry) => this.#orders[entry]!,
      priority: () => 0,
      expires_at: () => 0,
    };
  }
}
