/**
 * The ring of recent operations: while recording is on, each look-up and put
 * leaves a note there, without a lock, for whoever drains it. What is not drained
 * in time is overwritten.
 *
 * @module
 */
import type { Control } from "./control.ts";
import type { EntryNumber, EntryTable } from "./entry_table.ts";
import type { Geometry } from "./geometry.ts";
import {
  HEADER,
  OPERATION,
  OPERATION_BYTES,
  OperationKind,
  SHARED,
} from "./layout.ts";

/** An operation on a pool, as it was noted. */
export interface Operation {
  readonly kind: "hit" | "miss" | "put";
  /** First 64 bits of the key's hash, in hex. */
  readonly key: string;
  /** Of the parent's key; `undefined` for none. */
  readonly parent: string | undefined;
  readonly size_bytes: number;
  /** Milliseconds since 1970. */
  readonly at: number;
}

const CURSOR = SHARED.ring_cursor >> 2;
const RECORDING = HEADER.recording >> 2;
const KINDS = Object.entries(OperationKind).map(([name, number]) =>
  [number, name.toLowerCase() as Operation["kind"]] as const
);

export class OperationRing {
  readonly #u32: Uint32Array;
  readonly #f64: Float64Array;
  readonly #offset: number;
  readonly #mask: number;

  constructor(control: Control, geometry: Geometry) {
    this.#u32 = control.u32;
    this.#f64 = control.f64;
    this.#offset = geometry.ring_offset;
    this.#mask = geometry.ring_slots - 1;
  }

  /** Whether operations are noted. */
  get isOn(): boolean {
    return this.#u32[RECORDING] === 1;
  }

  /** Operations that it holds. */
  get slots(): number {
    return this.#mask + 1;
  }

  /** How many were noted so far, modulo 2^32. */
  get cursor(): number {
    return Atomics.load(this.#u32, CURSOR);
  }

  /** Notes what was done with an entry: an `OperationKind`. */
  note(
    kind: number,
    table: EntryTable,
    entry: EntryNumber,
    now: number,
  ): void {
    const cursor = this.#take(), at = this.#at(cursor);
    table.copyHashes(entry, at + OPERATION.key, at + OPERATION.parent);
    const size_bytes = table.size_bytes(entry);
    this.#finish(cursor, at, kind, size_bytes, now);
  }

  /** Notes that a key was not there. */
  noteMiss(hash: Uint32Array, now: number): void {
    const u32 = this.#u32;
    const cursor = this.#take(), at = this.#at(cursor);
    const key = (at + OPERATION.key) >> 2;
    const parent = (at + OPERATION.parent) >> 2;
    u32[key] = hash[0]!;
    u32[key + 1] = hash[1]!;
    u32[parent] = 0;
    u32[parent + 1] = 0;
    this.#finish(cursor, at, OperationKind.MISS, 0, now);
  }

  /**
   * What was noted from `cursor` on, as far as it is whole, the cursor to go on
   * from, and how many were lost.
   */
  drain(cursor: number): {
    readonly operations: Operation[];
    readonly cursor: number;
    readonly lost: number;
  } {
    const end = this.cursor;
    const noted = (end - cursor) >>> 0;
    const there = Math.min(noted, this.slots);
    const operations: Operation[] = [];
    let at = (end - there) >>> 0, lost = noted - there;
    for (let i = 0; i < there; i++) {
      const operation = this.#read(at);
      if (operation === "unfinished") break; // by one who is slow, or dead
      if (operation) operations.push(operation);
      else lost++;
      at = (at + 1) >>> 0;
    }
    return { operations, cursor: at, lost };
  }

  /** A slot of one's own. */
  #take(): number {
    return Atomics.add(this.#u32, CURSOR, 1) >>> 0;
  }

  /** Fills in the rest; the stamp comes last, and says that it is whole. */
  #finish(
    cursor: number,
    at: number,
    kind: number,
    size_bytes: number,
    now: number,
  ): void {
    const u32 = this.#u32, f64 = this.#f64;
    u32[(at + OPERATION.kind) >> 2] = kind;
    f64[(at + OPERATION.size_bytes) >> 3] = size_bytes;
    f64[(at + OPERATION.at) >> 3] = now;
    Atomics.store(u32, (at + OPERATION.stamp) >> 2, (cursor + 1) >>> 0);
  }

  /** One operation; `undefined` if another has taken its place. */
  #read(cursor: number): Operation | "unfinished" | undefined {
    const u32 = this.#u32, f64 = this.#f64;
    const at = this.#at(cursor), stamp = (at + OPERATION.stamp) >> 2;
    const expected = (cursor + 1) >>> 0;
    const before = Atomics.load(u32, stamp);
    if (before !== expected) {
      const isOlder = ((expected - before) >>> 0) < 2 ** 31;
      return isOlder && ((this.cursor - cursor) >>> 0) <= this.slots / 2
        ? "unfinished"
        : undefined;
    }
    const found = u32[(at + OPERATION.kind) >> 2]!;
    const kind = KINDS.find(([number]) => number === found)?.[1];
    const parent = this.#hex(at + OPERATION.parent);
    const operation: Operation | undefined = kind && {
      kind,
      key: this.#hex(at + OPERATION.key),
      parent: /^0+$/.test(parent) ? undefined : parent,
      size_bytes: f64[(at + OPERATION.size_bytes) >> 3]!,
      at: f64[(at + OPERATION.at) >> 3]!,
    };
    // Nobody may have begun to write over it meanwhile: that shows in the cursor
    // before it shows in the stamp.
    const isStill = Atomics.load(u32, stamp) === expected &&
      ((this.cursor - cursor) >>> 0) <= this.slots;
    return isStill ? operation : undefined;
  }

  #hex(at: number): string {
    const u32 = this.#u32;
    const part = (word: number) => word.toString(16).padStart(8, "0");
    return part(u32[at >> 2]!) + part(u32[(at >> 2) + 1]!);
  }

  #at(cursor: number): number {
    return this.#offset + (cursor & this.#mask) * OPERATION_BYTES;
  }
}
