/**
 * A pool: named KV-cache memory of the host, shared by its processes.
 *
 * @module
 */
import { hostPlatform } from "../ffi/mod.ts";
import type { Platform } from "../ffi/platform.ts";
import {
  type CheckOptions,
  checkPool,
  type CheckReport,
  damagedValues,
} from "./check.ts";
import { Core } from "./core.ts";
import {
  describeEntry,
  describePool,
  type EntryInfo,
  type PoolStatus,
} from "./describe.ts";
import { BusyError, onHost, UsageError } from "./errors.ts";
import { evictBlocks } from "./eviction.ts";
import { planGeometry } from "./geometry.ts";
import { type Identity, newUuid, type Tier } from "./header.ts";
import { Hit } from "./hit.ts";
import { NAMESPACE_MAX_BYTES, SLOTS, TIER_IDS } from "./layout.ts";
import {
  doomEntry,
  reapDeadSlots,
  releaseSlot,
  sweepDoomed,
} from "./lifecycle.ts";
import { findEntry } from "./lookup.ts";
import type { PutOptions } from "./plan.ts";
import { isPolicyName, type PolicyName } from "./policy/mod.ts";
import { rebuild } from "./recovery.ts";
import { Reservation } from "./reservation.ts";
import {
  createSegment,
  destroySegment,
  listSegments,
  openSegment,
  type Segment,
  showPool,
  unlinkSegment,
} from "./segment.ts";
import { OwnPins } from "./slots.ts";
import { nextTick } from "./tick.ts";
import { parseSize } from "./units.ts";

const LOCK_TIMEOUT_MS = 5000;
const LOW_PERCENT = 98;

/** What every way to a pool may be told. */
export interface HandleOptions {
  /** How long to wait for the pool's lock; 5,000 by default. */
  readonly lockTimeout_ms?: number | undefined;
  /** The host; by default the one we run on. */
  readonly platform?: Platform | undefined;
}

/** How {@linkcode Pool.open} opens. */
export interface OpenOptions extends HandleOptions {
  /**
   * Only look: take no slot and no lock, and change nothing. Such a handle has `status`, `entries`, `has`, `match` and `deepest`.
   */
  readonly observe?: boolean | undefined;
}

/** What kind of pool {@linkcode Pool.create} makes. */
export interface CreateOptions extends HandleOptions {
  /** Of the whole segment: bytes, or text such as `"16G"`. */
  readonly size: number | string;
  /** A power of two; by default the smallest that gives 32,768 blocks or fewer. */
  readonly blockSize?: number | string | undefined;
  readonly maxEntries?: number | undefined;
  /** `"lru"` by default. */
  readonly policy?: PolicyName | undefined;
  /** `"cpu"` is the only one as yet. */
  readonly tier?: Tier | undefined;
  /** What makes this cache incompatible with others: model, dtype, layout. */
  readonly namespace?: string | undefined;
  /** `0o600` by default. */
  readonly mode?: number | undefined;
  /** Back all of it with memory now. */
  readonly populate?: boolean | undefined;
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
    const platform = options.platform ?? hostPlatform();
    const identity = planIdentity(platform, options);
    const mode = options.mode ?? 0o600;
    if (!Number.isInteger(mode) || mode < 0 || mode > 0o777) {
      throw new UsageError(
        "create",
        showPool(name),
        "its mode is not from 0 to 0777",
      );
    }
    const segment = createSegment(platform, name, identity, {
      mode,
      populate: options.populate ?? false,
    });
    return Pool.#attach(platform, segment, options);
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

  /** Names of the pools on this host. */
  static list(options: HandleOptions = {}): string[] {
    return listSegments(options.platform ?? hostPlatform());
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
    if (!(bytes instanceof Uint8Array)) {
      throw new UsageError("put", "a value", "it is not a Uint8Array");
    }
    using slot = this.reserve(key, bytes.length, options);
    slot.write(bytes);
    slot.seal();
  }

  /** Room for a value, to be filled in place. Throws as `put`. */
  reserve(
    key: string,
    size_bytes: number,
    options: PutOptions = {},
  ): Reservation {
    return Reservation.make(this.#core, key, size_bytes, options);
  }

  /** Finds and pins an entry, and notes the use. `undefined` on a miss. */
  get(key: string): Hit | undefined {
    const core = this.#core;
    const { slot, pins } = core.expectAttached("read");
    const entry = findEntry(core, core.keys.encode(key, "read"), pins);
    if (entry === -1) {
      core.slots.count(slot, "misses");
      return undefined;
    }
    core.slots.count(slot, "hits");
    const { u32 } = core.control;
    core.table.touch(entry, nextTick(u32), core.platform.now());
    return new Hit(core, entry, key);
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
    const encoded = core.keys.encodeCopy(key, "delete");
    core.expectAttached("delete");
    return core.change("delete", () => {
      const entry = findEntry(core, encoded);
      if (entry === -1) return false;
      doomEntry(core, entry);
      core.header.addStat("deletes", 1);
      return true;
    });
  }

  /** Frees at least that share of the used bytes, whole entries, in policy order. */
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
    const { block_bytes } = core.geometry;
    return core.change("evict", () => {
      const share = core.header.get("used_blocks") * percent / 100;
      const { entries, blocks } = evictBlocks(
        core,
        Math.ceil(share),
        options.policy ?? core.identity.policy,
        dryRun,
      );
      return { evicted_entries: entries, freed_bytes: blocks * block_bytes };
    });
  }

  status(): PoolStatus {
    this.#core.expectOpen("read");
    return describePool(this.#core);
  }

  /** Proves that the pool is whole. */
  check(options: CheckOptions = {}): CheckReport {
    const core = this.#core;
    core.expectAttached("check");
    return core.change("check", () => {
      reapDeadSlots(core);
      sweepDoomed(core);
      return checkPool(core, options);
    });
  }

  /**
   * Works everything out again from the entry table and drops what does not
   * hold.
   *
   * @returns how many entries were dropped.
   */
  repair(options: CheckOptions = {}): number {
    const core = this.#core;
    core.expectAttached("repair");
    return core.change("repair", () => {
      const damaged = options.values ? damagedValues(core) : [];
      for (const entry of damaged) doomEntry(core, entry);
      return damaged.length + rebuild(core).dropped;
    });
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
      unlinkSegment(core.platform, core.name, core.header);
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

function tooManyAttached(name: string): BusyError {
  return new BusyError(
    "open",
    showPool(name),
    `${SLOTS} handles are attached already`,
    "Close one first",
  );
}

function lockTimeout({ lockTimeout_ms }: HandleOptions): number {
  const timeout_ms = lockTimeout_ms ?? LOCK_TIMEOUT_MS;
  if (timeout_ms >= 0 && timeout_ms < Infinity) return timeout_ms;
  throw new UsageError(
    "wait",
    `${timeout_ms} ms for a lock`,
    "it is not a number from 0 on",
  );
}

function asBytes(size: number | string, what: string): number {
  return typeof size === "string" ? parseSize(size, what) : size;
}

function checkPolicy(policy: string, verb: string): void {
  if (isPolicyName(policy)) return;
  throw new UsageError(
    verb,
    `policy ${JSON.stringify(policy)}`,
    "there is no such policy",
    "See the policies there are: cortex cache policies",
  );
}

function planIdentity(platform: Platform, options: CreateOptions): Identity {
  const { policy = "lru", tier = "cpu", namespace = "" } = options;
  checkPolicy(policy, "use");
  if (!Object.hasOwn(TIER_IDS, tier)) throw noSuchTier(tier);
  if (
    !namespace.isWellFormed() ||
    new TextEncoder().encode(namespace).length > NAMESPACE_MAX_BYTES
  ) {
    throw new UsageError(
      "create",
      "a pool with that namespace",
      `it is longer than ${NAMESPACE_MAX_BYTES} bytes, or not Unicode`,
    );
  }
  const geometry = planGeometry({
    size_bytes: asBytes(options.size, "size"),
    block_bytes: options.blockSize === undefined
      ? undefined
      : asBytes(options.blockSize, "block size"),
    max_entries: options.maxEntries,
  });
  return {
    uuid: newUuid(platform),
    geometry,
    policy,
    tier,
    low_percent: LOW_PERCENT,
    namespace,
    created_at: platform.now(),
  };
}

function noSuchTier(tier: string): UsageError {
  const reason = tier === "gpu"
    ? "it would need a driver's memory interface, such as CUDA IPC"
    : "there is no such tier";
  return new UsageError(
    "create",
    `a pool on tier ${JSON.stringify(tier)}`,
    reason,
    "Use --tier cpu",
  );
}
