/**
 * Eviction: the policy orders, this takes. Runs inside `Core.change`.
 *
 * Pinned and reserved entries are never taken. Under pressure one batch goes
 * down to the pool's low watermark, so that the cost of choosing is spread over
 * the puts that follow.
 *
 * @module
 */
import { type Extent, findExtents } from "./allocator.ts";
import { Bitmap } from "./bitmap.ts";
import type { Core } from "./core.ts";
import { usableBlocks } from "./geometry.ts";
import { EntryState } from "./layout.ts";
import { doomEntry, reapDeadSlots } from "./lifecycle.ts";
import { POLICIES, type PolicyName } from "./policy/mod.ts";
import { currentTick } from "./tick.ts";
import { type Candidate, VictimQueue } from "./victims.ts";

/** What an eviction freed, or would free. */
export interface Evicted {
  readonly entries: number;
  readonly blocks: number;
}

/** Every entry that may go: sealed, and pinned by nobody. */
function candidates(core: Core): Candidate[] {
  const { table, slots } = core;
  const pinned = slots.allPins();
  const found: Candidate[] = [];
  for (let entry = 0; entry < table.count; entry++) {
    if (table.state(entry) !== EntryState.SEALED || pinned.has(entry)) continue;
    found.push({
      entry,
      blocks: table.blocks(entry),
      sequence: table.real(entry, "sequence"),
      access_tick: table.real(entry, "access_tick"),
      access_count: table.word(entry, "access_count"),
      priority: table.priority(entry),
    });
  }
  return found;
}

function queue(core: Core, found: Candidate[], policy: PolicyName) {
  return new VictimQueue(found, POLICIES[policy], {
    tick: currentTick(core.control.u32),
    entries: found.length,
  });
}

/**
 * Evicts in policy order until at least `blocks` are freed, or none is left.
 */
export function evictBlocks(
  core: Core,
  blocks: number,
  policy: PolicyName,
  dryRun: boolean,
): Evicted {
  reapDeadSlots(core);
  const victims = queue(core, candidates(core), policy);
  let entries = 0, freed = 0;
  while (freed < blocks) {
    const victim = victims.next();
    if (!victim) break;
    if (!dryRun) evictOne(core, victim);
    entries++;
    freed += victim.blocks;
  }
  return { entries, blocks: freed };
}

function evictOne(core: Core, victim: Candidate): void {
  doomEntry(core, victim.entry);
  core.header.addStat("evictions", 1);
}

/**
 * Finds blocks and a record for a new entry, evicting if it must. Evicts nothing
 * if even all that may go would not make room.
 *
 * @param backedOnly use only blocks that the host has backed with memory.
 */
export function makeRoom(
  core: Core,
  blocks: number,
  backedOnly: boolean,
): Extent[] | undefined {
  const fresh = findRoom(core, blocks, backedOnly);
  if (fresh) return fresh;

  reapDeadSlots(core);
  const found = candidates(core);
  if (!canSuffice(core, found, blocks, backedOnly)) {
    return findRoom(core, blocks, backedOnly); // a dead process's may suffice
  }
  const victims = queue(core, found, core.identity.policy);
  let target = lowWatermark(core, blocks, blockLimit(core, backedOnly));
  for (;;) {
    let taken = false;
    while (!target.reached()) {
      const victim = victims.next();
      if (!victim) break;
      evictOne(core, victim);
      taken = true;
    }
    const extents = findRoom(core, blocks, backedOnly);
    if (extents || !taken) return extents;
    // Enough blocks, but in too many pieces: go on, a little at a time.
    target = oneMore(core, blocks);
  }
}

/** Free blocks and a free record, if there are both without evicting. */
export function findRoom(
  core: Core,
  blocks: number,
  backedOnly: boolean,
): Extent[] | undefined {
  const { header, freeList: used, committed } = core;
  if (header.get("free_record") === 0) return undefined;
  const free = usableBlocks(core.geometry) - header.get("used_blocks");
  if (free < blocks) return undefined;
  // Backed blocks first: they are warm, and cost the host nothing more.
  const backed = header.get("committed_blocks") - header.get("used_blocks");
  if (backed >= blocks) {
    const extents = findExtents(blocks, { used, within: committed });
    if (extents) return extents;
  }
  return backedOnly ? undefined : findExtents(blocks, { used });
}

function blockLimit(core: Core, backedOnly: boolean): number {
  return backedOnly
    ? core.header.get("committed_blocks")
    : usableBlocks(core.geometry);
}

function canSuffice(
  core: Core,
  found: readonly Candidate[],
  blocks: number,
  backedOnly: boolean,
): boolean {
  const { header } = core;
  const limit = blockLimit(core, backedOnly);
  const evictable = found.reduce((sum, one) => sum + one.blocks, 0);
  const used_blocks = header.get("used_blocks");
  const hasRecord = header.get("free_record") !== 0 || found.length > 0;
  if (!hasRecord || limit - used_blocks + evictable < blocks) return false;
  // What stays, pinned or being written, may leave room in too many pieces.
  return evictable === used_blocks ||
    roomWithout(core, found, blocks, backedOnly);
}

/** Whether there would be room if every candidate went. */
function roomWithout(
  core: Core,
  found: readonly Candidate[],
  blocks: number,
  backedOnly: boolean,
): boolean {
  const { freeList, committed, table } = core;
  const used = new Bitmap(freeList.words.slice(), freeList.length);
  for (const { entry } of found) {
    for (const { start, count } of table.extents(entry) ?? []) {
      used.clear(start, count);
    }
  }
  const within = backedOnly ? committed : undefined;
  return findExtents(blocks, { used, within }) !== undefined;
}

/** How far to evict. */
interface Target {
  reached(): boolean;
}

/** Room for the value and a record, and down to the low watermark of what was short. */
function lowWatermark(core: Core, blocks: number, limit: number): Target {
  const { header, table } = core;
  const share = core.identity.low_percent / 100;
  const shortOfBlocks = limit - header.get("used_blocks") < blocks;
  const shortOfRecords = header.get("free_record") === 0;
  if (!shortOfBlocks && !shortOfRecords) return oneMore(core, blocks);
  return atMost(
    core,
    shortOfBlocks
      ? Math.min(limit - blocks, Math.floor(limit * share))
      : Infinity,
    shortOfRecords
      ? Math.min(header.get("entries") - 1, Math.floor(table.count * share))
      : Infinity,
  );
}

/** A part of the blocks again, and at least one entry: then to look again. */
function oneMore(core: Core, blocks: number): Target {
  const { header } = core;
  return atMost(
    core,
    header.get("used_blocks") - Math.ceil(blocks / 16),
    header.get("entries") - 1,
  );
}

function atMost(core: Core, used_blocks: number, entries: number): Target {
  const { header } = core;
  return {
    reached: () =>
      header.get("used_blocks") <= used_blocks &&
      header.get("entries") <= entries,
  };
}
