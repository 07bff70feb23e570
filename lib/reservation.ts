/**
 * Putting a value in: reserve room under the lock, fill it outside, seal.
 *
 * @module
 */
import type { Extent } from "./allocator.ts";
import { pieces } from "./contents.ts";
import type { Core } from "./core.ts";
import {
  type EntryFields,
  type EntryNumber,
  NO_PARENT,
  spillOffset,
  storedBytes,
} from "./entry_table.ts";
import {
  ClosedError,
  isOsError,
  NoSpaceError,
  onHost,
  UsageError,
} from "./errors.ts";
import { makeRoom } from "./eviction.ts";
import { blockOffset, usableBlocks } from "./geometry.ts";
import { EntryState, META_MAX_BYTES } from "./layout.ts";
import { showKey } from "./key.ts";
import {
  abortEntry,
  reserveEntry,
  sealEntry,
  takeRecord,
} from "./lifecycle.ts";
import { showPool } from "./segment.ts";
import { nextTick } from "./tick.ts";
import { formatBytes } from "./units.ts";
import { closeViews, fillViews, openViews } from "./views.ts";

/** What a caller may say of an entry. */
export interface PutOptions {
  /** Key of the entry that this one extends. */
  readonly parent?: string | undefined;
  /** Tokens that the value covers: 0 to 2^32 - 1. */
  readonly tokens?: number | undefined;
  /** From -2^31 to 2^31 - 1; higher stays longer under the policy `priority`. */
  readonly priority?: number | undefined;
  /** Any JSON value, up to 4 KiB as text. */
  readonly meta?: unknown;
}

/** Counts and times of an entry that comes from a snapshot. */
export type History = Pick<
  EntryFields,
  | "created_at"
  | "last_access_at"
  | "access_tick"
  | "access_count"
  | "sequence"
>;

/**
 * Room for a value: fill `bytes`, then `seal`. Take it with `using`: what was
 * not sealed is given back.
 *
 * @example
 * ```ts ignore
 * using slot = pool.reserve("doc-1", size);
 * engine.save(slot.bytes);
 * slot.seal();
 * ```
 */
export class Reservation {
  readonly key: string;
  readonly size_bytes: number;
  readonly #core: Core;
  readonly #entry: EntryNumber;
  readonly #generation: number;
  readonly #spilled: Uint8Array | undefined;
  readonly #extents: readonly Extent[];
  readonly #views: Uint8Array<ArrayBuffer>[];
  #staged: Uint8Array<ArrayBuffer> | undefined;
  #open = true;

  private constructor(
    core: Core,
    key: string,
    size_bytes: number,
    room: Reserved,
  ) {
    this.key = key;
    this.size_bytes = size_bytes;
    this.#core = core;
    this.#entry = room.entry;
    this.#generation = core.table.generation(room.entry);
    this.#spilled = room.spilled;
    this.#extents = room.extents;
    this.#views = openViews(
      core.mapping,
      pieces(core.geometry, room.extents, 0, size_bytes),
    );
  }

  /** Reserves room; see `Pool.reserve`. */
  static make(
    core: Core,
    key: string,
    size_bytes: number,
    options: PutOptions,
    history?: History,
  ): Reservation {
    core.expectAttached("put");
    const plan = planEntry(core, key, size_bytes, options, history);
    return new Reservation(core, key, size_bytes, reserveRoom(core, plan));
  }

  /**
   * The room, as one array. In shared memory where it lies in one piece, which
   * is nearly always; else private, and copied in by `seal`.
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    this.#expectOpen("fill");
    if (this.#views.length === 1) return this.#views[0]!;
    return this.#staged ??= new Uint8Array(this.size_bytes);
  }

  /** The room in shared memory, in order. */
  get views(): readonly Uint8Array<ArrayBuffer>[] {
    this.#expectOpen("fill");
    return this.#views;
  }

  /** Copies a whole value in. */
  write(bytes: Uint8Array): void {
    this.#expectOpen("fill");
    if (bytes.length !== this.size_bytes) {
      throw new UsageError(
        "fill",
        `the reservation of ${showKey(this.key)}`,
        `it is for ${this.size_bytes} bytes, not ${bytes.length}`,
      );
    }
    fillViews(this.#views, bytes);
  }

  /** Publishes the entry. From now on it is immutable, and the views are empty. */
  seal(): void {
    this.#expectOpen("seal");
    const core = this.#core;
    if (this.#staged) fillViews(this.#views, this.#staged);
    const crc = this.#views.reduce(
      (crc, view) => core.platform.crc32(view, crc),
      0,
    );
    if (this.#spilled) this.#writeSpilled(this.#spilled);
    closeViews(core.mapping, this.#views);
    core.change("seal", () => {
      this.#expectOurs("seal");
      core.table.setValueCrc(this.#entry, crc);
      sealEntry(core, this.#entry);
    });
    this.#open = false;
  }

  /** Gives the room back unless it was sealed. May be called twice. */
  abort(): void {
    if (!this.#open) return;
    this.#open = false;
    const core = this.#core;
    if (!core.isOpen) return;
    closeViews(core.mapping, this.#views);
    core.change("abort", () => {
      if (this.#isOurs()) abortEntry(core, this.#entry);
    });
  }

  [Symbol.dispose](): void {
    this.abort();
  }

  #writeSpilled(text: Uint8Array): void {
    const { geometry, mapping } = this.#core;
    const from = spillOffset(this.size_bytes);
    const views = openViews(
      mapping,
      pieces(geometry, this.#extents, from, text.length),
    );
    fillViews(views, text);
    closeViews(mapping, views);
  }

  #isOurs(): boolean {
    const { table } = this.#core;
    return table.state(this.#entry) === EntryState.RESERVED &&
      table.generation(this.#entry) === this.#generation;
  }

  #expectOurs(verb: string): void {
    if (this.#isOurs()) return;
    throw new ClosedError(
      verb,
      `entry ${showKey(this.key)}`,
      "its reservation was dropped in a recovery",
      "Put it again",
    );
  }

  #expectOpen(verb: string): void {
    if (this.#open && this.#core.isOpen) return;
    throw new ClosedError(
      verb,
      `entry ${showKey(this.key)}`,
      "the reservation is over",
    );
  }
}

/** An entry about to be. */
interface Plan {
  readonly key: string;
  readonly fields: (sequence: number) => EntryFields;
  readonly text: Uint8Array;
  readonly blocks: number;
}

interface Reserved {
  readonly entry: EntryNumber;
  readonly extents: readonly Extent[];
  /** Text that has to be written behind the value. */
  readonly spilled: Uint8Array | undefined;
}

const encoder = new TextEncoder();

function wholeNumber(
  value: number | undefined,
  what: string,
  min: number,
  max: number,
): number {
  if (value === undefined) return 0;
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(
    "put",
    `${what} ${value}`,
    `it is not a whole number from ${min} to ${max}`,
  );
}

function encodeMeta(meta: unknown): Uint8Array {
  if (meta === undefined) return new Uint8Array();
  let text: string | undefined;
  try {
    text = JSON.stringify(meta);
  } catch {
    // Said below.
  }
  if (text === undefined) {
    throw new UsageError("put", "the metadata", "it cannot be told in JSON");
  }
  const bytes = encoder.encode(text);
  if (bytes.length <= META_MAX_BYTES) return bytes;
  throw new UsageError(
    "put",
    "the metadata",
    `it is longer than ${META_MAX_BYTES} bytes as JSON`,
  );
}

function planEntry(
  core: Core,
  key: string,
  size_bytes: number,
  options: PutOptions,
  history: History | undefined,
): Plan {
  const { keys, platform, table } = core;
  wholeNumber(size_bytes, "a value of size", 0, Number.MAX_SAFE_INTEGER);
  const meta = encodeMeta(options.meta);
  const tokens = wholeNumber(options.tokens, "token count", 0, 2 ** 32 - 1);
  const priority = wholeNumber(
    options.priority,
    "priority",
    -(2 ** 31),
    2 ** 31 - 1,
  );
  const parent = options.parent === undefined
    ? NO_PARENT
    : keys.encodeCopy(options.parent, "put");
  const encoded = keys.encodeCopy(key, "put");
  const text = concat(encoded.bytes, parent.bytes, meta);
  const now = platform.now();
  return {
    key,
    text,
    blocks: table.blocksFor(size_bytes, text.length),
    fields: (sequence) => ({
      key: encoded,
      parent,
      meta,
      namespaceHash: keys.namespaceHash,
      size_bytes,
      tokens,
      priority,
      created_at: now,
      last_access_at: now,
      access_tick: nextTick(core.control.u32),
      access_count: 1,
      sequence,
      ...history,
    }),
  };
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Room that the host has backed: when it has no memory left, room by eviction. */
function reserveRoom(core: Core, plan: Plan): Reserved {
  if (plan.blocks > usableBlocks(core.geometry)) {
    throw new NoSpaceError(
      "put",
      `entry ${showKey(plan.key)}`,
      `it needs ${needs(core, plan)}, the whole of ${showPool(core.name)} has ${
        formatBytes(usableBlocks(core.geometry) * core.geometry.block_bytes)
      }`,
      "Create a larger pool",
    );
  }
  const reserved = claimRoom(core, plan, false);
  if (back(core, reserved, plan)) return reserved;
  core.change("put", () => abortEntry(core, reserved.entry));
  const warm = claimRoom(core, plan, true);
  if (back(core, warm, plan)) return warm;
  core.change("put", () => abortEntry(core, warm.entry));
  throw noMemory(core, plan);
}

function needs(core: Core, plan: Plan): string {
  return formatBytes(plan.blocks * core.geometry.block_bytes);
}

function noMemory(core: Core, plan: Plan): NoSpaceError {
  return new NoSpaceError(
    "put",
    `entry ${showKey(plan.key)}`,
    `the host has no shared memory left for its ${needs(core, plan)}`,
    "Free some of /dev/shm, or mount it larger",
  );
}

function claimRoom(core: Core, plan: Plan, backedOnly: boolean): Reserved {
  return core.change("put", () => {
    const extents = makeRoom(core, plan.blocks, backedOnly);
    if (!extents) {
      if (backedOnly) throw noMemory(core, plan);
      throw new NoSpaceError(
        "put",
        `entry ${showKey(plan.key)}`,
        `${showPool(core.name)} has no ${
          needs(core, plan)
        } that could be evicted for it`,
        "What is pinned or being written cannot be evicted: try again later",
      );
    }
    const entry = takeRecord(core);
    const sequence = core.header.stat("next_sequence");
    core.header.setStat("next_sequence", sequence + 1);
    reserveEntry(core, entry, plan.fields(sequence), extents, plan.text);
    const { spilled } = storedBytes(0, plan.text.length);
    return { entry, extents, spilled: spilled ? plan.text : undefined };
  });
}

/**
 * Has the host back the blocks with memory, outside the lock. False if it has
 * none: then nothing was touched.
 */
function back(core: Core, { extents }: Reserved, plan: Plan): boolean {
  const { committed, platform, fd, geometry } = core;
  const fresh = extents.filter(({ start, count }) =>
    !committed.all(start, count)
  );
  if (fresh.length === 0) return true;
  try {
    for (const { start, count } of fresh) {
      platform.allocate(
        fd,
        blockOffset(geometry, start),
        count * geometry.block_bytes,
      );
    }
  } catch (error) {
    if (isOsError(error, "ENOSPC") || isOsError(error, "ENOMEM")) return false;
    return onHost("put", `entry ${showKey(plan.key)}`, () => {
      throw error;
    });
  }
  core.change("put", () => noteBacked(core, fresh));
  return true;
}

function noteBacked(core: Core, extents: readonly Extent[]): void {
  const { committed, header } = core;
  for (const { start, count } of extents) {
    for (let block = start; block < start + count; block++) {
      if (committed.has(block)) continue;
      committed.set(block, 1);
      header.add("committed_blocks", 1);
    }
  }
}
