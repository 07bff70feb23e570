/**
 * Reads data files: heads and small values by way of a buffer, large values
 * straight into the pool.
 *
 * @module
 */
import type { Fd, Platform } from "../../ffi/platform.ts";
import { isOsError, onHost } from "../errors.ts";
import { fromHex } from "../hex.ts";
import {
  SNAPSHOT_ALIGN_BYTES,
  SNAPSHOT_HEAD_BYTES,
  SNAPSHOT_PIECE,
  SNAPSHOT_PIECE_BYTES,
  SnapshotCodec,
} from "../layout.ts";
import type { Line } from "./lines.ts";
import type { DataFile } from "./manifest.ts";
import {
  align,
  decodeRecord,
  decodeText,
  isHead,
  RECORD_HEAD_MAX_BYTES,
  recordHeadBytes,
  type RecordText,
  type SnapshotRecord,
  startsWith,
} from "./record.ts";

/** A record that is whole, and what it calls its entry. */
export interface Found {
  readonly record: SnapshotRecord;
  readonly text: RecordText;
}

const CHUNK_BYTES = 256 << 10;

/** A stretch of a file that was read last. */
class Chunk {
  readonly #bytes = new Uint8Array(CHUNK_BYTES);
  #at = 0;
  #length = 0;

  /** Up to `length` bytes from `at` on; valid until the next call. */
  read(
    at: number,
    length: number,
    fill: (into: Uint8Array, at: number) => number,
  ): Uint8Array {
    if (at < this.#at || at + length > this.#at + this.#length) {
      this.#at = at;
      this.#length = fill(this.#bytes, at);
    }
    const from = at - this.#at;
    return this.#bytes.subarray(from, Math.min(from + length, this.#length));
  }
}

/** One data file, open for reading. */
export class DataReader {
  readonly size_bytes: number;
  readonly file: DataFile;
  readonly #platform: Platform;
  readonly #path: string;
  readonly #verb: string;
  readonly #fd: Fd;
  readonly #nonce: Uint8Array;
  // Heads lie apart from values: each has its own stretch.
  readonly #heads = new Chunk();
  readonly #values = new Chunk();
  #directFd: Fd | undefined;

  /** @throws {NotFoundError} if the file is missing. */
  constructor(
    platform: Platform,
    directory: string,
    file: DataFile,
    verb: string,
  ) {
    this.file = file;
    this.#platform = platform;
    this.#path = `${directory}/${file.name}`;
    this.#verb = verb;
    this.#fd = this.#onDisk(() => platform.files.open(this.#path, "r"));
    this.size_bytes = this.#onDisk(() => platform.files.size(this.#fd));
    this.#nonce = fromHex(file.nonce);
  }

  close(): void {
    const { files } = this.#platform;
    files.close(this.#fd);
    if (this.#directFd !== undefined) files.close(this.#directFd);
  }

  /** For transfers: past the page cache where that is possible. */
  get directFd(): Fd {
    return this.#directFd ??= this.#onDisk(() =>
      this.#platform.files.open(this.#path, "direct r")
    );
  }

  /** Whether the file begins as its manifest says. */
  hasHead(): boolean {
    const head = this.#heads.read(0, SNAPSHOT_HEAD_BYTES, this.#fill);
    return isHead(this.#platform, head, this.#nonce);
  }

  /** The record that a line tells of, or `undefined` if it is damaged. */
  recordOf(line: Line): Found | undefined {
    const found = this.#recordAt(line.position);
    const same = found && found.record.sequence === line.sequence &&
      found.record.size_bytes === line.size_bytes &&
      found.record.value_crc === line.value_crc &&
      found.record.value_position === line.value_position;
    return same ? found : undefined;
  }

  /** Reads a value that is stored as it is; whether all of it was there. */
  readPlain(position: number, views: readonly Uint8Array[]): boolean {
    let at = position;
    for (const view of views) {
      if (this.#read(view, at) < view.length) return false;
      at += view.length;
    }
    return true;
  }

  /** The pieces of a compressed value, or `undefined` if one is damaged. */
  *readPieces(
    position: number,
    size_bytes: number,
  ): Generator<{ stored: Uint8Array; size_bytes: number } | undefined> {
    let at = position;
    for (let left = size_bytes; left > 0;) {
      const head = new Uint8Array(SNAPSHOT_PIECE_BYTES);
      const view = new DataView(head.buffer);
      const whole = this.#read(head, at) === head.length;
      const stored_bytes = view.getUint32(SNAPSHOT_PIECE.stored_bytes, true);
      const piece_bytes = view.getUint32(SNAPSHOT_PIECE.size_bytes, true);
      at += head.length;
      const sane = whole && piece_bytes > 0 && piece_bytes <= left &&
        at + stored_bytes <= this.size_bytes;
      if (!sane) return yield undefined;
      const stored = new Uint8Array(stored_bytes);
      this.#read(stored, at);
      const crc = view.getUint32(SNAPSHOT_PIECE.crc, true);
      if (this.#platform.crc32(stored) !== crc) return yield undefined;
      yield { stored, size_bytes: piece_bytes };
      at += stored_bytes;
      left -= piece_bytes;
    }
  }

  /** What is in a piece, or `undefined` if it is damaged. */
  decompress(
    piece: { stored: Uint8Array; size_bytes: number },
  ): Uint8Array | undefined {
    try {
      return this.#platform.decompress(piece.stored, piece.size_bytes);
    } catch (error) {
      if (isOsError(error, "EBADMSG")) return undefined;
      throw error;
    }
  }

  /**
   * Reads a value of any codec into the views.
   *
   * @returns false if it cannot be right; a checksum says whether it is.
   */
  readValue(record: SnapshotRecord, views: readonly Uint8Array[]): boolean {
    const { value_position, size_bytes, codec } = record;
    if (codec === SnapshotCodec.PLAIN) {
      return this.readPlain(value_position, views);
    }
    if (codec !== SnapshotCodec.ZSTD) return false;
    const into = new Scatter(views);
    for (const piece of this.readPieces(value_position, size_bytes)) {
      const raw = piece && this.decompress(piece);
      if (!raw) return false;
      into.write(raw);
    }
    return true;
  }

  /**
   * The records of a file of version 1, in which each is followed by its value.
   * What is damaged is skipped: the next record is found by its mark.
   */
  *scan(): Generator<{ line: Line; key: string }> {
    let at = SNAPSHOT_HEAD_BYTES;
    while (at < this.size_bytes) {
      const found = this.#recordAt(at);
      const end = found && found.record.value_position +
          found.record.size_bytes;
      if (!found || end! > this.size_bytes) {
        at = this.#nextMark(at + SNAPSHOT_ALIGN_BYTES);
        continue;
      }
      const line = {
        ...found.record,
        position: at,
        file: 0,
        expires_at: 0,
        key_check: 0,
        parent_check: 0,
      };
      yield { line, key: found.text.key };
      at = align(end!, SNAPSHOT_ALIGN_BYTES);
    }
  }

  #recordAt(at: number): Found | undefined {
    const bytes = this.#heads.read(at, RECORD_HEAD_MAX_BYTES, this.#fill);
    const record = decodeRecord(this.#platform, this.#nonce, bytes);
    const text = record && decodeText(record, bytes);
    if (!text) return undefined;
    // In version 1 the value follows the text.
    const value_position = record.value_position ||
      at + recordHeadBytes(record);
    return { record: { ...record, value_position }, text };
  }

  /** The next place from `at` on that has the mark of a record, or the end. */
  #nextMark(at: number): number {
    for (; at < this.size_bytes; at += SNAPSHOT_ALIGN_BYTES) {
      const bytes = this.#heads.read(at, this.#nonce.length, this.#fill);
      if (startsWith(bytes, this.#nonce)) return at;
    }
    return this.size_bytes;
  }

  /** Small values by way of a stretch: neighbours then cost no call. */
  #read(into: Uint8Array, at: number): number {
    if (into.length > CHUNK_BYTES / 4) return this.#fill(into, at);
    const bytes = this.#values.read(at, into.length, this.#fill);
    into.set(bytes);
    return bytes.length;
  }

  /** What the disk cannot read is missing, like what is behind the end. */
  readonly #fill = (into: Uint8Array, at: number): number =>
    this.#onDisk(() => {
      try {
        return this.#platform.files.read(this.#fd, into, at);
      } catch (error) {
        if (isOsError(error, "EIO")) return 0;
        throw error;
      }
    });

  #onDisk<T>(run: () => T): T {
    return onHost(
      this.#verb,
      `snapshot file ${JSON.stringify(this.#path)}`,
      run,
    );
  }
}

/** Fills views one behind the other. */
class Scatter {
  readonly #views: readonly Uint8Array[];
  #view = 0;
  #filled = 0;

  constructor(views: readonly Uint8Array[]) {
    this.#views = views;
  }

  write(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const view = this.#views[this.#view]!;
      const room = view.length - this.#filled;
      const length = Math.min(room, bytes.length - done);
      view.set(bytes.subarray(done, done + length), this.#filled);
      done += length;
      this.#filled += length;
      if (this.#filled < view.length) continue;
      this.#view++;
      this.#filled = 0;
    }
  }
}
