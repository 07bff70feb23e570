/**
 * What an entry is, and its record filled with it.
 *
 * @module
 */
import type { Extent } from "./allocator.ts";
import type { Control } from "./control.ts";
import type { EncodedKey } from "./key.ts";
import { RECORD, RECORD_BYTES } from "./layout.ts";

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
  /** Milliseconds since 1970; 0, as by default: never. */
  readonly expires_at?: number;
}

/** Lengths of the three parts of an entry's text. */
export interface TextLengths {
  readonly key_bytes: number;
  readonly parent_bytes: number;
  readonly meta_bytes: number;
}

/** The parent of an entry that has none. */
export const NO_PARENT: EncodedKey = {
  bytes: new Uint8Array(),
  hash: new Uint32Array(4),
};

/**
 * Fills the record at byte `at` of the control region, all but its text, its
 * checksum, and what says whose it is now: state and generation.
 */
export function fillRecord(
  control: Control,
  at: number,
  fields: EntryFields,
  extents: readonly Extent[],
): void {
  const { u8, u32, f64 } = control;
  u8.fill(0, at + RECORD.last_access_at, at + RECORD_BYTES);
  const word = (offset: number, value: number) =>
    u32[(at + offset) >> 2] = value;
  const real = (offset: number, value: number) =>
    f64[(at + offset) >> 3] = value;
  u32.set(fields.key.hash, (at + RECORD.key_hash) >> 2);
  u32.set(fields.parent.hash, (at + RECORD.parent_hash) >> 2);
  u32.set(fields.namespaceHash, (at + RECORD.namespace_hash) >> 2);
  control.setU64(at + RECORD.size_bytes, fields.size_bytes);
  real(RECORD.created_at, fields.created_at);
  real(RECORD.last_access_at, fields.last_access_at);
  real(RECORD.access_tick, fields.access_tick);
  word(RECORD.access_count, fields.access_count);
  real(RECORD.sequence, fields.sequence);
  real(RECORD.expires_at, fields.expires_at ?? 0);
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
}
