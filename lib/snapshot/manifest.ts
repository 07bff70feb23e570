/**
 * A manifest says what one generation of a snapshot is: a line of JSON, a line
 * with the digest, and then the index and what the policy remembers, as bytes. It
 * is replaced in one step, so it is the old one or the new one.
 *
 * Version 1 had no index and one file; it is read, and no more written.
 *
 * @module
 */
import { createHash } from "node:crypto";
import type { Platform } from "../../ffi/platform.ts";
import {
  SNAPSHOT_LINE_BYTES,
  SNAPSHOT_VERSION,
  SNAPSHOT_VERSION_FIRST,
} from "../layout.ts";
import { decodeLines, encodeLines, type Line } from "./lines.ts";

/** A data file of a snapshot, in the same directory as the manifest. */
export interface DataFile {
  readonly name: string;
  readonly size_bytes: number;
  /** Written into it, whether they are still used or not. */
  readonly records: number;
  /** Of all values written into it. */
  readonly value_bytes: number;
  /** 32 hexadecimal digits that mark the file and each of its records. */
  readonly nonce: string;
}

/** What the pool was. Times are milliseconds since 1970. */
export interface PoolRecord {
  readonly name: string;
  readonly uuid: string;
  /** Permission bits of its segment. */
  readonly mode?: number;
  readonly size_bytes: number;
  readonly block_size_bytes: number;
  readonly max_entries: number;
  readonly policy: string;
  readonly tier: string;
  readonly low_percent: number;
  readonly namespace: string;
  readonly created_at?: number;
  readonly tick: number;
  readonly next_sequence: number;
  readonly hits: number;
  readonly misses: number;
  readonly puts: number;
  readonly evictions: number;
  readonly deletes: number;
  readonly recoveries?: number;
}

/** The line of JSON. */
interface Description {
  readonly format: "cortex-snapshot";
  readonly version: number;
  /** Goes up with every persist into the directory. */
  readonly generation: number;
  readonly created_at: number;
  readonly pool: PoolRecord;
  readonly files: readonly DataFile[];
  readonly entries: number;
  /** Of the values of those entries. */
  readonly value_bytes: number;
  readonly policy_bytes: number;
}

/** What one generation is. */
export interface Manifest extends Description {
  /** Empty in version 1, which has no index. */
  readonly lines: readonly Line[];
  /** What the eviction policy remembers; empty for nothing. */
  readonly policyState: Uint8Array;
}

/** What a manifest's bytes turned out to be, if they are none that can be used. */
export type Unusable =
  | { readonly state: "not ours" }
  | { readonly state: "damaged" }
  | { readonly state: "other version"; readonly version: unknown };

const encoder = new TextEncoder();
const NEWLINE = 0x0a;
const PREFIX = '{"format":"cortex-snapshot"';
const DATA_FILE = /^(?:base|delta)-([0-9]{1,15})-[0-9a-f]{8}\.cortex$/;

/** The generation that made a data file of that name; `undefined` if it is none. */
export function dataFileGeneration(name: string): number | undefined {
  const [, digits] = DATA_FILE.exec(name) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** @param kind `base` if it needs no other file. */
export function dataFileName(
  kind: "base" | "delta",
  generation: number,
  nonce: string,
): string {
  const number = String(generation).padStart(8, "0");
  return `${kind}-${number}-${nonce.slice(0, 8)}.cortex`;
}

export function encodeManifest(manifest: Manifest): Uint8Array {
  const { lines, policyState, ...description } = manifest;
  const line = encoder.encode(JSON.stringify(description));
  const index = encodeLines(lines);
  const digest = encoder.encode(`\n${sha256(line, index, policyState)}\n`);
  const bytes = new Uint8Array(
    line.length + digest.length + index.length + policyState.length,
  );
  let at = 0;
  for (const part of [line, digest, index, policyState]) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

function sha256(...parts: readonly Uint8Array[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

export function decodeManifest(
  platform: Pick<Platform, "crc32">,
  bytes: Uint8Array,
): Manifest | Unusable {
  const lineEnd = bytes.indexOf(NEWLINE);
  const line = bytes.subarray(0, lineEnd < 0 ? bytes.length : lineEnd);
  const text = new TextDecoder().decode(line);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { state: text.startsWith(PREFIX) ? "damaged" : "not ours" };
  }
  const { format, version } = (parsed ?? {}) as Partial<Description>;
  if (format !== "cortex-snapshot") return { state: "not ours" };
  const rest = bytes.subarray(line.length + 1);
  switch (version) {
    case SNAPSHOT_VERSION:
      return decodeCurrent(line, parsed as Description, rest);
    case SNAPSHOT_VERSION_FIRST:
      return decodeFirst(platform, line, parsed as FirstManifest, rest);
    default:
      return Number.isSafeInteger(version) && version! > SNAPSHOT_VERSION
        ? { state: "other version", version }
        : { state: "damaged" };
  }
}

function decodeCurrent(
  line: Uint8Array,
  description: Description,
  rest: Uint8Array,
): Manifest | Unusable {
  const digestEnd = rest.indexOf(NEWLINE);
  const digest = new TextDecoder().decode(rest.subarray(0, digestEnd));
  const tail = rest.subarray(digestEnd + 1);
  if (
    digestEnd < 0 || sha256(line, tail) !== digest ||
    !isDescription(description)
  ) return { state: "damaged" };
  const index_bytes = description.entries * SNAPSHOT_LINE_BYTES;
  if (tail.length !== index_bytes + description.policy_bytes) {
    return { state: "damaged" };
  }
  return withIndex(
    description,
    tail.subarray(0, index_bytes),
    tail.subarray(index_bytes),
  );
}

/** The index is only taken apart when it is wanted: it may be long. */
function withIndex(
  description: Description,
  index: Uint8Array,
  policyState: Uint8Array,
): Manifest {
  let lines: readonly Line[] | undefined;
  return {
    ...description,
    policyState,
    get lines() {
      return lines ??= decodeLines(index);
    },
  };
}

/** A manifest of version 1: its checksum was a CRC-32, its only file a base. */
interface FirstManifest {
  readonly format: "cortex-snapshot";
  readonly version: number;
  readonly generation: number;
  readonly created_at: number;
  readonly pool: PoolRecord;
  readonly file: DataFile;
}

function decodeFirst(
  platform: Pick<Platform, "crc32">,
  line: Uint8Array,
  first: FirstManifest,
  rest: Uint8Array,
): Manifest | Unusable {
  const checksum = platform.crc32(line).toString(16).padStart(8, "0");
  const [found] = new TextDecoder().decode(rest).split("\n");
  if (checksum !== found || !first.file) return { state: "damaged" };
  const { file, ...common } = first;
  const manifest: Manifest = {
    ...common,
    files: [file],
    entries: file.records,
    value_bytes: file.value_bytes,
    policy_bytes: 0,
    lines: [],
    policyState: new Uint8Array(),
  };
  return isDescription(manifest) ? manifest : { state: "damaged" };
}

/** Whether every field has its type: a checksum only says that it is whole. */
function isDescription(value: Description): boolean {
  const { generation, created_at, pool, files, entries } = value;
  if (!pool || !Array.isArray(files)) return false;
  return [
    generation,
    created_at,
    entries,
    value.value_bytes,
    value.policy_bytes,
    pool.mode ?? 0o600,
    pool.size_bytes,
    pool.block_size_bytes,
    pool.max_entries,
    pool.low_percent,
    pool.created_at ?? 0,
    pool.tick,
    pool.next_sequence,
    pool.hits,
    pool.misses,
    pool.puts,
    pool.evictions,
    pool.deletes,
    pool.recoveries ?? 0,
  ].every(isCount) &&
    [pool.name, pool.uuid, pool.policy, pool.tier, pool.namespace]
      .every((text) => typeof text === "string") &&
    files.every(isDataFile);
}

function isDataFile(file: Partial<DataFile> | undefined): boolean {
  return [file?.size_bytes, file?.records, file?.value_bytes].every(isCount) &&
    typeof file?.nonce === "string" && /^[0-9a-f]{32}$/.test(file.nonce) &&
    // Such a name cannot lead out of the directory.
    typeof file.name === "string" && DATA_FILE.test(file.name);
}

/** So far below 2^53 that what is counted on from it never gets there. */
const COUNT_MAX = 2 ** 52;

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 &&
    (value as number) < COUNT_MAX;
}
