/**
 * Room for an entry: blocks and a record, under the lock, and memory behind the
 * blocks, outside it.
 *
 * @module
 */
import type { Extent } from "./allocator.ts";
import type { Core } from "./core.ts";
import { storedBytes } from "./stored.ts";
import { CorruptError, NoMemoryError, NoSpaceError, onHost } from "./errors.ts";
import { findRoom, makeRoom } from "./eviction.ts";
import { blockOffset, usableBlocks } from "./geometry.ts";
import { showKey } from "./key.ts";
import { reserveEntry, type Reserving, takeRecord } from "./lifecycle.ts";
import type { Plan } from "./plan.ts";
import { rebuild } from "./recovery.ts";
import { showPool } from "./segment.ts";
import { formatBytes } from "./units.ts";

/** A reserved record and its backed blocks. */
export interface Reserved extends Reserving {
  readonly extents: readonly Extent[];
  /** Text that has to be written behind the value. */
  readonly spilled: Uint8Array | undefined;
}

/** Reserved room that may be touched. */
export interface BackedRoom extends Reserved {
  /** What was backed for it just now, to be noted under the lock. */
  readonly fresh: readonly Extent[];
}

/**
 * Reserves room that the host has backed with memory; when it has no more of it,
 * room among what is backed already, by eviction.
 *
 * @throws {NoSpaceError} if there is none to be had.
 */
export function reserveRoom(core: Core, plan: Plan): BackedRoom {
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
  for (const backedOnly of [false, true]) {
    const reserved = claimRoom(core, plan, backedOnly);
    const fresh = backRoom(core, reserved, plan);
    if (fresh) return { ...reserved, fresh };
    core.abandon(reserved);
  }
  throw noMemory(core, plan);
}

function needs(core: Core, plan: Plan): string {
  return formatBytes(plan.blocks * core.geometry.block_bytes);
}

function noMemory(core: Core, plan: Plan): NoMemoryError {
  if (core.identity.tier === "disk") {
    return new NoMemoryError(
      "put",
      `entry ${showKey(plan.key)}`,
      `its pool's disk has no room left for its ${needs(core, plan)}`,
      "Free some of that disk",
    );
  }
  return new NoMemoryError(
    "put",
    `entry ${showKey(plan.key)}`,
    `the host has no shared memory left for its ${needs(core, plan)}`,
    "Free some of /dev/shm, or mount it larger",
  );
}

function claimRoom(core: Core, plan: Plan, backedOnly: boolean): Reserved {
  return core.change("put", () => {
    const reserved = tryClaim(core, plan, backedOnly);
    if (reserved) return reserved;
    // Chain or free list lead where they must not: work them out again.
    rebuild(core);
    const mended = tryClaim(core, plan, backedOnly);
    if (mended) return mended;
    throw new CorruptError(
      "put",
      `entry ${showKey(plan.key)}`,
      `${showPool(core.name)} is damaged`,
      `Mend it: cortex cache check ${core.name} --repair`,
    );
  });
}

/** A reservation, or `undefined` if the pool's free list or records are damaged. */
function tryClaim(
  core: Core,
  plan: Plan,
  backedOnly: boolean,
): Reserved | undefined {
  const extents = plan.mayEvict
    ? makeRoom(core, plan.blocks, backedOnly)
    : findRoom(core, plan.blocks, backedOnly);
  if (!extents) {
    if (!areTotalsTrue(core)) return undefined;
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
  const { system_blocks } = core.geometry;
  if (entry === -1 || extents.some(({ start }) => start < system_blocks)) {
    return undefined;
  }
  const sequence = core.header.stat("next_sequence");
  core.header.setStat("next_sequence", sequence + 1);
  reserveEntry(core, entry, plan.fields(sequence), extents, plan.text);
  const { spilled } = storedBytes(0, plan.text.length);
  return {
    entry,
    generation: core.table.generation(entry),
    extents,
    spilled: spilled ? plan.text.slice() : undefined,
  };
}

/** What was refused for want of room may only be miscounted. */
function areTotalsTrue({ header, freeList, committed, geometry }: Core) {
  const { system_blocks } = geometry;
  return freeList.count() - system_blocks === header.get("used_blocks") &&
    committed.count() - system_blocks === header.get("committed_blocks");
}

/**
 * Has the host back the blocks with memory, outside the lock.
 *
 * @returns what is newly backed, or `undefined` if the host has no memory: then
 * nothing was touched. After any other failure the room is given back.
 */
function backRoom(
  core: Core,
  reserved: Reserved,
  plan: Plan,
): Extent[] | undefined {
  const { committed } = core;
  const fresh = reserved.extents.filter(({ start, count }) =>
    !committed.all(start, count)
  );
  if (fresh.length === 0) return fresh;
  try {
    onHost("put", `entry ${showKey(plan.key)}`, () => back(core, fresh));
    return fresh;
  } catch (error) {
    if (error instanceof NoSpaceError) return undefined;
    core.abandon(reserved);
    throw error;
  }
}

function back(core: Core, extents: readonly Extent[]): void {
  const { platform, fd, geometry } = core;
  for (const { start, count } of extents) {
    platform.allocate(
      fd,
      blockOffset(geometry, start),
      count * geometry.block_bytes,
    );
  }
}
