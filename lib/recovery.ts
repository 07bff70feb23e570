/**
 * Recovery: whoever takes the lock and finds that its last holder died in the
 * midst of a change works everything out again from the entry table, and drops
 * what does not hold. About 0.1 s at 32,768 entries.
 *
 * @module
 */
import { OsError } from "../ffi/platform.ts";
import type { Extent } from "./allocator.ts";
import { Bitmap } from "./bitmap.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { blockOffset } from "./geometry.ts";
import { EntryState, NONE } from "./layout.ts";
import { ordered } from "./order.ts";
import { resetPolicy } from "./replacing.ts";

/** What a rebuild found, in counts. */
export interface Rebuilt {
  readonly kept: number;
  /** Sealed entries that did not hold. */
  readonly dropped: number;
}

/**
 * Rebuilds free list, index, chains and totals. The lock must be held; the pool
 * stays marked as dirty, which is the caller's to clear.
 */
export function rebuild(core: Core): Rebuilt {
  core.header.publish("dirty", 1);
  const dead = freeDeadSlots(core);
  const claims = new Claims(core, dead);
  resetDerived(core);
  const dropped = doomLosers(core, claims);
  // Decided once for each: readers let go of pins meanwhile.
  const kept: EntryNumber[] = [];
  for (let entry = core.table.count - 1; entry >= 0; entry--) {
    if (claims.keeps(entry)) kept.push(entry);
    else dropRecord(core, entry);
  }
  keepRecords(core, kept);
  core.index.settle();
  resetPolicy(core);
  core.header.addStat("recoveries", 1);
  return { kept: kept.length, dropped };
}

/** Frees the rows of dead processes; says which rows are not in use. */
function freeDeadSlots(core: Core): (slot: number) => boolean {
  const { slots, attachment } = core;
  const live = new Set<number>();
  for (let slot = 0; slot < slots.limit; slot++) {
    if (!slots.isUsed(slot)) {
      slots.clear(slot);
    } else if (slot === attachment?.slot || slots.isHeldElsewhere(slot)) {
      live.add(slot);
    } else {
      slots.free(slot);
    }
  }
  for (const slot of live) slots.setReserved(slot, 0);
  return (slot) => !live.has(slot);
}

/**
 * Dooms sealed entries that do not hold. One that a reader still has pinned is
 * then kept as doomed, so that its bytes stay as they are until it is let go.
 */
function doomLosers(core: Core, claims: Claims): number {
  let count = 0;
  for (let entry = 0; entry < core.table.count; entry++) {
    if (core.table.state(entry) !== EntryState.SEALED) continue;
    if (claims.keeps(entry)) continue;
    core.table.doom(entry);
    count++;
  }
  return count;
}

/** Whether a record holds, taken by itself. */
function isSound(core: Core, entry: EntryNumber): boolean {
  const { table } = core;
  const state = table.state(entry);
  if (state === EntryState.FREE) return false;
  const extents = table.wholeExtents(entry);
  if (!extents) return false;
  // A reservation's text may not have been written yet, nor its blocks backed.
  if (state === EntryState.RESERVED) return true;
  return backBlocks(core, extents) && isTextSound(core, entry) &&
    hasOwnHash(core, entry);
}

/** Whether spilled text has its checksum. Its blocks must be backed. */
export function isTextSound(core: Core, entry: EntryNumber): boolean {
  const { table, contents, platform } = core;
  if (!table.isSpilled(entry)) return true;
  const text = contents.bytes(entry);
  return text !== undefined &&
    platform.crc32(text) === table.word(entry, "text_crc");
}

/** Whether the record has the hash of its own key. */
export function hasOwnHash(core: Core, entry: EntryNumber): boolean {
  const { contents, keys, table } = core;
  const key = contents.keyBytes(entry);
  return key !== undefined &&
    table.matches(entry, keys.hash(key), keys.namespaceHash);
}

/**
 * Makes sure that an entry's blocks have memory: who backed them may have died
 * before he could say so. What is in them stays.
 */
function backBlocks(core: Core, extents: readonly Extent[]): boolean {
  const { committed, platform, fd, geometry } = core;
  try {
    for (const { start, count } of extents) {
      if (committed.all(start, count)) continue;
      const at = blockOffset(geometry, start);
      platform.allocate(fd, at, count * geometry.block_bytes);
      committed.set(start, count);
    }
    return true;
  } catch (error) {
    if (error instanceof OsError) return false;
    throw error;
  }
}

/** Which records hold, given all the others. */
class Claims {
  readonly #core: Core;
  readonly #isDead: (slot: number) => boolean;
  readonly #sound: Uint8Array;
  readonly #contested: Bitmap;
  #isAnyContested = false;
  /** 1: of the sealed entries of its key it is the youngest. */
  readonly #newest: Uint8Array;

  constructor(core: Core, isDead: (slot: number) => boolean) {
    this.#core = core;
    this.#isDead = isDead;
    this.#sound = Uint8Array.from(
      { length: core.table.count },
      (_, entry) => isSound(core, entry) ? 1 : 0,
    );
    this.#contested = Bitmap.empty(core.geometry.blocks);
    this.#findContested();
    this.#newest = this.#findNewest();
  }

  /** Whether the record stays what it is. */
  keeps(entry: EntryNumber): boolean {
    if (!this.#mayHold(entry)) return false;
    // Of two records that claim a block, who can say whose bytes are in it?
    if (this.#isAnyContested && this.#isContested(entry)) return false;
    return this.#core.table.state(entry) !== EntryState.SEALED ||
      this.#newest[entry] === 1;
  }

  #isContested(entry: EntryNumber): boolean {
    const extents = this.#core.table.extents(entry) ?? [];
    return extents.some((e) => this.#contested.any(e.start, e.count));
  }

  #mayHold(entry: EntryNumber): boolean {
    const { table, slots } = this.#core;
    const sound = this.#sound[entry] === 1;
    switch (table.state(entry)) {
      case EntryState.SEALED:
        return sound;
      case EntryState.RESERVED: {
        const slot = table.word(entry, "owner_slot");
        return !this.#isDead(slot) &&
          table.word(entry, "owner_incarnation") === slots.incarnation(slot) &&
          sound;
      }
      case EntryState.DOOMED:
        return slots.isPinned(entry) && sound;
      default:
        return false;
    }
  }

  #findContested(): void {
    const { table, geometry } = this.#core;
    const claimed = Bitmap.empty(geometry.blocks);
    for (let entry = 0; entry < table.count; entry++) {
      if (!this.#mayHold(entry)) continue;
      for (const { start, count } of table.extents(entry) ?? []) {
        const isFree = claimed.claim(start, count, this.#contested);
        if (!isFree) this.#isAnyContested = true;
      }
    }
  }

  /** The youngest sealed entry of each key: an older one was about to be doomed. */
  #findNewest(): Uint8Array {
    const { table, contents, geometry } = this.#core;
    const newest = new Uint8Array(table.count);
    // Chains by hash, as in the key index, with the youngest of a key in front.
    const heads = new Uint32Array(geometry.buckets).fill(NONE);
    const links = new Uint32Array(table.count);
    for (let entry = 0; entry < table.count; entry++) {
      if (table.state(entry) !== EntryState.SEALED) continue;
      if (this.#sound[entry] !== 1) continue;
      const bucket = table.keyWord(entry, 0) & (geometry.buckets - 1);
      let other = heads[bucket]!;
      while (
        other !== NONE && !(table.hasSameHash(other - 1, entry) &&
          contents.sameKey(other - 1, entry))
      ) other = links[other - 1]!;
      if (other !== NONE) {
        const isOlder = table.real(entry, "sequence") <=
          table.real(other - 1, "sequence");
        if (isOlder) continue;
        newest[other - 1] = 0;
      }
      newest[entry] = 1;
      links[entry] = heads[bucket]!;
      heads[bucket] = entry + 1;
    }
    return newest;
  }
}

function resetDerived(core: Core): void {
  const { header, freeList, index, geometry } = core;
  freeList.clearAll();
  freeList.set(0, geometry.system_blocks);
  index.clear();
  header.set("free_record", NONE);
  header.set("doomed_record", NONE);
  header.set("entries", 0);
  header.set("reserved", 0);
  header.set("doomed", 0);
  header.set("used_blocks", 0);
  // The tables are backed, or we would not be here.
  core.committed.set(0, geometry.system_blocks);
  header.set(
    "committed_blocks",
    core.committed.count() - geometry.system_blocks,
  );
}

function dropRecord(core: Core, entry: EntryNumber): void {
  const { table, links, header } = core;
  if (table.state(entry) !== EntryState.FREE) table.doom(entry);
  table.setState(entry, EntryState.FREE);
  links.set(entry, header.get("free_record"));
  header.set("free_record", entry + 1);
}

/** Puts every record that holds back into free list, chain and totals. */
function keepRecords(core: Core, kept: EntryNumber[]): void {
  const { table, header } = core;
  // Oldest first, so that the youngest of a chain ends at its head.
  const age = (entry: EntryNumber) => table.real(entry, "sequence");
  const byAge = ordered(kept, age, () => 0);
  for (const entry of byAge) keepRecord(core, entry);
  const youngest = byAge.at(-1);
  const next = youngest === undefined ? 1 : age(youngest) + 1;
  header.setStat(
    "next_sequence",
    Math.max(next, header.stat("next_sequence")),
  );
}

function keepRecord(core: Core, entry: EntryNumber): void {
  const { table, header, freeList, index, links, slots } = core;
  for (const { start, count } of table.extents(entry) ?? []) {
    freeList.set(start, count);
    header.add("used_blocks", count);
  }
  const state = table.state(entry);
  if (state === EntryState.DOOMED) {
    links.set(entry, header.get("doomed_record"));
    header.set("doomed_record", entry + 1);
    header.add("doomed", 1);
    return;
  }
  index.insert(entry, table.keyWord(entry, 0));
  if (state === EntryState.SEALED) {
    header.add("entries", 1);
    return;
  }
  const slot = table.word(entry, "owner_slot");
  slots.setReserved(slot, slots.reserved(slot) + 1);
  header.add("reserved", 1);
}
