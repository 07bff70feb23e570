/**
 * Writes a data file: large aligned transfers past the page cache, several under
 * way at once. Large values go straight from the pool to the disk; small pieces
 * are gathered in buffers.
 *
 * @module
 */
import type {
  Fd,
  Mapping,
  Platform,
  Transfer,
  Transfers,
} from "../../ffi/platform.ts";
import { isOsError } from "../errors.ts";
import { SNAPSHOT_PAGE_BYTES } from "../layout.ts";
import { align } from "./record.ts";

/** Bytes of one transfer, and of a buffer. */
const TRANSFER_BYTES = 2 << 20;
/** Transfers under way at once. */
const DEPTH = 8;
/** Less than this is sooner written one after the other than a queue is made. */
export const QUEUE_FROM_BYTES = 256 << 20;
const BUFFERS = 4;

export class DataWriter {
  readonly #platform: Platform;
  readonly #fd: Fd;
  readonly #depth: number;
  readonly #transfers: Transfers;
  readonly #memory: Mapping;
  readonly #buffer: Uint8Array;
  /** Places in the buffer memory that no transfer reads from. */
  readonly #free: number[] = [];
  readonly #whenDone = new Map<Transfer, () => void>();
  #place = -1;
  #filled = 0;
  /** Bytes that have been handed to transfers: whole pages. */
  #sent = 0;

  /**
   * @param expected_bytes about how long the file will be, at most.
   * @param setAside have the host set them aside first, so that a full disk is
   * told of at the beginning.
   */
  constructor(
    platform: Platform,
    path: string,
    mode: number,
    expected_bytes: number,
    setAside: boolean,
  ) {
    this.#platform = platform;
    this.#depth = expected_bytes < QUEUE_FROM_BYTES ? 1 : DEPTH;
    this.#fd = platform.files.open(path, "direct w", mode);
    try {
      if (setAside) this.#setAside(expected_bytes);
      this.#memory = platform.allocateMemory(BUFFERS * TRANSFER_BYTES);
      this.#transfers = platform.openTransfers(this.#depth);
    } catch (error) {
      platform.files.close(this.#fd);
      throw error;
    }
    this.#buffer = new Uint8Array(
      this.#memory.window(0, BUFFERS * TRANSFER_BYTES),
    );
    for (let place = 0; place < BUFFERS; place++) this.#free.push(place);
  }

  /** Where the next byte goes. */
  get position(): number {
    return this.#sent + this.#filled;
  }

  /** Appends a copy. */
  append(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const room = this.#room();
      const length = Math.min(bytes.length - done, room.length);
      room.set(bytes.subarray(done, done + length));
      this.#filled += length;
      done += length;
    }
  }

  /** Zeros up to the next multiple of `to`. */
  align(to: number): void {
    const target = align(this.position, to);
    while (this.position < target) {
      const room = this.#room();
      const length = Math.min(target - this.position, room.length);
      room.fill(0, 0, length);
      this.#filled += length;
    }
  }

  /**
   * Appends whole pages straight from a mapping; the position must be a multiple
   * of a page. They must not change until `whenDone` is called.
   */
  appendMapped(
    mapping: Mapping,
    offset: number,
    length: number,
    whenDone: () => void,
  ): void {
    this.#flush();
    for (let done = 0; done < length;) {
      const size = Math.min(TRANSFER_BYTES, length - done);
      this.#start(mapping, offset + done, size, whenDone);
      done += size;
    }
  }

  /** How many transfers `appendMapped` makes of so many bytes. */
  static transfersOf(length: number): number {
    return Math.ceil(length / TRANSFER_BYTES);
  }

  /** Writes what is left and waits until all of it is on disk. */
  finish(): void {
    this.align(SNAPSHOT_PAGE_BYTES);
    this.#flush();
    while (this.#waitForOne());
    this.#platform.truncate(this.#fd, this.#sent); // what was set aside in vain
    this.#platform.files.sync(this.#fd);
  }

  /** Waits for what is under way. May follow a failure. */
  close(): void {
    this.#transfers.close();
    // What was under way is over, however it ended: its pages may go.
    for (const whenDone of this.#whenDone.values()) whenDone();
    this.#whenDone.clear();
    this.#memory.close();
    this.#platform.files.close(this.#fd);
  }

  #setAside(bytes: number): void {
    try {
      this.#platform.allocate(this.#fd, 0, bytes);
    } catch (error) {
      // Not every file system can: then a full disk shows itself later.
      if (!isOsError(error, "EOPNOTSUPP")) throw error;
    }
  }

  /** Where the next gathered byte goes, to the end of the buffer. */
  #room(): Uint8Array {
    if (this.#filled === TRANSFER_BYTES) this.#flush();
    while (this.#place === -1) {
      const free = this.#free.pop();
      if (free !== undefined) this.#place = free;
      else this.#waitForOne();
    }
    const from = this.#place * TRANSFER_BYTES;
    return this.#buffer.subarray(from + this.#filled, from + TRANSFER_BYTES);
  }

  /** Sends what is gathered, up to a whole page with zeros. */
  #flush(): void {
    if (this.#filled === 0) return;
    const place = this.#place;
    const from = place * TRANSFER_BYTES;
    const length = align(this.#filled, SNAPSHOT_PAGE_BYTES);
    this.#buffer.fill(0, from + this.#filled, from + length);
    this.#place = -1;
    this.#filled = 0;
    this.#start(this.#memory, from, length, () => this.#free.push(place));
  }

  #start(
    mapping: Mapping,
    offset: number,
    length: number,
    whenDone: () => void,
  ): void {
    while (this.#transfers.pending >= this.#depth) this.#waitForOne();
    const transfer: Transfer = {
      kind: "write",
      fd: this.#fd,
      mapping,
      offset,
      length,
      position: this.#sent,
    };
    this.#sent += length;
    this.#whenDone.set(transfer, whenDone);
    this.#transfers.start(transfer);
  }

  #waitForOne(): boolean {
    const transfer = this.#transfers.wait();
    if (!transfer) return false;
    this.#whenDone.get(transfer)?.();
    this.#whenDone.delete(transfer);
    return true;
  }
}
