/**
 * The entry table: one record an entry. It is the truth of a pool; free list,
 * key index and totals are worked out from it.
 *
 * Nothing that a record says is believed before it is checked: its extents must
 * lie in the data region and be as many blocks as its bytes need.
 *
 * @module
 */
import type { Platform } from "../ffi/platform.ts";
import type { Extent } from "./allocator.ts";
import { Bitmap } from "./bitmap.ts";
import type { Control } from "./control.ts";
import type { Geometry } from "./geometry.ts";
import type { EncodedKey } from "./key.ts";
import {
  EntryState,
  EXTENTS_MAX,
  KEY_MAX_BYTES,
  META_MAX_BYTES,
  PAGE_BYTES,
  RECORD,
  RECORD_BYTES,
  RECORD_TEXT_BYTES,
  RecordFlag,
  SPILL_ALIGN_BYTES,
} from "./layout.ts";

/** An entry's number: the index of its record. */
export type EntryNumber = number;

/** What an entry is, apart from where it lies. */
export interface EntryFields {
  readonly key: EncodedKey;
  /** UTF-8 and hash of the parent's key; empty and zeros for none. */
  readonly parent: EncodedKey;
  /** UTF-8 of a JSON value, or empty. */
  readonly meta: Uint8Array;
  readonly namespaceHash: Uint32Array;
  readonly size_bytes: number;
  readonly tokens: number;
  readonly priority: number;
  readonly created_at: number;
  readonly last_access_at: number;
  readonly access_tick: number;
  readonly access_count: number;
  readonly sequence: number;
}

/** Lengths of the three parts of an entry's text. */
export interface TextLengths {
  readonly key_bytes: number;
  readonly parent_bytes: number;
  readonly meta_bytes: number;
}

const STATE = RECORD.state >> 2, GENERATION = RECORD.generation >> 2;
const KEY_HASH = RECORD.key_hash >> 2;
const NAMESPACE_HASH = RECORD.namespace_hash >> 2;
const ACCESS_COUNT = RECORD.access_count >> 2;
const ACCESS_COUNT_MAX = 0xffff_0000; // far enough below 2^32 for racing adders
const NO_KEY: EncodedKey = {
  bytes: new Uint8Array(),
  hash: new Uint32Array(4),
};

/** The parent of an entry that has none. */
export const NO_PARENT = NO_KEY;

/** Bytes that an entry takes in its blocks, and whether its text is among them. */
export function storedBytes(size_bytes: number, text_bytes: number) {
  if (text_bytes <= RECORD_TEXT_BYTES) {
    return { bytes: size_bytes, spilled: false };
  }
  return { bytes: spillOffset(size_bytes) + text_bytes, spilled: true };
}

/** Where spilled text begins, counted from the value's first byte. */
export function spillOffset(size_bytes: number): number {
  return Math.ceil(size_bytes / SPILL_ALIGN_BYTES) * SPILL_ALIGN_BYTES;
}

/** Records over the control region. */
export class EntryTable {
  readonly count: number;
  readonly #control: Control;
  readonly #geometry: Geometry;
  readonly #crc: Pick<Platform, "crc32">;
  readonly #committed: Bitmap;

  constructor(
    control: Control,
    geometry: Geometry,
    crc: Pick<Platform, "crc32">,
  ) {
    this.#control = control;
    this.#geometry = geometry;
    this.#crc = crc;
    this.#committed = new Bitmap(
      control.words(
        geometry.commit_offset,
        geometry.free_list_pages * PAGE_BYTES,
      ),
      geometry.blocks,
    );
    this.count = geometry.max_entries;
  }

  state(entry: EntryNumber): number {
    return Atomics.load(this.#control.u32, this.#word(entry) + STATE);
  }

  /** The store that publishes: whoever sees the new state sees all before it. */
  setState(entry: EntryNumber, state: number): void {
    Atomics.store(this.#control.u32, this.#word(entry) + STATE, state);
  }

  generation(entry: EntryNumber): number {
    return Atomics.load(this.#control.u32, this.#word(entry) + GENERATION);
  }

  /** Makes an entry unreachable: a reader that pinned it too late will see it. */
  doom(entry: EntryNumber): void {
    this.setState(entry, EntryState.DOOMED);
    Atomics.add(this.#control.u32, this.#word(entry) + GENERATION, 1);
  }

  /** Whether the record's key hash and namespace are these. */
  matches(
    entry: EntryNumber,
    hash: Uint32Array,
    namespaceHash: Uint32Array,
  ): boolean {
    const { u32 } = this.#control;
    const at = this.#word(entry) + KEY_HASH;
    const namespace = this.#word(entry) + NAMESPACE_HASH;
    return u32[at] === hash[0] && u32[at + 1] === hash[1] &&
      u32[at + 2] === hash[2] && u32[at + 3] === hash[3] &&
      u32[namespace] === namespaceHash[0] &&
      u32[namespace + 1] === namespaceHash[1];
  }

  keyHash(entry: EntryNumber): Uint32Array {
    const at = this.#word(entry) + KEY_HASH;
    return this.#control.u32.subarray(at, at + 4);
  }

  /** Fills a free record; the caller then publishes it with `setState`. */
  write(
    entry: EntryNumber,
    fields: EntryFields,
    extents: readonly Extent[],
    text: Uint8Array,
  ): void {
    const { u8, u32, f64 } = this.#control;
    const at = this.#at(entry);
    u8.fill(0, at + RECORD.last_access_at, at + RECORD_BYTES);
    const word = (offset: number, value: number) =>
      u32[(at + offset) >> 2] = value;
    const real = (offset: number, value: number) =>
      f64[(at + offset) >> 3] = value;
    u32.set(fields.key.hash, (at + RECORD.key_hash) >> 2);
    u32.set(fields.parent.hash, (at + RECORD.parent_hash) >> 2);
    u32.set(fields.namespaceHash, (at + RECORD.namespace_hash) >> 2);
    this.#control.setU64(at + RECORD.size_bytes, fields.size_bytes);
    real(RECORD.created_at, fields.created_at);
    real(RECORD.last_access_at, fields.last_access_at);
    real(RECORD.access_tick, fields.access_tick);
    word(RECORD.access_count, fields.access_count);
    real(RECORD.sequence, fields.sequence);
    word(RECORD.tokens, fields.tokens);
    word(RECORD.priority, fields.priority);
    word(RECORD.key_bytes, fields.key.bytes.length);
    word(RECORD.parent_bytes, fields.parent.bytes.length);
    word(RECORD.meta_bytes, fields.meta.length);
    word(RECORD.extent_count, extents.length);
    extents.forEach(({ start, count }, i) => {
      word(RECORD.extents + 8 * i, start);
      word(RECORD.extents + 8 * i + 4, count);
    });
    if (text.length <= RECORD_TEXT_BYTES) {
      u8.set(text, at + RECORD.text);
    } else {
      word(RECORD.flags, RecordFlag.SPILLED);
      word(RECORD.text_crc, this.#crc.crc32(text));
    }
    word(RECORD.crc, this.#recordCrc(at));
  }

  /** Notes the checksum of the value, before the entry is sealed. */
  setValueCrc(entry: EntryNumber, crc: number): void {
    const at = this.#at(entry);
    const { u32 } = this.#control;
    u32[(at + RECORD.value_crc) >> 2] = crc;
    u32[(at + RECORD.flags) >> 2]! |= RecordFlag.VALUE_CRC;
    u32[(at + RECORD.crc) >> 2] = this.#recordCrc(at);
  }

  setOwner(entry: EntryNumber, slot: number, incarnation: number): void {
    const at = this.#at(entry);
    this.#control.u32[(at + RECORD.owner_slot) >> 2] = slot;
    this.#control.u32[(at + RECORD.owner_incarnation) >> 2] = incarnation;
  }

  /** Notes a use. Three plain stores: two readers at once lose nothing that counts. */
  touch(entry: EntryNumber, tick: number, now: number): void {
    const { u32, f64 } = this.#control;
    const at = this.#at(entry);
    f64[(at + RECORD.access_tick) >> 3] = tick;
    f64[(at + RECORD.last_access_at) >> 3] = now;
    const count = (at >> 2) + ACCESS_COUNT;
    if (u32[count]! < ACCESS_COUNT_MAX) Atomics.add(u32, count, 1);
  }

  valueCrc(entry: EntryNumber): number | undefined {
    const flags = this.word(entry, "flags");
    return flags & RecordFlag.VALUE_CRC
      ? this.word(entry, "value_crc")
      : undefined;
  }

  isSpilled(entry: EntryNumber): boolean {
    return (this.word(entry, "flags") & RecordFlag.SPILLED) !== 0;
  }

  word(
    entry: EntryNumber,
    field:
      | "flags"
      | "value_crc"
      | "text_crc"
      | "tokens"
      | "access_count"
      | "owner_slot"
      | "owner_incarnation",
  ): number {
    return this.#control.u32[(this.#at(entry) + RECORD[field]) >> 2]!;
  }

  real(
    entry: EntryNumber,
    field: "created_at" | "last_access_at" | "access_tick" | "sequence",
  ): number {
    return this.#control.f64[(this.#at(entry) + RECORD[field]) >> 3]!;
  }

  priority(entry: EntryNumber): number {
    return this.#control.getI32(this.#at(entry) + RECORD.priority);
  }

  size_bytes(entry: EntryNumber): number {
    return this.#control.getU64(this.#at(entry) + RECORD.size_bytes);
  }

  /** Blocks that the record says are its own; see `extents` for the check. */
  blocks(entry: EntryNumber): number {
    return this.extents(entry)?.reduce((sum, { count }) => sum + count, 0) ?? 0;
  }

  /** Lengths of the text's parts, or `undefined` if they cannot be right. */
  textLengths(entry: EntryNumber): TextLengths | undefined {
    const { u32 } = this.#control;
    const at = this.#at(entry);
    const key_bytes = u32[(at + RECORD.key_bytes) >> 2]!;
    const parent_bytes = u32[(at + RECORD.parent_bytes) >> 2]!;
    const meta_bytes = u32[(at + RECORD.meta_bytes) >> 2]!;
    if (
      key_bytes < 1 || key_bytes > KEY_MAX_BYTES ||
      parent_bytes > KEY_MAX_BYTES || meta_bytes > META_MAX_BYTES
    ) return undefined;
    const spilled = key_bytes + parent_bytes + meta_bytes > RECORD_TEXT_BYTES;
    if (spilled !== this.isSpilled(entry)) return undefined;
    return { key_bytes, parent_bytes, meta_bytes };
  }

  /** The text of a record that holds it itself. */
  inlineText(entry: EntryNumber, length: number): Uint8Array {
    return this.#control.bytes(this.#at(entry) + RECORD.text, length);
  }

  /**
   * The extents, or `undefined` if they cannot be right: out of the data
   * region, or not as many blocks as the entry's bytes need.
   */
  extents(entry: EntryNumber): Extent[] | undefined {
    const lengths = this.textLengths(entry);
    if (!lengths) return undefined;
    const { key_bytes, parent_bytes, meta_bytes } = lengths;
    const needed = this.blocksFor(
      this.size_bytes(entry),
      key_bytes + parent_bytes + meta_bytes,
    );
    const { system_blocks, blocks } = this.#geometry;
    const { u32 } = this.#control;
    const first = (this.#at(entry) + RECORD.extents) >> 2;
    const count = u32[(this.#at(entry) + RECORD.extent_count) >> 2]!;
    if (count > EXTENTS_MAX) return undefined;
    const extents: Extent[] = [];
    let total = 0;
    for (let i = 0; i < count; i++) {
      const start = u32[first + 2 * i]!, length = u32[first + 2 * i + 1]!;
      if (start < system_blocks || length < 1 || start + length > blocks) {
        return undefined;
      }
      extents.push({ start, count: length });
      total += length;
    }
    return total === needed ? extents : undefined;
  }

  /**
   * The extents, if they can be right and the host has backed all of them: only
   * then may they be touched.
   */
  backedExtents(entry: EntryNumber): Extent[] | undefined {
    const extents = this.extents(entry);
    const backed = extents?.every(({ start, count }) =>
      this.#committed.all(start, count)
    );
    return backed ? extents : undefined;
  }

  /** Whether the record's checksum and bounds hold. */
  isSound(entry: EntryNumber): boolean {
    const at = this.#at(entry);
    return this.#control.u32[(at + RECORD.crc) >> 2] === this.#recordCrc(at) &&
      this.extents(entry) !== undefined &&
      Number.isSafeInteger(this.real(entry, "sequence"));
  }

  /** Blocks for a value and its text. */
  blocksFor(size_bytes: number, text_bytes: number): number {
    const { bytes } = storedBytes(size_bytes, text_bytes);
    return Math.ceil(bytes / this.#geometry.block_bytes);
  }

  #recordCrc(at: number): number {
    const from = RECORD.crc + 4;
    return this.#crc.crc32(
      this.#control.bytes(at + from, RECORD_BYTES - from),
    );
  }

  #at(entry: EntryNumber): number {
    return this.#geometry.records_offset + entry * RECORD_BYTES;
  }

  #word(entry: EntryNumber): number {
    return this.#at(entry) >> 2;
  }
}
