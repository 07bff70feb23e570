/**
 * Looking at snapshots, proving that they are whole, and removing old ones.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { onHost } from "../errors.ts";
import { SNAPSHOT_RECORD_BYTES, SnapshotCodec } from "../layout.ts";
import type { DataReader, Found } from "./data_reader.ts";
import { showSnapshot } from "./directory.ts";
import {
  findIncomplete,
  type Generation,
  lockDirectory,
  newest,
  readCatalogue,
  retained,
  sweep,
  type Swept,
} from "./generations.ts";
import type { Line } from "./lines.ts";
import type { Manifest, PoolRecord } from "./manifest.ts";
import type { Progress } from "../progress.ts";
import { Source } from "./source.ts";
import { showKey } from "../key.ts";

/** A generation, seen from outside. Times are milliseconds since 1970. */
export interface GenerationInfo {
  readonly generation: number;
  /** Format version. */
  readonly version: number;
  readonly created_at: number;
  readonly entries: number;
  /** Of the entries' values. */
  readonly value_bytes: number;
  /** Of its data files, which former generations may share. */
  readonly file_bytes: number;
  /** What is wrong with its data files, or `null`. Their contents were not read. */
  readonly problem: string | null;
  readonly pool: PoolRecord;
  readonly files: readonly FileInfo[];
}

/** A data file of a generation. */
export interface FileInfo {
  readonly name: string;
  readonly size_bytes: number;
  readonly records: number;
  /** Records of it that the generation still has. */
  readonly live_records: number;
  /** Share of it that is of no more use to the generation: 0 to 1. */
  readonly dead_share: number;
}

/** What {@linkcode listGenerations} found. */
export interface SnapshotInfo {
  readonly path: string;
  /** The newest first. */
  readonly generations: readonly GenerationInfo[];
  /** Manifests that are damaged. */
  readonly damaged: readonly string[];
}

/** @throws {NotFoundError} if there is no snapshot. */
export function listGenerations(
  platform: Platform,
  directory: string,
): SnapshotInfo {
  const catalogue = readCatalogue(platform, directory, "read");
  return {
    path: directory,
    generations: catalogue.generations.map((generation) =>
      describe(platform, directory, generation)
    ),
    damaged: catalogue.damaged,
  };
}

function describe(
  platform: Platform,
  directory: string,
  { manifest }: Generation,
): GenerationInfo {
  const { generation, version, created_at, entries, value_bytes } = manifest;
  return {
    generation,
    version,
    created_at,
    entries,
    value_bytes,
    file_bytes: manifest.files.reduce((sum, file) => sum + file.size_bytes, 0),
    problem: findIncomplete(platform, directory, manifest) ?? null,
    pool: manifest.pool,
    files: describeFiles(manifest),
  };
}

function describeFiles({ files, lines, version }: Manifest): FileInfo[] {
  return files.map(({ name, size_bytes, records, value_bytes }, number) => {
    const live = lines.filter(({ file }) => file === number);
    const live_records = version === 1 ? records : live.length;
    const live_bytes = version === 1
      ? value_bytes
      : live.reduce((sum, line) => sum + line.size_bytes, 0);
    const weight = (bytes: number, count: number) =>
      bytes + count * SNAPSHOT_RECORD_BYTES;
    const whole = weight(value_bytes, records);
    const dead_share = whole === 0
      ? 0
      : 1 - weight(live_bytes, live_records) / whole;
    return { name, size_bytes, records, live_records, dead_share };
  });
}

/** What {@linkcode verifySteps} found. */
export interface VerifyReport {
  readonly path: string;
  readonly ok: boolean;
  readonly generation: number;
  /** That are whole. */
  readonly entries: number;
  readonly value_bytes: number;
  /** A sentence each. */
  readonly problems: readonly string[];
}

/**
 * Reads a whole generation and holds every head and value against its checksum,
 * step by step: each step reads one entry.
 *
 * @throws {CorruptError} if no generation can be read at all.
 */
export function* verifySteps(
  platform: Platform,
  directory: string,
  wanted?: number,
): Generator<Progress, VerifyReport> {
  using source = Source.open(platform, directory, "verify", {
    generation: wanted,
  });
  const { manifest, lines, readers } = source;
  const problems: string[] = [...source.passedOver];
  if (source.lost > 0) problems.push(`${source.lost} records are damaged`);
  const buffer = new Uint8Array(1 << 20);
  const total_bytes = lines.reduce((sum, line) => sum + line.size_bytes, 0);
  let entries = 0, value_bytes = 0, done_bytes = 0;
  for (const line of [...lines].sort(byPlace)) {
    const problem = findDamage(platform, readers[line.file]!, line, buffer);
    if (problem) problems.push(problem);
    else {
      entries++;
      value_bytes += line.size_bytes;
    }
    done_bytes += line.size_bytes;
    yield { done_bytes, total_bytes };
  }
  return {
    path: directory,
    ok: problems.length === 0,
    generation: manifest.generation,
    entries,
    value_bytes,
    problems,
  };
}

const byPlace = (a: Line, b: Line) =>
  a.file - b.file || a.value_position - b.value_position;

function findDamage(
  platform: Platform,
  reader: DataReader,
  line: Line,
  buffer: Uint8Array,
): string | undefined {
  const found = reader.recordOf(line);
  const place = `${reader.file.name} at ${line.position}`;
  if (!found) return `the record in ${place} is damaged`;
  if (hasItsChecksum(platform, reader, found, buffer)) return undefined;
  return `the value of entry ${showKey(found.text.key)} in ${place} is damaged`;
}

function hasItsChecksum(
  platform: Platform,
  reader: DataReader,
  { record }: Found,
  buffer: Uint8Array,
): boolean {
  const { value_position, size_bytes, value_crc, codec } = record;
  let crc = 0;
  if (codec === SnapshotCodec.PLAIN) {
    for (let done = 0; done < size_bytes; done += buffer.length) {
      const part = buffer.subarray(
        0,
        Math.min(buffer.length, size_bytes - done),
      );
      if (!reader.readPlain(value_position + done, [part])) return false;
      crc = platform.crc32(part, crc);
    }
    return crc === value_crc;
  }
  for (const piece of reader.readPieces(value_position, size_bytes)) {
    const raw = piece && reader.decompress(piece);
    if (!raw) return false;
    crc = platform.crc32(raw, crc);
  }
  return crc === value_crc;
}

/** What {@linkcode prune} did. */
export interface PruneReport extends Swept {
  readonly path: string;
  /** Generations that are left. */
  readonly generations: readonly number[];
}

/**
 * Removes all but the newest generation and `keep` former ones, and whatever
 * files nobody needs. The last one of another pool of that name stays as long as
 * any former one does.
 *
 * @throws {BusyError} if somebody saves into the directory.
 */
export function prune(
  platform: Platform,
  directory: string,
  keep: number,
  lockTimeout_ms = 0,
): PruneReport {
  const what = showSnapshot(directory);
  readCatalogue(platform, directory, "prune"); // says if there is none
  const lock = lockDirectory(platform, directory, "prune", lockTimeout_ms);
  try {
    const catalogue = readCatalogue(platform, directory, "prune");
    newest(catalogue, directory, "prune"); // says if none is whole
    const { generations } = catalogue;
    const kept = keep === 0
      ? generations.slice(0, 1)
      : retained(generations, keep, () => true);
    const swept = onHost(
      "prune",
      what,
      () => sweep(platform, directory, lock, kept),
    );
    return {
      path: directory,
      generations: kept.map(({ manifest }) => manifest.generation),
      ...swept,
    };
  } finally {
    platform.files.close(lock);
  }
}
