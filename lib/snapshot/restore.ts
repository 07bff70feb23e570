/**
 * Restoring: a snapshot to a new pool. Entries can be used as they come, the
 * most recently used first.
 *
 * A damaged record costs that record; a file of another length than its
 * manifest says is refused, unless the caller asks for what is whole of it.
 *
 * @module
 */
import type { Fd, Platform } from "../../ffi/platform.ts";
import {
  CorruptError,
  CortexError,
  NoSpaceError,
  onHost,
  UsageError,
} from "../errors.ts";
import type { Tier } from "../header.ts";
import { fromHex } from "../hex.ts";
import { SNAPSHOT_ALIGN_BYTES, SNAPSHOT_HEAD_BYTES } from "../layout.ts";
import { isPolicyName } from "../policy/mod.ts";
import { Pool } from "../pool.ts";
import { Reservation } from "../reservation.ts";
import { restoreTick } from "../tick.ts";
import { type Manifest, readManifest, showSnapshot } from "./manifest.ts";
import {
  decodeRecord,
  isHead,
  padding,
  RECORD_HEAD_MAX_BYTES,
  recordHeadBytes,
  type SnapshotRecord,
  startsWith,
} from "./record.ts";
import type { Progress } from "./save.ts";

/** How {@linkcode restoreSteps} restores. */
export interface RestoreOptions {
  /** Take what is whole of a truncated snapshot, too. */
  readonly partial?: boolean | undefined;
}

/** What a restore did. */
export interface RestoreReport {
  readonly path: string;
  readonly generation: number;
  readonly entries: number;
  /** Of all values. */
  readonly value_bytes: number;
  /** Entries that the snapshot should have, but has no more. */
  readonly damaged: number;
  /** Entries that found no room. */
  readonly left_out: number;
}

/**
 * Restores a snapshot to a new pool, step by step: each step loads one entry.
 * If it fails or is ended early, the pool is destroyed again.
 *
 * @throws {ExistsError} if a pool of that name exists.
 * @throws {NotFoundError} if there is no snapshot.
 * @throws {CorruptError} if it is damaged, of another version, or not one of ours.
 */
export function* restoreSteps(
  platform: Platform,
  name: string,
  directory: string,
  options: RestoreOptions = {},
): Generator<Progress, RestoreReport> {
  const manifest = readManifest(platform, directory, "restore");
  const reader = Reader.open(platform, directory, manifest, options);
  try {
    const pool = createLike(platform, name, manifest, directory);
    let whole = false;
    try {
      const report = yield* load(pool, reader, manifest, directory);
      whole = true;
      return report;
    } finally {
      if (!whole) discard(pool);
      pool.close();
    }
  } finally {
    reader.close();
  }
}

/** Removes the pool that we made, unless somebody else did already. */
function discard(pool: Pool): void {
  try {
    pool.destroy();
  } catch (error) {
    if (!(error instanceof CortexError)) throw error;
  }
}

/** An empty pool with the snapshot's geometry, policy and counts. */
function createLike(
  platform: Platform,
  name: string,
  manifest: Manifest,
  directory: string,
): Pool {
  const { pool: was } = manifest;
  const { policy } = was;
  if (!isPolicyName(policy)) {
    throw new CorruptError(
      "restore",
      showSnapshot(directory),
      `this cortex has no policy ${JSON.stringify(policy)}`,
    );
  }
  const pool = asMade(directory, () =>
    Pool.create(name, {
      platform,
      mode: was.mode ?? 0o600,
      size: was.size_bytes,
      blockSize: was.block_size_bytes,
      maxEntries: was.max_entries,
      policy,
      tier: was.tier as Tier,
      namespace: was.namespace,
    }));
  const { core } = pool;
  core.change("restore", () => {
    core.header.set("loading", 1);
    restoreTick(core.control.u32, was.tick);
    core.header.setStat("next_sequence", Math.max(1, was.next_sequence));
    for (const name of ["hits", "misses", "evictions", "deletes"] as const) {
      core.header.setStat(name, was[name]);
    }
  });
  return pool;
}

/** What no pool can be like was not one: the manifest is wrong, not the user. */
function asMade<T>(directory: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new CorruptError(
      "restore",
      showSnapshot(directory),
      "its manifest tells of a pool that cannot be",
      error.message,
    );
  }
}

function* load(
  pool: Pool,
  reader: Reader,
  manifest: Manifest,
  directory: string,
): Generator<Progress, RestoreReport> {
  const { records, value_bytes } = manifest.file;
  const keys = new Set<string>();
  let loaded = 0, left_out = 0, done_bytes = 0;
  for (const found of reader.records()) {
    const outcome = loadRecord(pool, reader, found);
    if (outcome === "loaded") {
      loaded++;
      keys.add(found.key); // one that was replaced during the save is there twice
      done_bytes += found.record.size_bytes;
    } else if (outcome === "left out") left_out++;
    yield { done_bytes, total_bytes: value_bytes };
  }
  const entries = keys.size;
  const damaged = Math.max(0, records - loaded - left_out);
  if (entries === 0 && damaged > 0) {
    throw new CorruptError(
      "restore",
      showSnapshot(directory),
      `all of its ${records} entries are damaged (checksum)`,
    );
  }
  settle(pool, manifest);
  return {
    path: directory,
    generation: manifest.generation,
    entries,
    value_bytes: done_bytes,
    damaged,
    left_out,
  };
}

/** The pool's counts are those of the snapshot, not of its loading. */
function settle(pool: Pool, manifest: Manifest): void {
  const { core } = pool;
  core.change("restore", () => {
    core.header.set("loading", 0);
    core.header.setStat("puts", manifest.pool.puts);
    core.header.setStat("last_persist_at", manifest.created_at);
  });
}

type Outcome = "loaded" | "damaged" | "left out";

function loadRecord(pool: Pool, reader: Reader, found: Found): Outcome {
  const { record, key, parent, meta } = found;
  const { core } = pool;
  const [low, high] = core.keys.namespaceHash;
  const ofNamespace = record.namespaceHash[0] === low &&
    record.namespaceHash[1] === high;
  if (!ofNamespace) return "damaged";
  const { tokens, priority } = record;
  try {
    using slot = Reservation.make(
      core,
      key,
      record.size_bytes,
      { parent, tokens, priority, meta },
      {
        created_at: record.created_at,
        last_access_at: record.last_access_at,
        access_tick: record.access_tick,
        access_count: record.access_count,
        sequence: record.sequence,
      },
    );
    if (!reader.readValue(found, slot.views)) return "damaged";
    slot.seal();
    return "loaded";
  } catch (error) {
    if (error instanceof NoSpaceError) return "left out";
    if (error instanceof UsageError) return "damaged"; // no entry can be like that
    throw error;
  }
}

/** A record of the file, and where its value is. */
interface Found {
  readonly record: SnapshotRecord;
  readonly key: string;
  readonly parent: string | undefined;
  readonly meta: unknown;
  readonly value_at: number;
}

const UNREADABLE = Symbol("metadata that is not JSON");

function parseMeta(text: string): unknown {
  try {
    return text === "" ? undefined : JSON.parse(text);
  } catch {
    return UNREADABLE;
  }
}

const CHUNK_BYTES = 1 << 20;

/** Reads a snapshot's file, skipping over what is damaged. */
class Reader {
  readonly #platform: Platform;
  readonly #fd: Fd;
  readonly #size_bytes: number;
  readonly #nonce: Uint8Array;
  readonly #what: string;
  /** A stretch of the file, for heads and small values. */
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #chunkAt = 0;
  #chunkLength = 0;

  private constructor(
    platform: Platform,
    fd: Fd,
    manifest: Manifest,
    what: string,
  ) {
    this.#platform = platform;
    this.#fd = fd;
    this.#size_bytes = platform.files.size(fd);
    this.#nonce = fromHex(manifest.file.nonce);
    this.#what = what;
  }

  static open(
    platform: Platform,
    directory: string,
    manifest: Manifest,
    options: RestoreOptions,
  ): Reader {
    const what = showSnapshot(directory);
    const path = `${directory}/${manifest.file.name}`;
    if (!platform.files.exists(path)) {
      throw new CorruptError(
        "restore",
        what,
        `its file ${manifest.file.name} is missing`,
      );
    }
    const fd = onHost(
      "restore",
      what,
      () => platform.files.open(path, "r"),
    );
    const reader = new Reader(platform, fd, manifest, what);
    try {
      reader.#expectWhole(manifest, options);
      return reader;
    } catch (error) {
      reader.close();
      throw error;
    }
  }

  close(): void {
    this.#platform.files.close(this.#fd);
  }

  #expectWhole(manifest: Manifest, options: RestoreOptions): void {
    const { size_bytes, name } = manifest.file;
    if (this.#size_bytes !== size_bytes && !options.partial) {
      throw new CorruptError(
        "restore",
        this.#what,
        `${name} has ${this.#size_bytes} bytes, not ${size_bytes}`,
        "Add --partial to restore what is whole of it",
      );
    }
    const head = this.#at(0, SNAPSHOT_HEAD_BYTES);
    if (!isHead(this.#platform, head, this.#nonce) && !options.partial) {
      throw new CorruptError(
        "restore",
        this.#what,
        `the head of ${name} is damaged`,
        "Add --partial to restore what is whole of it",
      );
    }
  }

  /** Every whole record, in the order of the file. */
  *records(): Generator<Found> {
    let at = SNAPSHOT_HEAD_BYTES;
    while (at < this.#size_bytes) {
      const found = this.#recordAt(at);
      if (!found || !this.#holds(found)) {
        at = this.#nextMark(at + SNAPSHOT_ALIGN_BYTES);
        continue;
      }
      yield found;
      const { size_bytes } = found.record;
      const length = found.value_at + size_bytes - at;
      at += length + padding(length);
    }
  }

  /** Whether the value ends within the file. */
  #holds({ record, value_at }: Found): boolean {
    return value_at + record.size_bytes <= this.#size_bytes;
  }

  /**
   * Reads a value into the views.
   *
   * @returns whether it is what its checksum says.
   */
  readValue(
    { record, value_at }: Found,
    views: readonly Uint8Array[],
  ): boolean {
    let at = value_at, crc = 0;
    for (const view of views) {
      const length = onHost(
        "restore",
        this.#what,
        () => this.#read(view, at),
      );
      if (length < view.length) return false;
      crc = this.#platform.crc32(view, crc);
      at += view.length;
    }
    return crc === record.value_crc;
  }

  /** From the chunk if it is there: small values then cost no call. */
  #read(into: Uint8Array, at: number): number {
    const from = at - this.#chunkAt;
    if (from >= 0 && from + into.length <= this.#chunkLength) {
      into.set(this.#chunk.subarray(from, from + into.length));
      return into.length;
    }
    return this.#platform.files.read(this.#fd, into, at);
  }

  #recordAt(at: number): Found | undefined {
    const bytes = this.#at(at, RECORD_HEAD_MAX_BYTES);
    const record = decodeRecord(this.#platform, this.#nonce, bytes);
    if (!record) return undefined;
    const value_at = at + recordHeadBytes(record);
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const text_at = recordHeadBytes(record) - record.meta_bytes -
      record.parent_bytes - record.key_bytes;
    const part = (from: number, length: number) =>
      decoder.decode(bytes.subarray(from, from + length));
    const parent_at = text_at + record.key_bytes;
    const meta_at = parent_at + record.parent_bytes;
    const meta = parseMeta(part(meta_at, record.meta_bytes));
    if (meta === UNREADABLE) return undefined;
    return {
      record,
      value_at,
      meta,
      key: part(text_at, record.key_bytes),
      parent: record.parent_bytes === 0
        ? undefined
        : part(parent_at, record.parent_bytes),
    };
  }

  /** The next place from `at` on that has the mark of a record, or the end. */
  #nextMark(at: number): number {
    for (; at < this.#size_bytes; at += SNAPSHOT_ALIGN_BYTES) {
      const bytes = this.#at(at, this.#nonce.length);
      if (startsWith(bytes, this.#nonce)) return at;
    }
    return this.#size_bytes;
  }

  /** Up to `length` bytes of the file from `at` on; valid until the next call. */
  #at(at: number, length: number): Uint8Array {
    const end = Math.min(at + length, this.#size_bytes);
    if (at < this.#chunkAt || end > this.#chunkAt + this.#chunkLength) {
      this.#chunkAt = at;
      this.#chunkLength = onHost(
        "restore",
        this.#what,
        () => this.#platform.files.read(this.#fd, this.#chunk, at),
      );
    }
    const from = at - this.#chunkAt;
    return this.#chunk.subarray(
      from,
      Math.min(from + length, this.#chunkLength),
    );
  }
}
