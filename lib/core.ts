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
import {
  type Fd,
  type Mapping,
  OsError,
  type Platform,
} from "../ffi/platform.ts";
import { Bitmap } from "./bitmap.ts";
import { Contents } from "./contents.ts";
import { Control } from "./control.ts";
import { ClosedError, CortexError, onHost } from "./errors.ts";
import { EntryTable } from "./entry_table.ts";
import type { Geometry } from "./geometry.ts";
import { damagedGeometry, Header, type Identity } from "./header.ts";
import { KeyEncoder } from "./key.ts";
import { KeyIndex, Links } from "./key_index.ts";
import {
  abortEntry,
  isReserving,
  noteBacked,
  type Reserving,
  sweepDoomed,
  type Target,
} from "./lifecycle.ts";
import { PAGE_BYTES, TABLE_ALIGN_BYTES } from "./layout.ts";
import { PoolLock } from "./lock.ts";
import { OwnRecords } from "./own_records.ts";
import { Memory } from "./policy/memory.ts";
import { Replacement } from "./policy/replacement.ts";
import { rebuild } from "./recovery.ts";
import { factsOf } from "./replacing.ts";
import { OperationRing } from "./ring.ts";
import { type Segment, showPool } from "./segment.ts";
import { type OwnPins, Slots } from "./slots.ts";
import { LastingWindows } from "./views.ts";

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
  readonly place: Segment["place"];
  readonly mapping: Mapping;
  readonly lasting: LastingWindows;
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
  readonly own: OwnRecords;
  readonly index: KeyIndex;
  readonly contents: Contents;
  readonly slots: Slots;
  readonly lock: PoolLock;
  /** For look-ups. */
  readonly keys: KeyEncoder;
  /** For the keys of a change that is being made: look-ups in it leave them be. */
  readonly planned: { readonly key: KeyEncoder; readonly parent: KeyEncoder };
  readonly ring: OperationRing;
  /** Set while the handle is attached; an observer never is. */
  attachment: Attachment | undefined;
  /** The pool's name, for messages. */
  readonly #shown: string;
  /** The block where this handle found or gave back room last. */
  readonly room = { at: 0 };
  /** How far this handle's next puts are to evict, if it is not there yet. */
  readonly pressure: { ahead: Target | undefined } = { ahead: undefined };
  /** A state of the index in which a writer was found to be stuck. */
  stuckSequence: number | undefined;
  /** Reservations to be given back with the next change. */
  readonly #abandoned: Reserving[] = [];
  #replacement: Replacement | undefined;
  #suspected = false;
  #open = true;

  constructor(platform: Platform, segment: Segment, lockTimeout_ms: number) {
    const { identity, mapping, fd, name } = segment;
    const { geometry } = identity;
    const control = Control.of(mapping, geometry);
    const page_bytes = geometry.free_list_pages * PAGE_BYTES;
    this.platform = platform;
    this.name = name;
    this.#shown = showPool(name);
    this.fd = fd;
    this.place = segment.place;
    this.mapping = mapping;
    this.lasting = new LastingWindows(mapping);
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
    this.own = new OwnRecords(this.table);
    this.index = new KeyIndex(control, geometry, this.links);
    this.contents = new Contents(mapping, geometry, this.table);
    this.slots = new Slots(platform, fd, control, geometry, this.header);
    this.lock = new PoolLock(
      platform,
      fd,
      this.header,
      this.#shown,
      geometry.size_bytes,
      lockTimeout_ms,
    );
    this.keys = new KeyEncoder(identity.namespace);
    this.planned = {
      key: new KeyEncoder(identity.namespace),
      parent: new KeyEncoder(identity.namespace),
    };
    this.ring = new OperationRing(control, geometry);
  }

  /**
   * The pool's policy, whose state is in the pool. Who only looks needs none.
   *
   * @throws {CorruptError} if the pool's room for that state is not the policy's.
   */
  get replacement(): Replacement {
    return this.#replacement ??= this.#hostPolicy();
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** @throws {ClosedError} if the handle was closed. */
  expectOpen(verb: string): void {
    if (this.#open) return;
    throw new ClosedError(verb, this.#shown, "the handle is closed");
  }

  /** @throws {ClosedError} if the handle is closed or only observes. */
  expectAttached(verb: string): Attachment {
    this.expectOpen(verb);
    if (this.attachment) return this.attachment;
    throw new ClosedError(
      verb,
      this.#shown,
      "the handle only observes",
    );
  }

  /**
   * Runs a change under the lock. If its maker dies half-way, the `dirty` word
   * makes the next holder work everything out again from the entry table.
   *
   * A {@linkcode CortexError} thrown by `run` is an orderly refusal: the pool is
   * consistent. After any other the pool stays marked.
   *
   * @param isSeen see {@linkcode PoolLock.acquire}.
   */
  change<T>(verb: string, run: () => T, isSeen = false): T {
    this.expectOpen(verb);
    void this.replacement; // Nothing changes a pool that has not its policy's room.
    // What the host refuses half-way leaves the pool marked, and is told in our
    // words only when it is out of the change.
    return onHost(verb, this.#shown, () => {
      this.lock.acquire(verb, isSeen);
      try {
        return this.#changeLocked(run);
      } finally {
        this.lock.release();
      }
    });
  }

  /**
   * Makes the changes that are due, for one who can do without: `false` if the
   * lock is taken, or the host refuses.
   */
  tryTidy(): boolean {
    try {
      if (!this.#open || !this.lock.tryAcquire()) return false;
      try {
        this.#changeLocked(() => {});
        return true;
      } finally {
        this.lock.release();
      }
    } catch (error) {
      if (error instanceof OsError) return false;
      throw error;
    }
  }

  /**
   * Gives a reservation back: now, or, if the pool is busy or the host refuses,
   * with the next change of this handle. There is nothing to give back to a pool
   * that was destroyed.
   */
  abandon(reserving: Reserving): void {
    this.#abandoned.push(reserving);
    try {
      this.change("abort", () => {});
    } catch (error) {
      if (!(error instanceof CortexError)) throw error;
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

  #hostPolicy(): Replacement {
    const { policy_offset, policy_bytes, max_entries } = this.geometry;
    const buffer = this.control.u8.buffer as ArrayBuffer;
    const end = policy_offset + policy_bytes;
    const memory = Memory.over(buffer, policy_offset, end);
    const { policy } = this.identity;
    const hosted = new Replacement(
      memory,
      policy,
      max_entries,
      factsOf(this.table),
    );
    const spare_bytes = policy_bytes - memory.used_bytes;
    if (spare_bytes >= 0 && spare_bytes < TABLE_ALIGN_BYTES) return hosted;
    throw damagedGeometry(this.#shown);
  }

  #changeLocked<T>(run: () => T): T {
    if (this.header.get("dirty") !== 0) rebuild(this);
    this.header.publish("dirty", 1);
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
      noteBacked(this, reserving.fresh ?? []);
      if (isReserving(this, reserving)) abortEntry(this, reserving.entry);
    }
  }

  #settle(): void {
    this.header.setStat("modified_at", this.platform.now());
    this.header.publish("dirty", this.#suspected ? 1 : 0);
    this.#suspected = false;
  }

  /** Leaves the pool marked after this change, so that the next one rebuilds it. */
  suspect(): void {
    this.#suspected = true;
  }
}
