/**
 * The manifest: one line of JSON that says what a snapshot is, and one line with
 * its checksum. It is replaced in one step, so it is the old one or the new one.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { CorruptError, isOsError, NotFoundError, onHost } from "../errors.ts";
import { SNAPSHOT_VERSION } from "../layout.ts";

/** What a snapshot is. Times are milliseconds since 1970. */
export interface Manifest {
  readonly format: "cortex-snapshot";
  readonly version: number;
  /** Goes up with every persist into the directory. */
  readonly generation: number;
  readonly created_at: number;
  readonly pool: PoolRecord;
  /** The file that holds the records, in the same directory. */
  readonly file: {
    readonly name: string;
    readonly size_bytes: number;
    readonly records: number;
    /** Of all values. */
    readonly value_bytes: number;
    /** 32 hexadecimal digits that mark the file and each of its records. */
    readonly nonce: string;
  };
}

/** What the pool was. */
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
  readonly tick: number;
  readonly next_sequence: number;
  readonly hits: number;
  readonly misses: number;
  readonly puts: number;
  readonly evictions: number;
  readonly deletes: number;
}

const NAME = "MANIFEST";
const SIZE_MAX_BYTES = 1 << 20;
const FILE_NAME = /^base-[0-9]+-[0-9a-f]+\.cortex$/;

/** How messages call a snapshot. */
export function showSnapshot(directory: string): string {
  return `snapshot ${JSON.stringify(directory)}`;
}

function checksum(platform: Platform, line: string): string {
  const crc = platform.crc32(new TextEncoder().encode(line));
  return crc.toString(16).padStart(8, "0");
}

/** Replaces the manifest in one step; on disk when this returns. */
export function writeManifest(
  platform: Platform,
  directory: string,
  manifest: Manifest,
): void {
  const { files } = platform;
  const line = JSON.stringify(manifest);
  const text = `${line}\n${checksum(platform, line)}\n`;
  const temporary = `${directory}/${NAME}.${manifest.file.nonce}.tmp`;
  try {
    const fd = files.open(temporary, "w");
    try {
      files.write(fd, new TextEncoder().encode(text), 0);
      files.sync(fd);
    } finally {
      files.close(fd);
    }
    files.rename(temporary, `${directory}/${NAME}`);
  } catch (error) {
    if (files.exists(temporary)) files.remove(temporary);
    throw error;
  }
}

/** What a manifest's text turned out to be, if it is none that can be used. */
type Unusable = "not ours" | "damaged" | { readonly version: unknown };

function parse(platform: Platform, text: string): Manifest | Unusable {
  const [line = "", crc = ""] = text.split("\n");
  let parsed: unknown;
  try {
    parsed = JSON.parse(line);
  } catch {
    return line.startsWith('{"format":"cortex-snapshot"')
      ? "damaged"
      : "not ours";
  }
  const { format, version } = (parsed ?? {}) as Partial<Manifest>;
  if (format !== "cortex-snapshot") return "not ours";
  if (version !== SNAPSHOT_VERSION) return { version };
  const whole = crc === checksum(platform, line) && isManifest(parsed);
  return whole ? parsed as Manifest : "damaged";
}

function refusal(what: Unusable, directory: string, verb: string) {
  const snapshot = showSnapshot(directory);
  if (what === "not ours") {
    return new CorruptError(verb, snapshot, "its manifest is not one of ours");
  }
  if (what === "damaged") {
    return new CorruptError(
      verb,
      snapshot,
      "its manifest is damaged (checksum)",
    );
  }
  return new CorruptError(
    verb,
    snapshot,
    `it has format version ${what.version}, this cortex speaks version ${SNAPSHOT_VERSION}`,
    "Use the cortex that made it",
  );
}

const isUsable = (what: Manifest | Unusable): what is Manifest =>
  typeof what === "object" && "format" in what;

/**
 * Reads and checks the manifest of a directory.
 *
 * @throws {NotFoundError} if there is no snapshot.
 * @throws {CorruptError} if it is damaged, of another version, or not one of ours.
 */
export function readManifest(
  platform: Platform,
  directory: string,
  verb: string,
): Manifest {
  const found = parse(platform, readText(platform, directory, verb));
  if (isUsable(found)) return found;
  throw refusal(found, directory, verb);
}

/**
 * The manifest that a save is going to replace, if there is one. One of ours that
 * is damaged may be replaced.
 *
 * @throws {CorruptError} if it is of another version, or not one of ours.
 */
export function readFormerManifest(
  platform: Platform,
  directory: string,
): Manifest | undefined {
  let text: string;
  try {
    text = readText(platform, directory, "persist");
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
  const found = parse(platform, text);
  if (isUsable(found)) return found;
  if (found === "damaged") return undefined;
  throw refusal(found, directory, "persist");
}

function readText(
  platform: Platform,
  directory: string,
  verb: string,
): string {
  const { files } = platform;
  return onHost(verb, showSnapshot(directory), () => {
    try {
      const fd = files.open(`${directory}/${NAME}`, "r");
      try {
        const bytes = new Uint8Array(Math.min(files.size(fd), SIZE_MAX_BYTES));
        const length = files.read(fd, bytes, 0);
        return new TextDecoder().decode(bytes.subarray(0, length));
      } finally {
        files.close(fd);
      }
    } catch (error) {
      throw missing(directory, verb, error);
    }
  });
}

function missing(directory: string, verb: string, error: unknown): unknown {
  if (isOsError(error, "ENOENT")) {
    return new NotFoundError(
      verb,
      showSnapshot(directory),
      "there is none",
      "Make one: cortex cache persist NAME",
    );
  }
  if (isOsError(error, "ENOTDIR")) {
    return new CorruptError(
      verb,
      showSnapshot(directory),
      "it is not a snapshot: those are directories",
    );
  }
  return error;
}

/** The names of snapshots' files, whole or in the making. */
export function isOurFile(name: string): boolean {
  return FILE_NAME.test(name.replace(/\.tmp$/, "")) ||
    /^MANIFEST\.[0-9a-f]{32}\.tmp$/.test(name);
}

/** Whether every field has its type: a checksum only says that it is whole. */
function isManifest(value: unknown): value is Manifest {
  const { generation, created_at, pool, file } = value as Partial<Manifest>;
  if (!pool || !file) return false;
  return isCount(generation) && isCount(created_at) &&
    [pool.name, pool.uuid, pool.policy, pool.tier, pool.namespace, file.nonce]
      .every((text) => typeof text === "string") &&
    [
      pool.mode ?? 0o600,
      pool.size_bytes,
      pool.block_size_bytes,
      pool.max_entries,
      pool.low_percent,
      pool.tick,
      pool.next_sequence,
      pool.hits,
      pool.misses,
      pool.puts,
      pool.evictions,
      pool.deletes,
      file.size_bytes,
      file.records,
      file.value_bytes,
    ].every(isCount) &&
    /^[0-9a-f]{32}$/.test(file.nonce) &&
    FILE_NAME.test(file.name); // so that it cannot lead out of the directory
}

/** So far below 2^53 that what is counted on from it never gets there. */
const COUNT_MAX = 2 ** 52;

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 &&
    (value as number) < COUNT_MAX;
}
