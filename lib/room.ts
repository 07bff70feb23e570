/**
 * Room for an entry: blocks and a record, under the lock, and memory behind the
 * blocks, outside it.
 *
 * @module
 */
import type { Extent } from "./allocator.ts";
import type { Core } from "./core.ts";
import { type EntryNumber, storedBytes } from "./entry_table.ts";
import { isOsError, NoSpaceError, onHost } from "./errors.ts";
import { findRoom, makeRoom } from "./eviction.ts";
import { blockOffset, usableBlocks } from "./geometry.ts";
import { showKey } from "./key.ts";
import { abortEntry, reserveEntry, takeRecord } from "./lifecycle.ts";
import type { Plan } from "./plan.ts";
import { showPool } from "./segment.ts";
import { formatBytes } from "./units.ts";

/** A reserved record and its backed blocks. */
export interface Reserved {
  readonly entry: EntryNumber;
  readonly extents: readonly Extent[];
  /** Text that has to be written behind the value. */
  readonly spilled: Uint8Array | undefined;
}

/**
 * Reserves room that the host has backed with memory; when it has no more of it,
 * room among what is backed already, by eviction.
 *
 * @throws {NoSpaceError} if there is none to be had.
 */
export function reserveRoom(core: Core, plan: Plan): Reserved {
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
    const extents = plan.mayEvict
      ? makeRoom(core, plan.blocks, backedOnly)
      : findRoom(core, plan.blocks, backedOnly);
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
