/**
 * The bytes of an entry that lie in its blocks: the value, and text too long
 * for its record. And the text itself, wherever it lies.
 *
 * @module
 */
import type { Mapping } from "../ffi/platform.ts";
import type { Extent } from "./allocator.ts";
import type { EncodedKey } from "./key.ts";
import type { EntryNumber, EntryTable } from "./entry_table.ts";
import { blockOffset, type Geometry } from "./geometry.ts";
import { spillOffset } from "./stored.ts";

/** A piece of an entry's bytes that is contiguous in the segment. */
export interface Piece {
  readonly offset: number;
  readonly length: number;
}

/** The pieces of bytes `[from, from + length)` of what the extents hold. */
export function pieces(
  geometry: Geometry,
  extents: readonly Extent[],
  from: number,
  length: number,
): Piece[] {
  const found: Piece[] = [];
  let skip = from, left = length;
  for (const { start, count } of extents) {
    const room = count * geometry.block_bytes;
    if (skip < room && left > 0) {
      const size = Math.min(left, room - skip);
      found.push({ offset: blockOffset(geometry, start) + skip, length: size });
      left -= size;
      skip = 0;
    } else {
      skip -= Math.min(skip, room);
    }
  }
  return found;
}

/** What an entry is called, and what its maker noted. */
export interface EntryText {
  readonly key: string;
  readonly parent: string | undefined;
  /** JSON text, or `undefined`. */
  readonly meta: string | undefined;
}

// A byte order mark is text like any other: keys that differ stay different.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Reads text of entries. What it reads is only right while the entry is. */
export class Contents {
  readonly #mapping: Mapping;
  readonly #geometry: Geometry;
  readonly #table: EntryTable;

  constructor(mapping: Mapping, geometry: Geometry, table: EntryTable) {
    this.#mapping = mapping;
    this.#geometry = geometry;
    this.#table = table;
  }

  /** Whether the entry's key is this one. */
  isOf(entry: EntryNumber, key: EncodedKey): boolean {
    return this.#table.hasInlineKey(entry, key.bytes, key.words) ??
      this.hasKey(entry, key.bytes);
  }

  /** Whether the entry's key is these bytes. */
  hasKey(entry: EntryNumber, key: Uint8Array): boolean {
    const lengths = this.#table.textLengths(entry);
    if (lengths?.key_bytes !== key.length) return false;
    const text = this.#bytes(entry, key.length);
    if (text?.length !== key.length) return false;
    for (let i = 0; i < key.length; i++) {
      if (text[i] !== key[i]) return false;
    }
    return true;
  }

  sameKey(a: EntryNumber, b: EntryNumber): boolean {
    const isSame = this.#table.sameInlineKey(a, b);
    if (isSame !== undefined) return isSame;
    const key = this.keyBytes(b);
    return key !== undefined && this.hasKey(a, key.slice());
  }

  /** The key as bytes. */
  keyBytes(entry: EntryNumber): Uint8Array | undefined {
    const lengths = this.#table.textLengths(entry);
    return lengths && this.#bytes(entry, lengths.key_bytes);
  }

  /** The whole text as bytes: key, parent's key, metadata. */
  bytes(entry: EntryNumber): Uint8Array | undefined {
    const lengths = this.#table.textLengths(entry);
    if (!lengths) return undefined;
    const { key_bytes, parent_bytes, meta_bytes } = lengths;
    return this.#bytes(entry, key_bytes + parent_bytes + meta_bytes);
  }

  read(entry: EntryNumber): EntryText | undefined {
    const lengths = this.#table.textLengths(entry);
    const bytes = this.bytes(entry);
    if (!lengths || !bytes) return undefined;
    const meta_at = lengths.key_bytes + lengths.parent_bytes;
    const part = (from: number, to: number) =>
      from === to ? undefined : decoder.decode(bytes.subarray(from, to));
    return {
      key: part(0, lengths.key_bytes)!,
      parent: part(lengths.key_bytes, meta_at),
      meta: part(meta_at, bytes.length),
    };
  }

  /** The first `length` bytes of the text. */
  #bytes(entry: EntryNumber, length: number): Uint8Array | undefined {
    if (!this.#table.isSpilled(entry)) {
      return this.#table.inlineText(entry, length);
    }
    const extents = this.#table.backedExtents(entry);
    if (!extents) return undefined;
    const from = spillOffset(this.#table.size_bytes(entry));
    const text = new Uint8Array(length);
    let done = 0;
    for (const piece of pieces(this.#geometry, extents, from, length)) {
      const window = this.#mapping.window(piece.offset, piece.length);
      text.set(new Uint8Array(window), done);
      this.#mapping.release(window);
      done += piece.length;
    }
    return done === length ? text : undefined;
  }
}
