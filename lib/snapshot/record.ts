/**
 * The bytes of a snapshot's data file: its head, and the head of each record.
 *
 * Every record begins with the file's nonce, which was drawn when the file was:
 * no value in it can contain that by design or chance, so behind a damaged
 * record the next whole one can be found.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import {
  KEY_MAX_BYTES,
  META_MAX_BYTES,
  SNAPSHOT_HEAD,
  SNAPSHOT_HEAD_BYTES,
  SNAPSHOT_MAGIC,
  SNAPSHOT_RECORD,
  SNAPSHOT_RECORD_BYTES,
  SNAPSHOT_VERSION,
  SNAPSHOT_VERSION_FIRST,
} from "../layout.ts";
import type { History } from "../plan.ts";

type Crc = Pick<Platform, "crc32">;

/** What a record says of its entry. */
export interface SnapshotRecord extends History {
  readonly size_bytes: number;
  readonly value_crc: number;
  readonly tokens: number;
  readonly priority: number;
  readonly namespaceHash: Uint32Array;
  readonly key_bytes: number;
  readonly parent_bytes: number;
  readonly meta_bytes: number;
  /** Where the value is, in the file; 0 in version 1, where it follows the text. */
  readonly value_position: number;
  /** What the value is stored as: see `SnapshotCodec`. */
  readonly codec: number;
}

/** Longest head and text of a record. */
export const RECORD_HEAD_MAX_BYTES = SNAPSHOT_RECORD_BYTES +
  2 * KEY_MAX_BYTES + META_MAX_BYTES;

/** The next position, from `position` on, that is a multiple of `to`. */
export function align(position: number, to: number): number {
  return Math.ceil(position / to) * to;
}

export function encodeHead(
  crc: Crc,
  nonce: Uint8Array,
  created_at: number,
): Uint8Array {
  const head = new Uint8Array(SNAPSHOT_HEAD_BYTES);
  const view = new DataView(head.buffer);
  head.set(SNAPSHOT_MAGIC, SNAPSHOT_HEAD.magic);
  view.setUint32(SNAPSHOT_HEAD.version, SNAPSHOT_VERSION, true);
  head.set(nonce, SNAPSHOT_HEAD.nonce);
  view.setFloat64(SNAPSHOT_HEAD.created_at, created_at, true);
  const sum = crc.crc32(head.subarray(SNAPSHOT_HEAD.nonce));
  view.setUint32(SNAPSHOT_HEAD.crc, sum, true);
  return head;
}

/** Whether the head is whole and has that nonce. */
export function isHead(crc: Crc, head: Uint8Array, nonce: Uint8Array): boolean {
  if (head.length < SNAPSHOT_HEAD_BYTES) return false;
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  return SNAPSHOT_MAGIC.every((byte, at) => head[at] === byte) &&
    isKnownVersion(view.getUint32(SNAPSHOT_HEAD.version, true)) &&
    view.getUint32(SNAPSHOT_HEAD.crc, true) ===
      crc.crc32(head.subarray(SNAPSHOT_HEAD.nonce, SNAPSHOT_HEAD_BYTES)) &&
    startsWith(head.subarray(SNAPSHOT_HEAD.nonce), nonce);
}

function isKnownVersion(version: unknown): boolean {
  return version === SNAPSHOT_VERSION || version === SNAPSHOT_VERSION_FIRST;
}

export function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  return bytes.length >= prefix.length &&
    prefix.every((byte, at) => bytes[at] === byte);
}

const COUNTS = [
  "created_at",
  "last_access_at",
  "access_tick",
  "sequence",
] as const;
const LENGTHS = ["size_bytes", "value_position"] as const;
const WORDS = [
  "value_crc",
  "access_count",
  "tokens",
  "key_bytes",
  "parent_bytes",
  "meta_bytes",
  "codec",
] as const;

/** Head and text of a record. */
export function encodeRecord(
  crc: Crc,
  nonce: Uint8Array,
  record: SnapshotRecord,
  text: Uint8Array,
): Uint8Array {
  const bytes = new Uint8Array(SNAPSHOT_RECORD_BYTES + text.length);
  const view = new DataView(bytes.buffer);
  bytes.set(nonce, SNAPSHOT_RECORD.nonce);
  for (const name of LENGTHS) {
    view.setBigUint64(SNAPSHOT_RECORD[name], BigInt(record[name]), true);
  }
  for (const name of COUNTS) {
    view.setFloat64(SNAPSHOT_RECORD[name], record[name], true);
  }
  for (const name of WORDS) {
    view.setUint32(SNAPSHOT_RECORD[name], record[name], true);
  }
  view.setInt32(SNAPSHOT_RECORD.priority, record.priority, true);
  record.namespaceHash.forEach((word, i) =>
    view.setUint32(SNAPSHOT_RECORD.namespace_hash + 4 * i, word, true)
  );
  bytes.set(text, SNAPSHOT_RECORD_BYTES);
  const sum = crc.crc32(bytes.subarray(SNAPSHOT_RECORD.value_crc));
  view.setUint32(SNAPSHOT_RECORD.crc, sum, true);
  return bytes;
}

/** The record that `bytes` begin with, or `undefined` if none that is whole does. */
export function decodeRecord(
  crc: Crc,
  nonce: Uint8Array,
  bytes: Uint8Array,
): SnapshotRecord | undefined {
  if (bytes.length < SNAPSHOT_RECORD_BYTES || !startsWith(bytes, nonce)) {
    return undefined;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const word = (name: typeof WORDS[number]) =>
    view.getUint32(SNAPSHOT_RECORD[name], true);
  const length = (name: typeof LENGTHS[number]) =>
    Number(view.getBigUint64(SNAPSHOT_RECORD[name], true));
  const count = (name: typeof COUNTS[number]) =>
    view.getFloat64(SNAPSHOT_RECORD[name], true);
  const record: SnapshotRecord = {
    size_bytes: length("size_bytes"),
    value_position: length("value_position"),
    codec: word("codec"),
    value_crc: word("value_crc"),
    tokens: word("tokens"),
    priority: view.getInt32(SNAPSHOT_RECORD.priority, true),
    created_at: count("created_at"),
    last_access_at: count("last_access_at"),
    access_tick: count("access_tick"),
    sequence: count("sequence"),
    access_count: word("access_count"),
    key_bytes: word("key_bytes"),
    parent_bytes: word("parent_bytes"),
    meta_bytes: word("meta_bytes"),
    namespaceHash: Uint32Array.of(
      view.getUint32(SNAPSHOT_RECORD.namespace_hash, true),
      view.getUint32(SNAPSHOT_RECORD.namespace_hash + 4, true),
    ),
  };
  if (!COUNTS.every((name) => isCount(record[name]))) return undefined;
  const end = textEnd(record);
  if (end === undefined || end > bytes.length) return undefined;
  const sum = crc.crc32(bytes.subarray(SNAPSHOT_RECORD.value_crc, end));
  return view.getUint32(SNAPSHOT_RECORD.crc, true) === sum ? record : undefined;
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

/** Where the record's text ends, or `undefined` if its lengths cannot be right. */
function textEnd(record: SnapshotRecord): number | undefined {
  const { key_bytes, parent_bytes, meta_bytes } = record;
  const { size_bytes, value_position } = record;
  if (
    key_bytes < 1 || key_bytes > KEY_MAX_BYTES ||
    parent_bytes > KEY_MAX_BYTES || meta_bytes > META_MAX_BYTES ||
    !Number.isSafeInteger(size_bytes) || !Number.isSafeInteger(value_position)
  ) return undefined;
  return SNAPSHOT_RECORD_BYTES + key_bytes + parent_bytes + meta_bytes;
}

/** Bytes of the record's head and text. */
export function recordHeadBytes(record: SnapshotRecord): number {
  return SNAPSHOT_RECORD_BYTES + record.key_bytes + record.parent_bytes +
    record.meta_bytes;
}

/** What a record calls its entry. */
export interface RecordText {
  readonly key: string;
  readonly parent: string | undefined;
  /** The metadata's value; `undefined` for none. */
  readonly meta: unknown;
}

// A byte order mark is text like any other: keys that differ stay different.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The text behind a record's head; `undefined` if its metadata is not JSON. */
export function decodeText(
  record: SnapshotRecord,
  bytes: Uint8Array,
): RecordText | undefined {
  let at = SNAPSHOT_RECORD_BYTES;
  const part = (length: number) => {
    const from = at;
    at += length;
    return decoder.decode(bytes.subarray(from, at));
  };
  const key = part(record.key_bytes);
  const parent = record.parent_bytes === 0
    ? undefined
    : part(record.parent_bytes);
  const meta = part(record.meta_bytes);
  try {
    return { key, parent, meta: meta === "" ? undefined : JSON.parse(meta) };
  } catch {
    return undefined;
  }
}
