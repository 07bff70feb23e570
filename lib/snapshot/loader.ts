/**
 * Loads entries of a snapshot into a pool: large values are read straight into
 * their blocks, several transfers at once; each entry can be used as soon as its
 * checksum was found to be right.
 *
 * @module
 */
import type { Transfer, Transfers } from "../../ffi/platform.ts";
import {
  isOsError,
  NoMemoryError,
  NoSpaceError,
  onHost,
  UsageError,
} from "../errors.ts";
import { showKey } from "../key.ts";
import {
  SNAPSHOT_LARGE_BYTES,
  SNAPSHOT_PAGE_BYTES,
  SnapshotCodec,
} from "../layout.ts";
import type { Pool } from "../pool.ts";
import { Reservation } from "../reservation.ts";
import type { DataReader, Found } from "./data_reader.ts";
import type { Line } from "./lines.ts";
import { QUEUE_FROM_BYTES } from "./data_writer.ts";
import { align } from "./record.ts";
import type { Progress } from "../progress.ts";

/** Of all values of the lines. */
export function totalBytes(lines: readonly Line[]): number {
  return lines.reduce((sum, line) => sum + line.size_bytes, 0);
}

const TRANSFER_BYTES = 1 << 20;
const DEPTH = 16;
/** Damaged entries that are told of by name. */
const NAMED_MAX = 100;

/** A large value on its way. */
interface Arriving {
  readonly slot: Reservation;
  readonly line: Line;
  readonly name: string;
  left: number;
  whole: boolean;
}

export class Loader implements Disposable {
  entries = 0;
  value_bytes = 0;
  damaged = 0;
  left_out = 0;
  /** Entries whose key was in the pool already. */
  present = 0;
  /** What was damaged, for people. */
  readonly damagedNames: string[] = [];
  readonly #pool: Pool;
  readonly #readers: readonly (DataReader | undefined)[];
  readonly #depth: number;
  readonly #transfers: Transfers;
  readonly #arriving = new Map<Transfer, Arriving>();

  /** @param total_bytes of the values that will be loaded. */
  constructor(
    pool: Pool,
    readers: readonly (DataReader | undefined)[],
    total_bytes: number,
  ) {
    this.#pool = pool;
    this.#readers = readers;
    this.#depth = total_bytes < QUEUE_FROM_BYTES ? 1 : DEPTH;
    this.#transfers = pool.core.platform.openTransfers(this.#depth);
  }

  /** Loads the lines in their order. */
  *load(lines: readonly Line[]): Generator<Progress, void> {
    const total_bytes = totalBytes(lines);
    let done_bytes = 0;
    for (const line of lines) {
      this.#load(line);
      done_bytes += line.size_bytes;
      yield { done_bytes, total_bytes };
    }
    while (this.#arriveOne());
  }

  /** Waits for what is under way, and gives the room of it back. */
  [Symbol.dispose](): void {
    this.#transfers.close();
    for (const { slot } of this.#arriving.values()) slot.abort();
    this.#arriving.clear();
  }

  #load(line: Line): void {
    const reader = this.#readers[line.file];
    const found = reader?.recordOf(line);
    if (!reader || !found || !this.#isOfNamespace(found)) {
      const file = reader?.file.name ?? "a file that is missing";
      this.#noteDamaged(`the record at ${line.position} of ${file}`);
      return;
    }
    if (this.#pool.has(found.text.key)) {
      this.present++;
      return;
    }
    const name = `entry ${showKey(found.text.key)}`;
    try {
      const slot = this.#reserve(line, found);
      if (this.#isDirect(found)) this.#begin(reader, { slot, line, name });
      else this.#loadNow(reader, found, slot, name);
    } catch (error) {
      // What is left out for want of room may be forgotten; not what the host
      // has no memory for just now.
      if (error instanceof NoMemoryError) throw error;
      if (error instanceof NoSpaceError) this.left_out++;
      else if (error instanceof UsageError) this.#noteDamaged(name); // no entry can be like that
      else throw error;
    }
  }

  #isOfNamespace({ record }: Found): boolean {
    const [low, high] = this.#pool.core.keys.namespaceHash;
    return record.namespaceHash[0] === low && record.namespaceHash[1] === high;
  }

  #reserve(line: Line, { record, text }: Found): Reservation {
    const { tokens, priority } = record;
    const { parent, meta } = text;
    return Reservation.make(
      this.#pool.core,
      text.key,
      record.size_bytes,
      { parent, tokens, priority, meta },
      {
        created_at: record.created_at,
        last_access_at: line.last_access_at,
        access_tick: line.access_tick,
        access_count: line.access_count,
        expires_at: line.expires_at,
        sequence: record.sequence,
      },
    );
  }

  #isDirect({ record }: Found): boolean {
    return record.codec === SnapshotCodec.PLAIN &&
      record.size_bytes >= SNAPSHOT_LARGE_BYTES &&
      record.value_position % SNAPSHOT_PAGE_BYTES === 0;
  }

  #loadNow(
    reader: DataReader,
    { record }: Found,
    slot: Reservation,
    name: string,
  ): void {
    try {
      const whole = reader.readValue(record, slot.rawViews) &&
        slot.sealIf(record.value_crc);
      if (whole) this.#noteLoaded(record.size_bytes);
      else this.#noteDamaged(name);
    } finally {
      slot.abort();
    }
  }

  #begin(
    reader: DataReader,
    { slot, line, name }: Pick<Arriving, "slot" | "line" | "name">,
  ): void {
    const { mapping } = this.#pool.core;
    const arriving: Arriving = { slot, line, name, left: 1, whole: true };
    let position = line.value_position;
    for (const piece of slot.pieces) {
      for (let done = 0; done < piece.length; done += TRANSFER_BYTES) {
        while (this.#transfers.pending >= this.#depth) this.#arriveOne();
        const wanted = Math.min(TRANSFER_BYTES, piece.length - done);
        const transfer: Transfer = {
          kind: "read",
          fd: reader.directFd,
          mapping,
          offset: piece.offset + done,
          // Whole pages: what is behind the value in its last block is its own.
          length: align(wanted, SNAPSHOT_PAGE_BYTES),
          position: position + done,
        };
        arriving.left++;
        this.#arriving.set(transfer, arriving);
        this.#transfers.start(transfer);
      }
      position += piece.length;
    }
    this.#arrived(arriving);
  }

  #arriveOne(): boolean {
    const transfer = onHost("restore", "the snapshot", () => this.#next());
    if (!transfer) return false;
    const arriving = this.#arriving.get(transfer)!;
    this.#arriving.delete(transfer);
    const { line } = arriving;
    const end = line.value_position + line.size_bytes;
    const wanted = Math.min(transfer.length, end - transfer.position);
    if ((transfer.done ?? 0) < wanted) arriving.whole = false;
    this.#arrived(arriving);
    return true;
  }

  /** What the disk cannot read comes out short, and costs that entry. */
  #next(): Transfer | undefined {
    try {
      return this.#transfers.wait();
    } catch (error) {
      if (isOsError(error, "EIO")) return this.#next();
      throw error;
    }
  }

  /** One holder less; the last one publishes the entry. */
  #arrived(arriving: Arriving): void {
    if (--arriving.left > 0) return;
    const { slot, line, name, whole } = arriving;
    try {
      if (whole && slot.sealIf(line.value_crc)) {
        this.#noteLoaded(line.size_bytes);
      } else this.#noteDamaged(name);
    } finally {
      slot.abort();
    }
  }

  #noteLoaded(size_bytes: number): void {
    this.entries++;
    this.value_bytes += size_bytes;
  }

  #noteDamaged(name: string): void {
    this.damaged++;
    if (this.damagedNames.length < NAMED_MAX) this.damagedNames.push(name);
  }
}
