/**
 * One handle's view of a pool: its parts, put together, and the two ways of
 * working on them: {@linkcode Core.change} under the lock, and look-ups without
 * it.
 *
 * Invariants of a pool whose `dirty` word is 0, which `check` verifies:
 *
 * 1. Every block is a system block, or belongs to exactly one record that is not
 *    free, or is free in the free list.
 * 2. Every record is in exactly one chain: its bucket's (reserved, sealed), the
 *    free records' or the doomed ones'.
 * 3. Of sealed entries with one key, the one made last is the first in its chain.
 * 4. The header's totals are the sums over the table.
 * 5. No block of a record was ever touched before the host backed it with memory.
 *
 * @module
 */
import type { Fd, Mapping, Platform } from "../ffi/platform.ts";
import { Bitmap } from "./bitmap.ts";
import { Contents } from "./contents.ts";
import { Control } from "./control.ts";
import {
  BusyError,
  ClosedError,
  CortexError,
  NotFoundError,
  onHost,
} from "./errors.ts";
import { EntryTable } from "./entry_table.ts";
import type { Geometry } from "./geometry.ts";
import { Header, type Identity } from "./header.ts";
import { KeyEncoder } from "./key.ts";
import { KeyIndex, Links } from "./key_index.ts";
import {
  abortEntry,
  isReserving,
  type Reserving,
  sweepDoomed,
} from "./lifecycle.ts";
import { PAGE_BYTES } from "./layout.ts";
import { PoolLock } from "./lock.ts";
import { rebuild } from "./recovery.ts";
import { type Segment, showPool } from "./segment.ts";
import { type OwnPins, Slots } from "./slots.ts";

/** A taken slot. */
export interface Attachment {
  readonly slot: number;
  readonly incarnation: number;
  readonly pins: OwnPins;
}

export class Core {
  readonly platform: Platform;
  readonly name: string;
  readonly fd: Fd;
  readonly mapping: Mapping;
  readonly identity: Identity;
  readonly geometry: Geometry;
  readonly control: Control;
  readonly header: Header;
  /** 1 = used. */
  readonly freeList: Bitmap;
  /** 1 = backed with memory: only such a block may be touched. */
  readonly committed: Bitmap;
  readonly links: Links;
  readonly table: EntryTable;
  readonly index: KeyIndex;
  readonly contents: Contents;
  readonly slots: Slots;
  readonly lock: PoolLock;
  readonly keys: KeyEncoder;
  /** Set while the handle is attached; an observer never is. */
  attachment: Attachment | undefined;
  /** A state of the index in which a writer was found to be stuck. */
  stuckSequence: number | undefined;
  /** Reservations to be given back with the next change. */
  readonly #abandoned: Reserving[] = [];
  #suspected = false;
  #open = true;

  constructor(platform: Platform, segment: Segment, lockTimeout_ms: number) {
    const { identity, mapping, fd, name } = segment;
    const { geometry } = identity;
    const control = Control.of(mapping, geometry);
    const page_bytes = geometry.free_list_pages * PAGE_BYTES;
    this.platform = platform;
    this.name = name;
    this.fd = fd;
    this.mapping = mapping;
    this.identity = identity;
    this.geometry = geometry;
    this.control = control;
    this.header = new Header(control);
    this.freeList = new Bitmap(
      control.words(PAGE_BYTES, page_bytes),
      geometry.blocks,
    );
    this.committed = new Bitmap(
      control.words(geometry.commit_offset, page_bytes),
      geometry.blocks,
    );
    this.links = new Links(control, geometry);
    this.table = new EntryTable(control, geometry, platform);
    this.index = new KeyIndex(control, geometry, this.links);
    this.contents = new Contents(mapping, geometry, this.table);
    this.slots = new Slots(platform, fd, control, geometry, this.header);
    this.lock = new PoolLock(
      platform,
      fd,
      this.header,
      showPool(name),
      lockTimeout_ms,
    );
    this.keys = new KeyEncoder(identity.namespace);
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** @throws {ClosedError} if the handle was closed. */
  expectOpen(verb: string): void {
    if (this.#open) return;
    throw new ClosedError(verb, showPool(this.name), "the handle is closed");
  }

  /** @throws {ClosedError} if the handle is closed or only observes. */
  expectAttached(verb: string): Attachment {
    this.expectOpen(verb);
    if (this.attachment) return this.attachment;
    throw new ClosedError(
      verb,
      showPool(this.name),
      "the handle only observes",
    );
  }

  /**
   * Runs a change under the lock. If its maker dies half-way, the `dirty` word
   * makes the next holder work everything out again from the entry table.
   *
   * A {@linkcode CortexError} thrown by `run` is an orderly refusal: the pool is
   * consistent. After any other the pool stays marked.
   */
  change<T>(verb: string, run: () => T): T {
    this.expectOpen(verb);
    onHost(verb, showPool(this.name), () => this.lock.acquire(verb));
    try {
      return this.#changeLocked(run);
    } finally {
      this.lock.release();
    }
  }

  /** As `change`, but does nothing and says `false` if the lock is taken. */
  tryChange(run: () => void): boolean {
    if (!this.#open || !this.lock.tryAcquire()) return false;
    try {
      this.#changeLocked(run);
      return true;
    } finally {
      this.lock.release();
    }
  }

  /**
   * Gives a reservation back: now, or, if the pool is busy, with the next change
   * of this handle. There is nothing to give back to a pool that was destroyed.
   */
  abandon(reserving: Reserving): void {
    this.#abandoned.push(reserving);
    try {
      this.change("abort", () => {});
    } catch (error) {
      if (!(error instanceof BusyError || error instanceof NotFoundError)) {
        throw error;
      }
    }
  }

  /** Unmaps and closes; what was pinned or reserved is given back before. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.attachment = undefined;
    this.mapping.close();
    this.platform.close(this.fd);
  }

  #changeLocked<T>(run: () => T): T {
    if (this.header.get("dirty") !== 0) rebuild(this);
    this.header.set("dirty", 1);
    try {
      if (this.header.get("doomed") > 0) sweepDoomed(this);
      this.#abortAbandoned();
      const result = run();
      this.#settle();
      return result;
    } catch (error) {
      if (error instanceof CortexError) this.#settle();
      throw error;
    }
  }

  #abortAbandoned(): void {
    for (;;) {
      const reserving = this.#abandoned.pop();
      if (!reserving) return;
      if (isReserving(this, reserving)) abortEntry(this, reserving.entry);
    }
  }

  #settle(): void {
    this.header.setStat("modified_at", this.platform.now());
    this.header.set("dirty", this.#suspected ? 1 : 0);
    this.#suspected = false;
  }

  /** Leaves the pool marked after this change, so that the next one rebuilds it. */
  suspect(): void {
    this.#suspected = true;
  }
}
