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
import {
  type EntryFields,
  fillRecord,
  type TextLengths,
} from "./entry_fields.ts";
import {
  EntryState,
  EXTENTS_MAX,
  HEADER,
  KEY_MAX_BYTES,
  META_MAX_BYTES,
  PAGE_BYTES,
  RECORD,
  RECORD_BYTES,
  RECORD_TEXT_BYTES,
  RecordFlag,
} from "./layout.ts";
import { storedBytes } from "./stored.ts";

/** An entry's number: the index of its record. */
export type EntryNumber = number;

const STATE = RECORD.state >> 2, GENERATION = RECORD.generation >> 2;
const KEY_HASH = RECORD.key_hash >> 2;
const PARENT_HASH = RECORD.parent_hash >> 2;
const NAMESPACE_HASH = RECORD.namespace_hash >> 2;
const EXTENT_COUNT = RECORD.extent_count >> 2, EXTENTS = RECORD.extents >> 2;
const ACCESS_COUNT = RECORD.access_count >> 2;
const ACCESS_COUNT_MAX = 0xffff_0000; // far enough below 2^32 for racing adders

/** Records over the control region. */
export class EntryTable {
  readonly count: number;
  readonly #control: Control;
  readonly #u32: Uint32Array;
  readonly #recordsOffset: number;
  readonly #geometry: Geometry;
  readonly #crc: Pick<Platform, "crc32">;
  readonly #committed: Bitmap;
  /** By entry: its generation when it was seen to be whole, plus one. */
  #seenWhole: Uint32Array | undefined;
  /** Of no use, but that what goes into it must be fetched. */
  #fetched = 0;

  constructor(
    control: Control,
    geometry: Geometry,
    crc: Pick<Platform, "crc32">,
  ) {
    this.#control = control;
    this.#u32 = control.u32;
    this.#recordsOffset = geometry.records_offset;
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

  /** Has the processor fetch what an eviction will touch: misses of many overlap. */
  fetch(entry: EntryNumber): void {
    const at = this.#word(entry);
    this.#fetched ^= this.#u32[at]! ^ this.#u32[at + KEY_HASH]!;
  }

  state(entry: EntryNumber): number {
    return Atomics.load(this.#u32, this.#word(entry) + STATE);
  }

  /** The store that publishes: whoever sees the new state sees all before it. */
  setState(entry: EntryNumber, state: number): void {
    Atomics.store(this.#control.u32, this.#word(entry) + STATE, state);
  }

  generation(entry: EntryNumber): number {
    return Atomics.load(this.#u32, this.#word(entry) + GENERATION);
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
    const u32 = this.#u32;
    const at = this.#word(entry) + KEY_HASH;
    const namespace = this.#word(entry) + NAMESPACE_HASH;
    return u32[at] === hash[0] && u32[at + 1] === hash[1] &&
      u32[at + 2] === hash[2] && u32[at + 3] === hash[3] &&
      u32[namespace] === namespaceHash[0] &&
      u32[namespace + 1] === namespaceHash[1];
  }

  /** Whether two records have one key hash and namespace. */
  hasSameHash(a: EntryNumber, b: EntryNumber): boolean {
    return this.#hasHash(a, this.#word(b) + KEY_HASH, b);
  }

  /** Whether one record's key hash is the other's parent's, in one namespace. */
  isParent(parent: EntryNumber, child: EntryNumber): boolean {
    return this.#hasHash(parent, this.#word(child) + PARENT_HASH, child);
  }

  /** Whether the entry extends another: zeros say that it does not. */
  hasParent(entry: EntryNumber): boolean {
    const u32 = this.#u32, at = this.#word(entry) + PARENT_HASH;
    return u32[at] !== 0 || u32[at + 1] !== 0 || u32[at + 2] !== 0;
  }

  /** Whether a record's key hash stands at a word of another, in its namespace. */
  #hasHash(entry: EntryNumber, word: number, other: EntryNumber): boolean {
    const u32 = this.#u32, at = this.#word(entry) + KEY_HASH;
    const namespace = this.#word(entry) + NAMESPACE_HASH;
    const its = this.#word(other) + NAMESPACE_HASH;
    return u32[at] === u32[word] && u32[at + 1] === u32[word + 1] &&
      u32[at + 2] === u32[word + 2] && u32[at + 3] === u32[word + 3] &&
      u32[namespace] === u32[its] && u32[namespace + 1] === u32[its + 1];
  }

  keyHash(entry: EntryNumber): Uint32Array {
    const at = this.#word(entry) + KEY_HASH;
    return this.#control.u32.subarray(at, at + 4);
  }

  /** The first word of the parent's hash. */
  parentWord(entry: EntryNumber): number {
    return this.#u32[this.#word(entry) + PARENT_HASH]!;
  }

  /** Copies the first two words of the key's and of the parent's hash. */
  copyHashes(entry: EntryNumber, key_at: number, parent_at: number): void {
    const u32 = this.#u32, from = this.#word(entry);
    const key = key_at >> 2, parent = parent_at >> 2;
    u32[key] = u32[from + KEY_HASH]!;
    u32[key + 1] = u32[from + KEY_HASH + 1]!;
    u32[parent] = u32[from + PARENT_HASH]!;
    u32[parent + 1] = u32[from + PARENT_HASH + 1]!;
  }

  /** A word of the key's hash. */
  keyWord(entry: EntryNumber, word: number): number {
    return this.#control.u32[this.#word(entry) + KEY_HASH + word]!;
  }

  /** Fills a free record; the caller then publishes it with `setState`. */
  write(
    entry: EntryNumber,
    fields: EntryFields,
    extents: readonly Extent[],
    text: Uint8Array,
  ): void {
    const { u8, u32 } = this.#control;
    const at = this.#at(entry);
    fillRecord(this.#control, at, fields, extents);
    if (text.length <= RECORD_TEXT_BYTES) {
      u8.set(text, at + RECORD.text);
    } else {
      u32[(at + RECORD.flags) >> 2] = RecordFlag.SPILLED;
      u32[(at + RECORD.text_crc) >> 2] = this.#crc.crc32(text);
    }
    u32[(at + RECORD.crc) >> 2] = this.#recordCrc(at);
  }

  /**
   * Notes that the value is there, before the entry is sealed: with its checksum,
   * or with `undefined` if that is left to persist.
   */
  setFilled(entry: EntryNumber, value_crc: number | undefined): void {
    const at = this.#at(entry);
    const { u32 } = this.#control;
    u32[(at + RECORD.value_crc) >> 2] = value_crc ?? 0;
    u32[(at + RECORD.flags) >> 2]! |= value_crc === undefined
      ? RecordFlag.UNSUMMED
      : RecordFlag.VALUE_CRC;
    u32[(at + RECORD.crc) >> 2] = this.#recordCrc(at);
  }

  /**
   * Whether the value was seen to have its checksum in this run of the host: what
   * was not written to disk before a crash shows itself so. Always, in memory.
   */
  isVerified(entry: EntryNumber): boolean {
    const { u32 } = this.#control;
    return u32[(this.#at(entry) + RECORD.verified_epoch) >> 2] ===
      u32[HEADER.epoch >> 2];
  }

  setVerified(entry: EntryNumber): void {
    const { u32 } = this.#control;
    u32[(this.#at(entry) + RECORD.verified_epoch) >> 2] = u32[
      HEADER.epoch >> 2
    ]!;
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

  /** Moves the entry's last use forward in the order of uses. */
  addToTick(entry: EntryNumber, by: number): void {
    this.#control.f64[(this.#at(entry) + RECORD.access_tick) >> 3]! += by;
  }

  /** The value's checksum, if the entry has one. */
  valueCrc(entry: EntryNumber): number | undefined {
    return this.#hasFlag(entry, RecordFlag.VALUE_CRC)
      ? this.word(entry, "value_crc")
      : undefined;
  }

  isSpilled(entry: EntryNumber): boolean {
    return this.#hasFlag(entry, RecordFlag.SPILLED);
  }

  word(
    entry: EntryNumber,
    field:
      | "flags"
      | "crc"
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
    field:
      | "created_at"
      | "last_access_at"
      | "access_tick"
      | "sequence"
      | "expires_at",
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
    const needed = this.#blocksNeeded(entry);
    const u32 = this.#u32, at = this.#word(entry);
    const count = u32[at + EXTENT_COUNT]!;
    if (count > EXTENTS_MAX) return 0;
    let total = 0;
    for (let i = 0; i < count; i++) {
      const start = u32[at + EXTENTS + 2 * i]!;
      const length = u32[at + EXTENTS + 2 * i + 1]!;
      if (!this.#isRun(start, length)) return 0;
      total += length;
    }
    return total === needed ? total : 0;
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

  /**
   * Whether the record's key is these bytes; `undefined` if its text is
   * elsewhere. Makes no view, and compares words where it can: look-ups are many.
   */
  hasInlineKey(
    entry: EntryNumber,
    key: Uint8Array,
    words?: Uint32Array,
  ): boolean | undefined {
    const u32 = this.#u32;
    const at = this.#at(entry);
    if (u32[(at + RECORD.flags) >> 2]! & RecordFlag.SPILLED) return undefined;
    const { length } = key;
    if (u32[(at + RECORD.key_bytes) >> 2] !== length) return false;
    if (length > RECORD_TEXT_BYTES) return false;
    const text = at + RECORD.text;
    let compared = 0;
    if (words) {
      const first = text >> 2, whole = length >> 2;
      for (let i = 0; i < whole; i++) {
        if (u32[first + i] !== words[i]) return false;
      }
      compared = whole << 2;
    }
    const { u8 } = this.#control;
    for (let i = compared; i < length; i++) {
      if (u8[text + i] !== key[i]) return false;
    }
    return true;
  }

  /** Whether two records have one key; `undefined` if either's is elsewhere. */
  sameInlineKey(a: EntryNumber, b: EntryNumber): boolean | undefined {
    if (this.isSpilled(a) || this.isSpilled(b)) return undefined;
    const { u8, u32 } = this.#control;
    const one = this.#at(a), other = this.#at(b);
    const length = u32[(one + RECORD.key_bytes) >> 2]!;
    if (u32[(other + RECORD.key_bytes) >> 2] !== length) return false;
    if (length > RECORD_TEXT_BYTES) return false;
    for (let i = RECORD.text; i < RECORD.text + length; i++) {
      if (u8[one + i] !== u8[other + i]) return false;
    }
    return true;
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
    const needed = this.#blocksNeeded(entry);
    const u32 = this.#u32;
    const first = this.#word(entry) + EXTENTS;
    const count = u32[this.#word(entry) + EXTENT_COUNT]!;
    if (count > EXTENTS_MAX) return undefined;
    const extents: Extent[] = [];
    let total = 0;
    for (let i = 0; i < count; i++) {
      const start = u32[first + 2 * i]!, length = u32[first + 2 * i + 1]!;
      if (!this.#isRun(start, length)) return undefined;
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
    return this.soundExtents(entry) !== undefined;
  }

  /** The extents, if the record's checksum and bounds hold. */
  soundExtents(entry: EntryNumber): Extent[] | undefined {
    const at = this.#at(entry);
    const isSound =
      this.#control.u32[(at + RECORD.crc) >> 2] === this.#recordCrc(at) &&
      Number.isSafeInteger(this.real(entry, "sequence"));
    return isSound ? this.extents(entry) : undefined;
  }

  /**
   * The extents, if the record is sound, and is what its state says: what was never
   * filled must not pass for sealed by one wrong word.
   */
  wholeExtents(entry: EntryNumber): Extent[] | undefined {
    const isFilled = this.state(entry) !== EntryState.SEALED ||
      this.#hasFlag(entry, RecordFlag.VALUE_CRC | RecordFlag.UNSUMMED);
    return isFilled ? this.soundExtents(entry) : undefined;
  }

  /**
   * Whether the record of an entry that is pinned is whole: what was seen to be is
   * not summed again as long as it is the same entry.
   */
  isStillWhole(entry: EntryNumber): boolean {
    const all = this.#seenWhole ??= new Uint32Array(this.count);
    const seen = (this.generation(entry) + 1) >>> 0; // 0: not seen
    if (all[entry] === seen && seen !== 0) return true;
    if (!this.wholeExtents(entry)) return false;
    all[entry] = seen;
    return true;
  }

  /**
   * First block of an entry that lies in one run, backed by the host; -1 if it
   * does not, or cannot be right. As `backedExtents`, without making anything.
   */
  soleBlock(entry: EntryNumber): number {
    const u32 = this.#u32, at = this.#at(entry);
    if (u32[(at + RECORD.extent_count) >> 2] !== 1) return -1;
    const extent = (at + RECORD.extents) >> 2;
    const start = u32[extent]!, count = u32[extent + 1]!;
    const { system_blocks, blocks } = this.#geometry;
    const isInside = start >= system_blocks && start + count <= blocks;
    if (!isInside || count !== this.#blocksNeeded(entry)) return -1;
    const isBacked = count === 1
      ? this.#committed.has(start)
      : this.#committed.all(start, count);
    return isBacked ? start : -1;
  }

  /** Whether there can be such a run of blocks. */
  #isRun(start: number, count: number): boolean {
    const { system_blocks, blocks } = this.#geometry;
    return start >= system_blocks && count >= 1 && start + count <= blocks;
  }

  /** What an entry's bytes need; NaN if its lengths cannot be right. */
  #blocksNeeded(entry: EntryNumber): number {
    const lengths = this.textLengths(entry);
    if (!lengths) return NaN;
    const { key_bytes, parent_bytes, meta_bytes } = lengths;
    const text_bytes = key_bytes + parent_bytes + meta_bytes;
    return this.blocksFor(this.size_bytes(entry), text_bytes);
  }

  /** Blocks for a value and its text. */
  blocksFor(size_bytes: number, text_bytes: number): number {
    const { bytes } = storedBytes(size_bytes, text_bytes);
    return Math.ceil(bytes / this.#geometry.block_bytes);
  }

  /** Whether any of these is set. */
  #hasFlag(entry: EntryNumber, flags: number): boolean {
    return (this.word(entry, "flags") & flags) !== 0;
  }

  #recordCrc(at: number): number {
    const from = RECORD.crc + 4;
    return this.#crc.crc32(
      this.#control.bytes(at + from, RECORD_BYTES - from),
    );
  }

  #at(entry: EntryNumber): number {
    return this.#recordsOffset + entry * RECORD_BYTES;
  }

  #word(entry: EntryNumber): number {
    return this.#at(entry) >> 2;
  }
}
