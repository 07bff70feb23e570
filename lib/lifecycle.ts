/**
 * The life of an entry: reserved, sealed, doomed, free. All of it runs inside
 * `Core.change`.
 *
 * @module
 */
import type { Extent } from "./allocator.ts";
import type { Core } from "./core.ts";
import type { EntryFields } from "./entry_fields.ts";
import type { EntryNumber } from "./entry_table.ts";
import { BLOCKS_PER_PAGE, EntryState, NONE } from "./layout.ts";
import { admit } from "./replacing.ts";

/** A record that no entry has; -1 if the chain of free ones leads to none. */
export function takeRecord(core: Core): EntryNumber | -1 {
  const { header, links, table } = core;
  const entry = header.get("free_record") - 1;
  if (entry < 0 || entry >= table.count) return -1;
  if (table.state(entry) !== EntryState.FREE) return -1;
  header.set("free_record", links.peek(entry));
  return entry;
}

/** Makes a reservation: blocks, record and index entry are its own from here on. */
export function reserveEntry(
  core: Core,
  entry: EntryNumber,
  fields: EntryFields,
  extents: readonly Extent[],
  text: Uint8Array,
): void {
  const { header, table, freeList, index, slots, attachment } = core;
  for (const { start, count } of extents) {
    freeList.set(start, count);
    header.add("used_blocks", count);
  }
  table.write(entry, fields, extents, text);
  if (attachment) {
    table.setOwner(entry, attachment.slot, attachment.incarnation);
    slots.setReserved(attachment.slot, slots.reserved(attachment.slot) + 1);
  }
  table.setState(entry, EntryState.RESERVED);
  header.add("reserved", 1);
  index.insert(entry, fields.key.hash[0]!);
}

/** Publishes a filled reservation, then dooms what had its key before. */
export function sealEntry(core: Core, entry: EntryNumber): void {
  const { header, table } = core;
  table.setVerified(entry);
  table.setState(entry, EntryState.SEALED);
  forgetReservation(core, entry);
  header.add("entries", 1);
  header.addStat("puts", 1);
  admit(core, entry);
  for (const older of sealedWithSameKey(core, entry)) doomEntry(core, older);
}

/** A reservation of ours: a recovery may drop it, and its record be used again. */
export interface Reserving {
  readonly entry: EntryNumber;
  readonly generation: number;
  /** What the host backed for it, still to be noted. */
  readonly fresh?: readonly Extent[];
}

/** Notes blocks that the host has backed with memory: they stay so. */
export function noteBacked(core: Core, extents: readonly Extent[]): void {
  const { committed, header } = core;
  for (const { start, count } of extents) {
    for (let block = start; block < start + count; block++) {
      if (committed.has(block)) continue;
      committed.set(block, 1);
      header.add("committed_blocks", 1);
    }
  }
}

/** Whether the reservation still is what it was. */
export function isReserving(
  core: Core,
  { entry, generation }: Reserving,
): boolean {
  return core.table.state(entry) === EntryState.RESERVED &&
    core.table.generation(entry) === generation;
}

/** Gives a reservation back. */
export function abortEntry(core: Core, entry: EntryNumber): void {
  forgetReservation(core, entry);
  unlink(core, entry);
  freeEntry(core, entry);
}

/** Takes a sealed entry out of reach, and frees it unless it is pinned. */
export function doomEntry(core: Core, entry: EntryNumber): void {
  core.replacement.remove(entry, false);
  withdraw(core, entry);
}

/** How much is to be freed: more than 0 of either. */
export interface Wanted {
  readonly blocks?: number;
  readonly entries?: number;
}

/** How far to evict: what is wanted still, or `undefined` at the end. */
export type Target = () => Wanted | undefined;

/**
 * As `doomEntry`, for entries that the policy has let go, as far as they are
 * wanted. What is not sealed, it had no business with.
 *
 * @returns those that are gone.
 */
export function evictEntries(
  core: Core,
  entries: readonly EntryNumber[],
  { blocks = Infinity, entries: count = Infinity }: Wanted = {},
): EntryNumber[] {
  const { table, index, replacement, header } = core;
  for (const entry of entries) table.fetch(entry);
  for (const entry of entries) index.fetch(entry, table.keyWord(entry, 0));
  replacement.remember();
  const gone: EntryNumber[] = [];
  let freed = 0;
  for (const entry of entries) {
    if (freed >= blocks && gone.length >= count) break;
    if (table.state(entry) !== EntryState.SEALED) continue;
    freed += withdraw(core, entry);
    gone.push(entry);
  }
  header.addStat("evictions", gone.length);
  return gone;
}

/** @returns the blocks that are free now. */
function withdraw(core: Core, entry: EntryNumber): number {
  const { header, links, slots } = core;
  unlink(core, entry);
  header.add("entries", -1);
  // After the doom: a reader that pinned before it is seen here, and one that
  // pins after it sees the doom.
  if (!slots.isPinned(entry)) return freeEntry(core, entry);
  links.set(entry, header.get("doomed_record"));
  header.set("doomed_record", entry + 1);
  header.add("doomed", 1);
  return 0;
}

function unlink(core: Core, entry: EntryNumber): void {
  const { index, table } = core;
  const word = table.keyWord(entry, 0);
  const wasThere = index.remove(entry, word, () => table.doom(entry));
  // Then it is in another chain, which must not lead on into what comes next.
  if (!wasThere) core.suspect();
}

/** Frees the doomed entries that nobody has pinned any more. */
export function sweepDoomed(core: Core): void {
  const { header, links, slots, table } = core;
  const doomed: EntryNumber[] = [];
  let at = links.target(header.get("doomed_record"));
  for (let steps = 0; at !== -1 && steps < table.count; steps++) {
    doomed.push(at);
    at = links.next(at);
  }
  // A chain that leads elsewhere, or in a circle, is for a check to find, not to
  // be followed.
  const isSound = at === -1 &&
    doomed.every((entry) => table.state(entry) === EntryState.DOOMED);
  if (!isSound) return;
  header.set("doomed_record", NONE);
  header.set("doomed", 0);
  for (const entry of doomed) {
    if (slots.isPinned(entry)) {
      links.set(entry, header.get("doomed_record"));
      header.set("doomed_record", entry + 1);
      header.add("doomed", 1);
    } else {
      freeEntry(core, entry);
    }
  }
}

/** Notes where room was found or given back: the next is looked for there. */
export function noteRoom({ header, room }: Core, block: number): void {
  room.at = block;
  header.set("search_page", Math.floor(block / BLOCKS_PER_PAGE));
}

/**
 * Gives blocks and record of a doomed entry back.
 *
 * @returns how many blocks.
 */
function freeEntry(core: Core, entry: EntryNumber): number {
  const { header, table, links } = core;
  const freed = freeItsBlocks(core, entry);
  table.setState(entry, EntryState.FREE);
  links.set(entry, header.get("free_record"));
  header.set("free_record", entry + 1);
  return freed;
}

function freeItsBlocks(core: Core, entry: EntryNumber): number {
  const { own, table } = core;
  const start = own.startOf(entry);
  if (start !== -1) return freeBlocks(core, start, own.countOf(entry));
  const extents = table.soundExtents(entry);
  // Who knows whose blocks it names? A rebuild finds out which are nobody's.
  if (!extents) core.suspect();
  let freed = 0;
  for (const { start, count } of extents ?? []) {
    freed += freeBlocks(core, start, count);
  }
  return freed;
}

function freeBlocks(core: Core, start: number, count: number): number {
  core.freeList.clear(start, count);
  core.header.add("used_blocks", -count);
  noteRoom(core, start);
  return count;
}

/** Frees what a dead process had open, under the lock. */
export function reapDeadSlots(core: Core): void {
  const { slots, attachment } = core;
  for (let slot = 0; slot < slots.limit; slot++) {
    if (slot === attachment?.slot || !slots.isUsed(slot)) continue;
    if (slots.isHeldElsewhere(slot)) continue;
    releaseSlot(core, slot);
  }
}

/** Gives back a slot with its reservations and pins. */
export function releaseSlot(core: Core, slot: number): void {
  const { slots } = core;
  if (slots.reserved(slot) > 0) {
    for (const entry of reservationsOf(core, slot)) abortEntry(core, entry);
  }
  slots.free(slot);
  if (core.header.get("doomed") > 0) sweepDoomed(core);
}

function reservationsOf(core: Core, slot: number): EntryNumber[] {
  const { table } = core;
  const found: EntryNumber[] = [];
  for (let entry = 0; entry < table.count; entry++) {
    if (
      table.state(entry) === EntryState.RESERVED &&
      table.word(entry, "owner_slot") === slot
    ) found.push(entry);
  }
  return found;
}

function forgetReservation(core: Core, entry: EntryNumber): void {
  const { header, table, slots } = core;
  header.add("reserved", -1);
  const slot = table.word(entry, "owner_slot");
  if (slot >= slots.limit) return;
  slots.setReserved(slot, slots.reserved(slot) - 1);
}

/** Sealed entries, other than `entry`, that have its key. */
function sealedWithSameKey(core: Core, entry: EntryNumber): EntryNumber[] {
  const { table, index } = core;
  const found: EntryNumber[] = [];
  let at = index.first(table.keyWord(entry, 0));
  for (let steps = 0; at !== -1 && steps < table.count; steps++) {
    if (
      at !== entry && table.state(at) === EntryState.SEALED &&
      table.hasSameHash(at, entry) && core.contents.sameKey(at, entry)
    ) found.push(at);
    at = index.next(at);
  }
  return found;
}
