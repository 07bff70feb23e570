/**
 * A pool: named KV-cache memory of the host, shared by its processes.
 *
 * @module
 */
import { hostPlatform } from "../ffi/mod.ts";
import type { Platform } from "../ffi/platform.ts";
import { type CheckOptions, type CheckReport, checkSteps } from "./check.ts";
import { Core } from "./core.ts";
import {
  describeEntry,
  describePool,
  type EntryInfo,
  type PoolStatus,
} from "./describe.ts";
import { BusyError, onHost, UsageError } from "./errors.ts";
import { beginEpoch, verifyFirstTouch } from "./epoch.ts";
import type { EntryNumber } from "./entry_table.ts";
import { evictBlocks } from "./eviction.ts";
import { type GetOptions, Hit } from "./hit.ts";
import { OperationKind, SLOTS } from "./layout.ts";
import { doomEntry, reapDeadSlots, releaseSlot } from "./lifecycle.ts";
import { findEntry } from "./lookup.ts";
import type { PutOptions } from "./plan.ts";
import type { PolicyName } from "./policy/mod.ts";
import {
  checkPolicy,
  type CreateOptions,
  type HandleOptions,
  lockTimeout,
  planIdentity,
  planSegment,
} from "./pool_plan.ts";
import { finish, type Progress } from "./progress.ts";
import { type Dropped, repairSteps } from "./repair.ts";
import { Reservation } from "./reservation.ts";
import {
  destroySegment,
  listOwnSegments,
  listSegments,
  openSegment,
  type Segment,
  showPool,
  unlinkSegment,
} from "./segment.ts";
import { createSegmentSteps } from "./segment_making.ts";
import { OwnPins } from "./slots.ts";
import { nextTick } from "./tick.ts";
import { expectBytes } from "./views.ts";

export type { CreateOptions, HandleOptions } from "./pool_plan.ts";

/** How {@linkcode Pool.open} opens. */
export interface OpenOptions extends HandleOptions {
  /**
   * Only look: take no slot and no lock, and change nothing. Such a handle has `status`, `entries`, `has`, `match` and `deepest`.
   */
  readonly observe?: boolean | undefined;
}

/** What {@linkcode Pool.evict} is told. */
export interface EvictOptions {
  /** Of the used bytes: 0 to 100, 25 by default. */
  readonly percent?: number | undefined;
  /** The pool's own by default. */
  readonly policy?: PolicyName | undefined;
  /** Only say what would go. */
  readonly dryRun?: boolean | undefined;
}

/** What {@linkcode Pool.evict} did. */
export interface EvictReport {
  readonly evicted_entries: number;
  readonly freed_bytes: number;
}

/**
 * A handle of a pool. Close it, or take it with `using`. A handle belongs to one
 * thread; any number of processes and workers may each have their own.
 *
 * @example
 * ```ts
 * import { Pool } from "./pool.ts";
 * import assert from "node:assert/strict";
 *
 * {
 *   using pool = Pool.create("pool-doc", { size: "1M" });
 *   pool.put("greeting", new TextEncoder().encode("hello"));
 *   using hit = pool.get("greeting");
 *   assert.equal(new TextDecoder().decode(hit?.bytes), "hello");
 * }
 * Pool.destroy("pool-doc");
 * ```
 */
export class Pool {
  readonly name: string;
  readonly #core: Core;

  private constructor(core: Core) {
    this.name = core.name;
    this.#core = core;
  }

  /**
   * Makes a pool and opens it. It outlives this process, and stays if only the
   * opening fails.
   *
   * @throws {UsageError} if no pool can be like that.
   * @throws {ExistsError} if the name is taken.
   * @throws {NoSpaceError} if the host lacks the memory.
   */
  static create(name: string, options: CreateOptions): Pool {
    return finish(Pool.createSteps(name, options));
  }

  /** As `create`, step by step where all its memory is taken. */
  static *createSteps(
    name: string,
    options: CreateOptions,
  ): Generator<Progress, Pool> {
    const platform = options.platform ?? hostPlatform();
    const identity = planIdentity(platform, options);
    const segment = yield* createSegmentSteps(
      platform,
      name,
      identity,
      planSegment(platform, name, options),
    );
    const pool = Pool.#attach(platform, segment, options);
    if (options.record) pool.record(true);
    return pool;
  }

  /**
   * Opens a pool.
   *
   * @throws {NotFoundError} if there is none.
   * @throws {CorruptError} if it is not a whole pool of this version.
   * @throws {BusyError} if its lock is not to be had, or too many are attached.
   */
  static open(name: string, options: OpenOptions = {}): Pool {
    const platform = options.platform ?? hostPlatform();
    const segment = openSegment(platform, name);
    return options.observe
      ? new Pool(new Core(platform, segment, 0))
      : Pool.#attach(platform, segment, options);
  }

  /** Names of the pools on this host; with `own`, of those that one may use. */
  static list(
    options: HandleOptions & { readonly own?: boolean | undefined } = {},
  ): string[] {
    const platform = options.platform ?? hostPlatform();
    return options.own ? listOwnSegments(platform) : listSegments(platform);
  }

  /**
   * Removes a pool, with all that is in it.
   *
   * @throws {NotFoundError} if there is none.
   */
  static destroy(name: string, options: HandleOptions = {}): void {
    destroySegment(
      options.platform ?? hostPlatform(),
      name,
      lockTimeout(options),
    );
  }

  static #attach(
    platform: Platform,
    segment: Segment,
    options: HandleOptions,
  ): Pool {
    const core = new Core(
      platform,
      segment,
      lockTimeout(options),
    );
    try {
      core.change("open", () => {
        onHost("open", showPool(segment.name), () => beginEpoch(core));
        const slot = onHost("open", showPool(segment.name), () => {
          reapDeadSlots(core);
          return core.slots.take();
        });
        if (slot === undefined) throw tooManyAttached(segment.name);
        core.attachment = {
          slot,
          incarnation: core.slots.incarnation(slot),
          pins: new OwnPins(core.slots.pins(slot)),
        };
      });
    } catch (error) {
      core.close();
      throw error;
    }
    return new Pool(core);
  }

  /** For the parts of cortex that work on a pool from beside it. */
  get core(): Core {
    return this.#core;
  }

  /**
   * Puts a value in. Under pressure it evicts by policy. An entry of that key is
   * replaced in one step: readers see the old value or the new.
   *
   * @throws {NoSpaceError} if no eviction could make room.
   * @throws {UsageError} if no pool can hold such an entry.
   */
  put(key: string, bytes: Uint8Array, options: PutOptions = {}): void {
    const value = expectBytes(bytes, "put", () => "a value");
    const slot = this.reserve(key, value.length, options);
    try { // `using` takes 0.3 us by itself
      slot.fillAndSeal(value);
    } finally {
      slot.abort();
    }
  }

  /** Room for a value, to be filled in place. Throws as `put`. */
  reserve(
    key: string,
    size_bytes: number,
    options: PutOptions = {},
  ): Reservation {
    return Reservation.make(this.#core, key, size_bytes, options);
  }

  /**
   * Finds and pins an entry, and notes the use. `undefined` on a miss.
   *
   * @throws {UsageError} if there can be no such key, or no such view.
   */
  get(key: string, options?: GetOptions): Hit | undefined {
    const core = this.#core;
    const isBorrowed = options !== undefined && borrows(options.view);
    const { slot, pins } = core.expectAttached("read");
    const encoded = core.keys.encode(key, "read");
    const entry = findEntry(core, encoded, pins);
    const { ring, table } = core;
    if (entry === -1) {
      core.slots.count(slot, "misses");
      if (ring.isOn) ring.noteMiss(encoded.hash, core.platform.now());
      return undefined;
    }
    if (!core.table.isVerified(entry) && !this.#isWhole(entry)) {
      core.slots.count(slot, "misses");
      return undefined;
    }
    core.slots.count(slot, "hits");
    const now = core.platform.now();
    table.touch(entry, nextTick(core.control.u32), now);
    core.replacement.noteUse(entry);
    if (ring.isOn) ring.note(OperationKind.HIT, table, entry, now);
    return new Hit(core, entry, key, isBorrowed);
  }

  /** The first look at a value of a pool on disk since the host was started. */
  #isWhole(entry: EntryNumber): boolean {
    const core = this.#core;
    const isWhole = verifyFirstTouch(core, entry);
    if (!isWhole) core.expectAttached("read").pins.unpin(entry);
    return isWhole;
  }

  /** Whether the key is present. Counts as no use. */
  has(key: string): boolean {
    const core = this.#core;
    core.expectOpen("read");
    return findEntry(core, core.keys.encode(key, "read")) !== -1;
  }

  /** How many leading keys of a chain are present. Counts as no use. */
  match(keys: readonly string[]): number {
    let count = 0;
    while (count < keys.length && this.has(keys[count]!)) count++;
    return count;
  }

  /**
   * The deepest key of a chain that is present, whatever is missing before it.
   * Counts as no use.
   */
  deepest(keys: readonly string[]): string | undefined {
    return keys.findLast((key) => this.has(key));
  }

  /** What is known of one entry, without using it. */
  info(key: string): EntryInfo | undefined {
    const core = this.#core;
    core.expectOpen("read");
    const entry = findEntry(core, core.keys.encode(key, "read"));
    return entry === -1 ? undefined : describeEntry(core, entry);
  }

  /** Every entry, in no order. Others may come and go meanwhile. */
  *entries(): Generator<EntryInfo> {
    const core = this.#core;
    for (let entry = 0; entry < core.table.count; entry++) {
      core.expectOpen("read");
      const info = describeEntry(core, entry);
      if (info) yield info;
    }
  }

  /**
   * Takes an entry out: it is unreachable at once, and its blocks are free once
   * nobody holds it.
   *
   * @returns whether there was one.
   */
  delete(key: string): boolean {
    const core = this.#core;
    core.expectAttached("delete");
    const encoded = core.planned.key.encode(key, "delete");
    return core.change("delete", () => {
      const entry = findEntry(core, encoded);
      if (entry === -1) return false;
      doomEntry(core, entry);
      core.header.addStat("deletes", 1);
      return true;
    });
  }

  /**
   * Frees at least that share of the used bytes, whole entries, in policy order. Of
   * many, a thousand at a time: others can put in between.
   */
  evict(options: EvictOptions = {}): EvictReport {
    const { percent = 25, dryRun = false } = options;
    if (!(percent >= 0 && percent <= 100)) {
      throw new UsageError(
        "evict",
        `${percent} percent`,
        "it is not from 0 to 100",
      );
    }
    if (options.policy !== undefined) checkPolicy(options.policy, "evict by");
    const core = this.#core;
    core.expectAttached("evict");
    const policy = options.policy ?? core.identity.policy;
    let entries = 0, blocks = 0, wanted: number | undefined;
    for (let goesOn = true; goesOn;) {
      const gone = core.change("evict", () => {
        wanted ??= Math.ceil(core.header.get("used_blocks") * percent / 100);
        return evictBlocks(core, wanted - blocks, policy, dryRun);
      });
      entries += gone.entries;
      blocks += gone.blocks;
      goesOn = gone.isUnfinished;
    }
    const { block_bytes } = core.geometry;
    return { evicted_entries: entries, freed_bytes: blocks * block_bytes };
  }

  /** Turns the noting of operations on or off, for all who use the pool. */
  record(on: boolean): void {
    const core = this.#core;
    core.expectAttached("record");
    core.change("record", () => core.header.publish("recording", on ? 1 : 0));
  }

  status(): PoolStatus {
    this.#core.expectOpen("read");
    return describePool(this.#core);
  }

  /** Proves that the pool is whole. Reading values keeps no writer waiting. */
  check(options: CheckOptions = {}): CheckReport {
    return finish(checkSteps(this.#core, options));
  }

  /**
   * Works everything out again from the entry table and drops what does not
   * hold.
   *
   * @returns the entries that were dropped, each with the reason.
   */
  repair(options: CheckOptions = {}): Dropped[] {
    return finish(repairSteps(this.#core, options));
  }

  /**
   * Removes the pool that this handle is open on, and no other that has taken
   * its name meanwhile.
   *
   * @throws {NotFoundError} if it was destroyed already.
   */
  destroy(): void {
    const core = this.#core;
    core.expectAttached("destroy");
    core.change("destroy", () => {
      unlinkSegment(core.place, core.header);
    });
    this.close();
  }

  /** Gives back all that this handle holds. Every view it gave out is empty then. */
  close(): void {
    const core = this.#core;
    const { attachment } = core;
    if (core.isOpen && attachment) {
      try {
        core.change("close", () => {
          core.attachment = undefined;
          releaseSlot(core, attachment.slot);
        });
      } catch {
        // Destroyed, or busy: whoever attaches next sees that the slot's lock
        // has gone with our descriptor, and clears it.
      }
    }
    core.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function borrows(view: GetOptions["view"]): boolean {
  if (view === undefined || view === "detachable") return false;
  if (view === "borrowed") return true;
  throw new UsageError(
    "read",
    `a view that is ${JSON.stringify(view)}`,
    "there is no such kind",
    'Give "detachable" or "borrowed", or leave it out',
  );
}

function tooManyAttached(name: string): BusyError {
  return new BusyError(
    "open",
    showPool(name),
    `${SLOTS} handles are attached already`,
    "Close one first",
  );
}
