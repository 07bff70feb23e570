/**
 * Attached processes, and what they have pinned.
 *
 * A slot is a row of the slot table, held by an attached handle: the kernel's
 * lock on the row's first byte says whether its owner lives, whatever its pid
 * and pid namespace. A slot's pins are one bit an entry, in a row that only its
 * owner writes, so nothing has to be counted back when the owner is killed: the
 * whole row is cleared.
 *
 * @module
 */
import type { Fd, Platform } from "../ffi/platform.ts";
import { Bitmap } from "./bitmap.ts";
import type { Control } from "./control.ts";
import type { EntryNumber } from "./entry_table.ts";
import type { Geometry } from "./geometry.ts";
import type { Header } from "./header.ts";
import { SLOT, SLOT_BYTES, SlotState } from "./layout.ts";

/** The table of slots. Writing needs the lock, but for an owner's own row. */
export class Slots {
  readonly #platform: Platform;
  readonly #fd: Fd;
  readonly #control: Control;
  readonly #geometry: Geometry;
  readonly #header: Header;

  constructor(
    platform: Platform,
    fd: Fd,
    control: Control,
    geometry: Geometry,
    header: Header,
  ) {
    this.#platform = platform;
    this.#fd = fd;
    this.#control = control;
    this.#geometry = geometry;
    this.#header = header;
  }

  /** Rows that may be in use: those behind it never were. */
  get limit(): number {
    return Math.min(this.#header.get("slot_limit"), this.#geometry.slots);
  }

  isUsed(slot: number): boolean {
    return this.#get(slot, "state") === SlotState.USED;
  }

  /** Whether the kernel says that someone else holds it. */
  isHeldElsewhere(slot: number): boolean {
    return this.#platform.isByteLocked(this.#fd, this.#at(slot));
  }

  /** Takes a free row, under the lock. `undefined` if there is none. */
  take(): number | undefined {
    for (let slot = 0; slot < this.#geometry.slots; slot++) {
      if (slot < this.limit && this.isUsed(slot)) continue;
      if (!this.#platform.tryLockByte(this.#fd, this.#at(slot))) continue;
      if (slot >= this.limit) this.#header.publish("slot_limit", slot + 1);
      this.#set(slot, "pid", this.#platform.pid);
      this.#set(slot, "reserved", 0);
      this.#set(slot, "incarnation", this.incarnation(slot) + 1);
      this.#control.f64[(this.#at(slot) + SLOT.attached_at) >> 3] = this
        .#platform.now();
      this.#setReal(slot, "hits", 0);
      this.#setReal(slot, "misses", 0);
      this.pins(slot).clearAll();
      this.#set(slot, "state", SlotState.USED);
      return slot;
    }
    return undefined;
  }

  /** Gives a row back, under the lock: its counts go to the pool's. */
  free(slot: number): void {
    this.pins(slot).clearAll();
    this.#header.addStat("hits", this.real(slot, "hits"));
    this.#header.addStat("misses", this.real(slot, "misses"));
    this.#setReal(slot, "hits", 0);
    this.#setReal(slot, "misses", 0);
    this.#set(slot, "reserved", 0);
    this.#set(slot, "state", SlotState.FREE);
  }

  /** Takes out what a row that nobody has may still say. */
  clear(slot: number): void {
    this.pins(slot).clearAll();
    this.#set(slot, "reserved", 0);
  }

  /** Lets go of the row's byte; closing the descriptor does so too. */
  unlock(slot: number): void {
    this.#platform.unlockByte(this.#fd, this.#at(slot));
  }

  incarnation(slot: number): number {
    return this.#get(slot, "incarnation");
  }

  /** Reservations that the slot's owner has open. */
  reserved(slot: number): number {
    return this.#get(slot, "reserved");
  }

  setReserved(slot: number, count: number): void {
    this.#set(slot, "reserved", Math.max(0, count));
  }

  real(slot: number, field: "hits" | "misses"): number {
    const value = this.#control.f64[(this.#at(slot) + SLOT[field]) >> 3]!;
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  }

  /** Counts a hit or a miss in the owner's own row: nobody else writes it. */
  count(slot: number, field: "hits" | "misses"): void {
    this.#control.f64[(this.#at(slot) + SLOT[field]) >> 3]!++;
  }

  pins(slot: number): Bitmap {
    const { pins_offset, pin_row_bytes, max_entries } = this.#geometry;
    return new Bitmap(
      this.#control.words(pins_offset + slot * pin_row_bytes, pin_row_bytes),
      max_entries,
    );
  }

  /** Whether any process has pinned the entry. */
  isPinned(entry: EntryNumber): boolean {
    const { pins_offset, pin_row_bytes } = this.#geometry;
    const bit = 1 << (entry & 31);
    const word = (pins_offset >> 2) + (entry >>> 5);
    for (let slot = this.limit - 1; slot >= 0; slot--) {
      const at = word + slot * (pin_row_bytes >> 2);
      if (Atomics.load(this.#control.u32, at) & bit) return true;
    }
    return false;
  }

  /** Every entry that any process has pinned, at about this moment. */
  allPins(): Bitmap {
    const { pin_row_bytes, max_entries } = this.#geometry;
    const words = new Uint32Array(pin_row_bytes >> 2);
    for (let slot = this.limit - 1; slot >= 0; slot--) {
      const row = this.pins(slot).words;
      for (let i = 0; i < words.length; i++) words[i]! |= row[i]!;
    }
    return new Bitmap(words, max_entries);
  }

  #at(slot: number): number {
    return this.#geometry.slots_offset + slot * SLOT_BYTES;
  }

  #get(
    slot: number,
    field: "state" | "pid" | "incarnation" | "reserved",
  ): number {
    return Atomics.load(
      this.#control.u32,
      (this.#at(slot) + SLOT[field]) >> 2,
    );
  }

  #set(
    slot: number,
    field: "state" | "pid" | "incarnation" | "reserved",
    value: number,
  ): void {
    Atomics.store(
      this.#control.u32,
      (this.#at(slot) + SLOT[field]) >> 2,
      value,
    );
  }

  #setReal(slot: number, field: "hits" | "misses", value: number): void {
    this.#control.f64[(this.#at(slot) + SLOT[field]) >> 3] = value;
  }
}

/**
 * The pins of one handle. Nobody else writes its row, so the shared bit tells the
 * first pin; only further ones of the same entry are counted here.
 */
export class OwnPins {
  readonly #words: Uint32Array;
  /** Pins beyond the first. */
  readonly #more = new Map<EntryNumber, number>();

  constructor(row: Bitmap) {
    this.#words = row.words;
  }

  pin(entry: EntryNumber): void {
    const word = entry >>> 5, bit = 1 << (entry & 31);
    if ((this.#words[word]! & bit) === 0) Atomics.or(this.#words, word, bit);
    else this.#more.set(entry, (this.#more.get(entry) ?? 0) + 1);
  }

  unpin(entry: EntryNumber): void {
    const more = this.#more.size === 0 ? undefined : this.#more.get(entry);
    if (more === undefined) {
      Atomics.and(this.#words, entry >>> 5, ~(1 << (entry & 31)));
    } else if (more === 1) this.#more.delete(entry);
    else this.#more.set(entry, more - 1);
  }
}
