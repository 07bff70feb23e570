/**
 * The index of a generation: a line for each entry that it has, with where its
 * record lies and how it was used. Records never change once they are written;
 * what changes of an entry is here, and written anew each time.
 *
 * @module
 */
import { SNAPSHOT_LINE, SNAPSHOT_LINE_BYTES } from "../layout.ts";

/** An entry of a generation. Positions and sizes are bytes, times ms since 1970. */
export interface Line {
  /** Of the record's head, in its file. */
  readonly position: number;
  /** Of the value, in the same file. */
  readonly value_position: number;
  readonly size_bytes: number;
  readonly sequence: number;
  readonly created_at: number;
  readonly last_access_at: number;
  readonly access_tick: number;
  /** 0: never. */
  readonly expires_at: number;
  readonly value_crc: number;
  readonly priority: number;
  readonly access_count: number;
  /** Index of the file in the manifest. */
  readonly file: number;
  /** First word of the key's hash. */
  readonly key_check: number;
  /** The same of its parent's key; 0 for none. */
  readonly parent_check: number;
}

const LENGTHS = ["position", "value_position", "size_bytes"] as const;
const COUNTS = [
  "sequence",
  "created_at",
  "last_access_at",
  "access_tick",
  "expires_at",
] as const;
const WORDS = [
  "value_crc",
  "access_count",
  "file",
  "key_check",
  "parent_check",
] as const;

export function encodeLines(lines: readonly Line[]): Uint8Array {
  const bytes = new Uint8Array(lines.length * SNAPSHOT_LINE_BYTES);
  const view = new DataView(bytes.buffer);
  lines.forEach((line, i) => {
    const at = i * SNAPSHOT_LINE_BYTES;
    for (const name of LENGTHS) {
      const value = line[name];
      view.setUint32(at + SNAPSHOT_LINE[name], value >>> 0, true);
      view.setUint32(at + SNAPSHOT_LINE[name] + 4, value / 2 ** 32, true);
    }
    for (const name of COUNTS) {
      view.setFloat64(at + SNAPSHOT_LINE[name], line[name], true);
    }
    for (const name of WORDS) {
      view.setUint32(at + SNAPSHOT_LINE[name], line[name], true);
    }
    view.setInt32(at + SNAPSHOT_LINE.priority, line.priority, true);
  });
  return bytes;
}

/** The lines; see `isSane`. */
export function decodeLines(bytes: Uint8Array): Line[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const count = Math.floor(bytes.length / SNAPSHOT_LINE_BYTES);
  return Array.from(
    { length: count },
    (_, i) => decodeLine(view, i * SNAPSHOT_LINE_BYTES),
  );
}

/** Whether a line can be right: its digest only says that it is whole. */
export function isSane(line: Line, files: number): boolean {
  return line.file < files &&
    [...LENGTHS, ...COUNTS].every((name) =>
      Number.isSafeInteger(line[name]) && line[name] >= 0
    );
}

function decodeLine(view: DataView, at: number): Line {
  const length = (name: typeof LENGTHS[number]) =>
    view.getUint32(at + SNAPSHOT_LINE[name], true) +
    view.getUint32(at + SNAPSHOT_LINE[name] + 4, true) * 2 ** 32;
  const count = (name: typeof COUNTS[number]) =>
    view.getFloat64(at + SNAPSHOT_LINE[name], true);
  const word = (name: typeof WORDS[number]) =>
    view.getUint32(at + SNAPSHOT_LINE[name], true);
  return {
    position: length("position"),
    value_position: length("value_position"),
    size_bytes: length("size_bytes"),
    sequence: count("sequence"),
    created_at: count("created_at"),
    last_access_at: count("last_access_at"),
    access_tick: count("access_tick"),
    expires_at: count("expires_at"),
    value_crc: word("value_crc"),
    priority: view.getInt32(at + SNAPSHOT_LINE.priority, true),
    access_count: word("access_count"),
    file: word("file"),
    key_check: word("key_check"),
    parent_check: word("parent_check"),
  };
}
