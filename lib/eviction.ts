/**
 * Eviction: the policy orders, this takes. Runs inside `Core.change`.
 *
 * Pinned and reserved entries are never taken. Under pressure more go than are
 * needed, down to the pool's low watermark, so that the cost of choosing is spread
 * over the puts that follow: in steps, as others wait.
 *
 * @module
 */
import { type Extent, findExtents, findNear } from "./allocator.ts";
import { Bitmap } from "./bitmap.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { usableBlocks } from "./geometry.ts";
import { BLOCKS_PER_PAGE, EntryState } from "./layout.ts";
import {
  evictEntries,
  noteRoom,
  reapDeadSlots,
  type Target,
  type Wanted,
} from "./lifecycle.ts";
import type { PolicyName } from "./policy/mod.ts";
import { rehearse, resetPolicy } from "./replacing.ts";

/** What an eviction freed, or would free. */
export interface Evicted {
  readonly entries: number;
  readonly blocks: number;
  /** Whether it stopped only so that others need not wait. */
  readonly isUnfinished: boolean;
}

/** Victims that are chosen, and then withdrawn, together. */
const BATCH = 64;
/**
 * Entries that go under one lock, for which others wait: by an eviction that is
 * asked for, or beyond what a put needs.
 */
const STEP_MAX = 1024;

/** Whether an entry may go: sealed, and pinned by nobody. */
function evictable(core: Core): (entry: EntryNumber) => boolean {
  const { table, slots } = core;
  return (entry) =>
    entry < table.count && table.state(entry) === EntryState.SEALED &&
    !slots.isPinned(entry);
}

/**
 * As `evictable`, of entries that the policy holds, which are sealed unless its
 * part of the pool is damaged: no record is looked at yet.
 */
function choosable({ table, slots }: Core): (entry: EntryNumber) => boolean {
  return (entry) => entry < table.count && !slots.isPinned(entry);
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
  const victim = core.replacement.victim(mayGo, now);
  if (victim !== -1 || !someMayGo(core)) return victim;
  resetPolicy(core);
  return core.replacement.victim(mayGo, now);
}

function someMayGo(core: Core): boolean {
  const mayGo = evictable(core);
  for (let entry = 0; entry < core.table.count; entry++) {
    if (mayGo(entry)) return true;
  }
  return false;
}

/**
 * Evicts in policy order until at least `blocks` are freed, or none is left, or
 * others have waited long enough.
 */
export function evictBlocks(
  core: Core,
  blocks: number,
  policy: PolicyName,
  dryRun: boolean,
): Evicted {
  reapDeadSlots(core);
  // Only the pool's own policy is told of what it learns by this.
  return policy === core.identity.policy && !dryRun
    ? evictByOwn(core, blocks)
    : evictByRehearsal(core, blocks, policy, dryRun);
}

function evictByOwn(core: Core, blocks: number): Evicted {
  core.replacement.tellUses();
  let entries = 0, freed = 0;
  while (freed < blocks && entries < STEP_MAX) {
    const gone = evictBatch(core, { blocks: blocks - freed });
    if (gone.length === 0) {
      return { entries, blocks: freed, isUnfinished: false };
    }
    entries += gone.length;
    freed += blocksOf(core, gone);
  }
  return { entries, blocks: freed, isUnfinished: freed < blocks };
}

/** Of entries that have gone just now: their records say still what they were. */
function blocksOf({ table }: Core, gone: readonly EntryNumber[]): number {
  return gone.reduce((sum, entry) => sum + table.blocks(entry), 0);
}

function evictByRehearsal(
  core: Core,
  blocks: number,
  policy: PolicyName,
  dryRun: boolean,
): Evicted {
  const order = rehearse(core, policy);
  order.tellUses();
  const mayGo = evictable(core), now = core.platform.now();
  const victims: EntryNumber[] = [];
  let freed = 0;
  // A damaged order may name one and the same again and again.
  while (freed < blocks && victims.length < core.table.count) {
    const entry = order.victim(mayGo, now);
    if (entry === -1) break;
    freed += core.table.blocks(entry);
    order.remove(entry, true);
    victims.push(entry);
  }
  if (!dryRun) {
    for (const entry of victims) core.replacement.letGo(entry);
    evictEntries(core, victims);
  }
  return { entries: victims.length, blocks: freed, isUnfinished: false };
}

/**
 * Evicts what the pool's policy lets go, as much as is wanted at most; nothing,
 * if there is none. First all are chosen, then all are withdrawn: records, which
 * were used the longest ago, are in no cache, and are fetched all at once so.
 */
function evictBatch(core: Core, wanted: Wanted, first = -1): EntryNumber[] {
  const { replacement, platform } = core;
  const { blocks = 0, entries = 0 } = wanted;
  const mayGo = choosable(core), now = platform.now();
  const victims: EntryNumber[] = [];
  let freed = 0, next = first;
  while (
    victims.length < BATCH && (freed < blocks || victims.length < entries)
  ) {
    let victim = next;
    // With some of them chosen, it may well know of no more: that is no damage.
    if (victim === -1) {
      victim = victims.length === 0
        ? nextVictim(core, mayGo, now)
        : replacement.victim(mayGo, now);
    }
    if (victim === -1) break;
    next = -1;
    freed += replacement.letGo(victim);
    victims.push(victim);
  }
  const gone = evictEntries(core, victims, { blocks, entries });
  // What it let go was not there, or larger than it said: nor can it be right
  // about the others. Those that were not needed, it is told of anew.
  if (gone.length < victims.length) resetPolicy(core);
  const isTold = gone.length > 0 || victims.length === 0;
  return isTold ? gone : evictBatch(core, wanted);
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
  const { replacement, platform, table } = core;
  replacement.tellUses();
  goOnEvicting(core);
  const fresh = findRoom(core, blocks, backedOnly);
  if (fresh) return fresh;

  reapDeadSlots(core);
  replacement.pressed();
  // Choosing changes what the policy knows: it is asked for no more than go.
  let next = nextVictim(core, choosable(core), platform.now());
  const suffices = next !== -1 && table.blocks(next) >= blocks && !backedOnly;
  if (!suffices && !canSuffice(core, blocks, backedOnly, next !== -1)) {
    return findRoom(core, blocks, backedOnly); // a dead process's may suffice
  }
  let target = lowWatermark(core, blocks, blockLimit(core, backedOnly));
  for (;;) {
    let taken = false;
    for (let wanted = target(); wanted !== undefined; wanted = target()) {
      const gone = evictBatch(core, wanted, next);
      next = -1;
      if (gone.length === 0) break;
      taken = true;
    }
    const extents = findRoom(core, blocks, backedOnly);
    if (extents || !taken) return extents;
    // Enough blocks, but in too many pieces: go on, a little at a time.
    target = oneMore(core, blocks);
  }
}

/** Takes the next step to the low watermark, if the last put did not get there. */
function goOnEvicting(core: Core): void {
  const { pressure } = core;
  for (let entries = 0; pressure.ahead;) {
    const wanted = pressure.ahead();
    if (wanted && entries >= STEP_MAX) return;
    const gone = wanted ? evictBatch(core, wanted) : [];
    if (gone.length === 0) pressure.ahead = undefined;
    entries += gone.length;
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

/**
 * Whether there would be room if all that may go went.
 *
 * @param someMayGo whether anything may.
 */
function canSuffice(
  core: Core,
  blocks: number,
  backedOnly: boolean,
  someMayGo: boolean,
): boolean {
  const { committed, freeList, geometry, header, table } = core;
  if (header.get("free_record") === 0 && !someMayGo) return false;
  if (blockLimit(core, backedOnly) < blocks) return false;
  const held = heldEntries(core);
  if (held.size === 0) return true;
  // What stays may leave room in too many pieces.
  const used = Bitmap.empty(freeList.length);
  used.set(0, geometry.system_blocks);
  for (const entry of held) {
    for (const { start, count } of table.extents(entry) ?? []) {
      used.set(start, count);
    }
  }
  const within = backedOnly ? committed : undefined;
  return findExtents(blocks, { used, within }) !== undefined;
}

/** Entries that no eviction can take: pinned, or being written. */
function heldEntries({ header, slots, table }: Core): Set<EntryNumber> {
  // A reader that comes too late pins what is free, until it sees that.
  const isThere = (entry: EntryNumber) =>
    table.state(entry) !== EntryState.FREE;
  const held = new Set(slots.allPins().indexes().filter(isThere));
  let unseen = header.get("reserved") + header.get("doomed");
  const isOnItsWay = (entry: EntryNumber) => {
    const state = table.state(entry);
    return state === EntryState.RESERVED || state === EntryState.DOOMED;
  };
  for (const entry of held) if (isOnItsWay(entry)) unseen--;
  // Nothing says which are being written, but how many there are.
  for (let entry = 0; unseen > 0 && entry < table.count; entry++) {
    if (held.has(entry) || !isOnItsWay(entry)) continue;
    held.add(entry);
    unseen--;
  }
  return held;
}

/** Room for the value and a record, and a step towards the low watermark of what was short. */
function lowWatermark(core: Core, blocks: number, limit: number): Target {
  const { header, table } = core;
  const share = core.identity.low_percent / 100;
  const entries = header.get("entries");
  const shortOfBlocks = limit - header.get("used_blocks") < blocks;
  const shortOfRecords = header.get("free_record") === 0;
  if (!shortOfBlocks && !shortOfRecords) return oneMore(core, blocks);
  const target = (blocks_max: number, entries_max: number) =>
    atMost(
      core,
      shortOfBlocks ? Math.min(limit - blocks, blocks_max) : Infinity,
      shortOfRecords ? Math.min(entries - 1, entries_max) : Infinity,
    );
  const needed = target(limit, entries);
  const ahead = target(
    Math.floor(limit * share),
    Math.floor(table.count * share),
  );
  return () => {
    const wanted = ahead();
    core.pressure.ahead = wanted && ahead;
    return entries - header.get("entries") < STEP_MAX ? wanted : needed();
  };
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
  return () => {
    const wanted = {
      blocks: header.get("used_blocks") - used_blocks,
      entries: header.get("entries") - entries,
    };
    return wanted.blocks > 0 || wanted.entries > 0 ? wanted : undefined;
  };
}
