/**
 * The entries that a pool has now, and which of them a former generation has
 * already.
 *
 * @module
 */
import type { Core } from "../core.ts";
import type { EntryNumber } from "../entry_table.ts";
import { SNAPSHOT_RECORD_BYTES } from "../layout.ts";
import { isExpired, readSealed } from "../lookup.ts";
import type { Line } from "./lines.ts";
import type { DataFile } from "./manifest.ts";

/** An entry of the pool, as a line that has no place in a file yet. */
export interface Live
  extends Omit<Line, "file" | "position" | "value_position" | "value_crc"> {
  /** Not there if it is left to the persist. */
  readonly value_crc: number | undefined;
  readonly entry: EntryNumber;
  /** Of its record in the pool. */
  readonly generation: number;
  /** Of its key, as text. */
  readonly key_hash: string;
}

/** Sealed entries whose time is not over, the most recently used first. */
export function listLive(core: Core): Live[] {
  const { table } = core;
  const found: Live[] = [];
  for (let entry = 0; entry < table.count; entry++) {
    const live = readSealed(
      core,
      entry,
      () => isExpired(core, entry) ? undefined : describe(core, entry),
    );
    if (live) found.push(live);
  }
  return found.sort((a, b) =>
    b.access_tick - a.access_tick || b.sequence - a.sequence
  );
}

function describe(core: Core, entry: EntryNumber): Live {
  const { table } = core;
  const hash = table.keyHash(entry);
  return {
    entry,
    generation: table.generation(entry),
    key_hash: hash.join(),
    key_check: hash[0]!,
    sequence: table.real(entry, "sequence"),
    size_bytes: table.size_bytes(entry),
    created_at: table.real(entry, "created_at"),
    last_access_at: table.real(entry, "last_access_at"),
    access_tick: table.real(entry, "access_tick"),
    access_count: table.word(entry, "access_count"),
    value_crc: table.valueCrc(entry),
    priority: table.priority(entry),
    expires_at: table.real(entry, "expires_at"),
    parent_check: table.parentWord(entry),
  };
}

/** What an entry is found by, in the pool and in a former generation. */
export function nameOf({ sequence, key_check }: Live | Line): string {
  return `${sequence}.${key_check}`;
}

/** A live entry, and the line of the former generation that has its record. */
export interface Saved {
  readonly live: Live;
  readonly line: Line;
}

/**
 * Splits the live entries into those whose records are on disk and those that
 * are new. An entry never changes, so it is the same if it was made at the same
 * moment, as the same in order, under the same key, with the same bytes.
 */
export function matchSaved(
  entries: readonly Live[],
  lines: readonly Line[],
): { saved: Saved[]; fresh: Live[] } {
  const bySequence = new Map<string, Line>();
  for (const line of lines) bySequence.set(nameOf(line), line);
  const saved: Saved[] = [], fresh: Live[] = [];
  for (const live of entries) {
    const line = bySequence.get(nameOf(live));
    const same = line && line.created_at === live.created_at &&
      line.size_bytes === live.size_bytes &&
      line.value_crc === (live.value_crc ?? line.value_crc) &&
      line.priority === live.priority;
    // A value without a checksum in the pool has the one it was saved with: if it
    // is written anew, it must still be that.
    const { value_crc } = line ?? live;
    if (same) saved.push({ live: { ...live, value_crc }, line });
    else fresh.push(live);
  }
  return { saved, fresh };
}

/** More data files than this are made fewer. */
const FILES_MAX = 16;

/** Bytes that a record costs a file, about. */
function weight(size_bytes: number, records = 1): number {
  return size_bytes + records * SNAPSHOT_RECORD_BYTES;
}

/**
 * Data files that are worth writing anew: those of which more than so much is
 * dead, and, when there are too many, the smaller half of them.
 *
 * @returns indices into `files`.
 */
export function filesToFold(
  files: readonly DataFile[],
  saved: readonly Saved[],
  dead_percent: number,
): Set<number> {
  const alive = files.map(() => 0);
  for (const { line } of saved) {
    alive[line.file]! += weight(line.size_bytes);
  }
  const used = files.map((_, file) => file).filter((file) => alive[file]! > 0);
  const folded = new Set(used.filter((file) => {
    const { value_bytes, records } = files[file]!;
    const whole = weight(value_bytes, records);
    return (1 - alive[file]! / whole) * 100 > dead_percent;
  }));
  const left = used.filter((file) => !folded.has(file));
  if (left.length < FILES_MAX) return folded;
  left.sort((a, b) => alive[a]! - alive[b]!);
  for (const file of left.slice(0, left.length >> 1)) folded.add(file);
  return folded;
}
