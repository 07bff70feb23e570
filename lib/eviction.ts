/**
 * Eviction: the policy orders, this takes. Runs inside `Core.change`.
 *
 * Pinned and reserved entries are never taken. Under pressure one batch goes
 * down to the pool's low watermark, so that the cost of choosing is spread over
 * the puts that follow.
 *
 * @module
 */
import { type Extent, findExtents, findNear } from "./allocator.ts";
import { Bitmap } from "./bitmap.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { usableBlocks } from "./geometry.ts";
import { BLOCKS_PER_PAGE, EntryState } from "./layout.ts";
import { doomEntry, noteRoom, reapDeadSlots } from "./lifecycle.ts";
import type { PolicyName } from "./policy/mod.ts";
import { rehearse, resetPolicy } from "./replacing.ts";

/** What an eviction freed, or would free. */
export interface Evicted {
  readonly entries: number;
  readonly blocks: number;
}

/** Whether an entry may go: sealed, and pinned by nobody. */
function evictable(core: Core): (entry: EntryNumber) => boolean {
  const { table, slots } = core;
  return (entry) =>
    entry < table.count && table.state(entry) === EntryState.SEALED &&
    !slots.isPinned(entry);
}

/**
 * The pool's policy's next victim, or -1. Nothing that the policy keeps in the
 * pool is trusted: if it finds none where there are some, it is set up anew.
 */
function nextVictim(
  core: Core,
  mayGo: (entry: EntryNumber) => boolean,
  now: number,
): EntryNumber | -1 {
  const { replacement, table } = core;
  const victim = replacement.victim(mayGo, now);
  if (victim !== -1) return victim;
  for (let entry = 0; entry < table.count; entry++) {
    if (!mayGo(entry)) continue;
    resetPolicy(core);
    return replacement.victim(mayGo, now);
  }
  return -1;
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
  const { identity, replacement, table } = core;
  // Only the pool's own policy is told of what it learns by this.
  const isOwn = policy === identity.policy && !dryRun;
  const order = isOwn ? replacement : rehearse(core, policy);
  order.tellUses();
  const mayGo = evictable(core), now = core.platform.now();
  let entries = 0, freed = 0;
  while (freed < blocks) {
    const entry = isOwn
      ? nextVictim(core, mayGo, now)
      : order.victim(mayGo, now);
    if (entry === -1) break;
    entries++;
    freed += table.blocks(entry);
    if (!isOwn) order.remove(entry, true);
    if (!dryRun) evictOne(core, entry);
  }
  return { entries, blocks: freed };
}

function evictOne(core: Core, entry: EntryNumber): void {
  doomEntry(core, entry, true);
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
  const { replacement, platform } = core;
  replacement.tellUses();
  const fresh = findRoom(core, blocks, backedOnly);
  if (fresh) return fresh;

  reapDeadSlots(core);
  replacement.pressed();
  const mayGo = evictable(core), now = platform.now();
  // Choosing changes what the policy knows: it is asked for no more than go.
  let next = nextVictim(core, mayGo, now);
  const suffices = next !== -1 && core.table.blocks(next) >= blocks &&
    !backedOnly;
  if (!suffices && !canSuffice(core, blocks, backedOnly)) {
    return findRoom(core, blocks, backedOnly); // a dead process's may suffice
  }
  let target = lowWatermark(core, blocks, blockLimit(core, backedOnly));
  for (;;) {
    let taken = false;
    while (!target.reached()) {
      const victim = next !== -1 ? next : nextVictim(core, mayGo, now);
      if (victim === -1) break;
      next = -1;
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
  const { header } = core;
  if (header.get("free_record") === 0) return undefined;
  const free = usableBlocks(core.geometry) - header.get("used_blocks");
  if (free < blocks) return undefined;
  // Backed blocks first: they are warm, and cost the host nothing more.
  const backed = header.get("committed_blocks") - header.get("used_blocks");
  if (backed >= blocks) {
    const extents = findBlocks(core, blocks, true);
    if (extents) return extents;
  }
  return backedOnly ? undefined : findBlocks(core, blocks, false);
}

/** Values of fewer blocks take the next room there is; larger ones the smallest. */
const NEAR_BLOCKS_MAX = BLOCKS_PER_PAGE / 64;

function findBlocks(
  core: Core,
  blocks: number,
  backedOnly: boolean,
): Extent[] | undefined {
  const { committed, freeList: used } = core;
  const options = { used, within: backedOnly ? committed : undefined };
  if (blocks > 0 && blocks < NEAR_BLOCKS_MAX) {
    const start = findNear(blocks, searchFrom(core), options);
    if (start !== -1) {
      noteRoom(core, start);
      return [{ start, count: blocks }];
    }
  }
  return findExtents(blocks, options);
}

/** Where we found or gave back room last; or the page in which another did. */
function searchFrom({ header, geometry, room }: Core): number {
  const page = header.get("search_page") % geometry.free_list_pages;
  return Math.floor(room.at / BLOCKS_PER_PAGE) === page
    ? room.at
    : page * BLOCKS_PER_PAGE;
}

function blockLimit(core: Core, backedOnly: boolean): number {
  return backedOnly
    ? core.header.get("committed_blocks")
    : usableBlocks(core.geometry);
}

/** Whether there would be room if all that may go went. */
function canSuffice(core: Core, blocks: number, backedOnly: boolean): boolean {
  const { header, slots } = core;
  if (header.get("free_record") === 0 && header.get("entries") === 0) {
    return false;
  }
  if (blockLimit(core, backedOnly) < blocks) return false;
  const isHeld = header.get("reserved") > 0 || header.get("doomed") > 0 ||
    !slots.allPins().isEmpty();
  // What stays, pinned or being written, may leave room in too many pieces.
  return !isHeld || roomWithout(core, blocks, backedOnly);
}

function roomWithout(
  core: Core,
  blocks: number,
  backedOnly: boolean,
): boolean {
  const { freeList, committed, header, table } = core;
  const mayGo = evictable(core);
  const used = new Bitmap(freeList.words.slice(), freeList.length);
  let some = header.get("free_record") !== 0;
  for (let entry = 0; entry < table.count; entry++) {
    if (!mayGo(entry)) continue;
    some = true;
    for (const { start, count } of table.extents(entry) ?? []) {
      used.clear(start, count);
    }
  }
  const within = backedOnly ? committed : undefined;
  return some && findExtents(blocks, { used, within }) !== undefined;
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
