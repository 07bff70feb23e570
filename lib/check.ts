/**
 * Proves that a pool is whole: every block is free or owned exactly once, every
 * record is in one chain, every index entry leads to its record and back, and
 * every checksum and total holds.
 *
 * @module
 */
import { Bitmap } from "./bitmap.ts";
import { pieces } from "./contents.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { showKey } from "./key.ts";
import { EntryState, NONE } from "./layout.ts";
import { hasOwnHash, isTextSound } from "./recovery.ts";
import { closeViews, openViews } from "./views.ts";

/** What {@linkcode checkPool} found. */
export interface CheckReport {
  readonly ok: boolean;
  /** One sentence each. */
  readonly problems: string[];
}

/** Which checks to make. */
export interface CheckOptions {
  /** Read every value, and hold it against its checksum. */
  readonly values?: boolean | undefined;
}

/** Checks a pool. The lock must be held. */
export function checkPool(core: Core, options: CheckOptions = {}): CheckReport {
  const problems: string[] = [];
  const report = (problem: string) => problems.push(problem);
  checkOwners(core, report);
  checkChains(core, report);
  checkTotals(core, report);
  checkTexts(core, report);
  if (options.values) checkValues(core, report);
  return { ok: problems.length === 0, problems };
}

type Report = (problem: string) => void;

function* records(core: Core, state?: number): Generator<EntryNumber> {
  for (let entry = 0; entry < core.table.count; entry++) {
    const found = core.table.state(entry);
    if (state === undefined ? found !== EntryState.FREE : found === state) {
      yield entry;
    }
  }
}

/** Blocks of records, system blocks and the free list agree. */
function checkOwners(core: Core, report: Report): void {
  const { geometry, table, freeList, committed } = core;
  const owned = new Bitmap(
    new Uint32Array(freeList.words.length),
    geometry.blocks,
  );
  owned.set(0, geometry.system_blocks);
  for (const entry of records(core)) {
    if (!table.isSound(entry)) {
      report(`record ${entry} is damaged (checksum or bounds)`);
      continue;
    }
    for (const { start, count } of table.extents(entry) ?? []) {
      if (owned.any(start, count)) {
        report(`record ${entry} claims a block that another owns`);
      }
      owned.set(start, count);
      const isReserved = table.state(entry) === EntryState.RESERVED;
      if (!isReserved && !committed.all(start, count)) {
        report(`record ${entry} lies in blocks that have no memory`);
      }
    }
  }
  for (let block = 0; block < geometry.blocks; block++) {
    if (owned.has(block) === freeList.has(block)) continue;
    report(
      owned.has(block)
        ? `block ${block} is owned, but free in the free list`
        : `block ${block} is used in the free list, but nobody owns it`,
    );
  }
}

/** Every record is in exactly one chain, the right one. */
function checkChains(core: Core, report: Report): void {
  const { table, index, header } = core;
  const seen = new Uint8Array(table.count);
  const hash = new Uint32Array(4);
  for (let bucket = 0; bucket < core.geometry.buckets; bucket++) {
    hash[0] = bucket;
    walk(core, index.first(hash), seen, report, (entry) => {
      const state = table.state(entry);
      if (state !== EntryState.RESERVED && state !== EntryState.SEALED) {
        report(`record ${entry} is in the index, but holds no entry`);
      } else if (
        (table.keyHash(entry)[0]! & (core.geometry.buckets - 1)) !== bucket
      ) report(`record ${entry} is in another key's chain`);
    });
  }
  const list = (head: number, state: number, name: string) =>
    walk(core, head === NONE ? -1 : head - 1, seen, report, (entry) => {
      if (table.state(entry) !== state) {
        report(`record ${entry} is wrongly among the ${name} records`);
      }
    });
  list(header.get("free_record"), EntryState.FREE, "free");
  list(header.get("doomed_record"), EntryState.DOOMED, "doomed");
  seen.forEach((count, entry) => {
    if (count === 0) report(`record ${entry} is in no chain`);
  });
}

function walk(
  core: Core,
  from: EntryNumber | -1,
  seen: Uint8Array,
  report: Report,
  visit: (entry: EntryNumber) => void,
): void {
  for (let at = from; at !== -1; at = core.links.next(at)) {
    if (at >= seen.length) return report(`a chain leads to no record`);
    if (seen[at]) return report(`record ${at} is in two chains`);
    seen[at] = 1;
    visit(at);
  }
}

function checkTotals(core: Core, report: Report): void {
  const { table, header, committed, geometry } = core;
  let entries = 0, reserved = 0, doomed = 0, used_blocks = 0;
  for (const entry of records(core)) {
    const state = table.state(entry);
    if (state === EntryState.SEALED) entries++;
    else if (state === EntryState.RESERVED) reserved++;
    else if (state === EntryState.DOOMED) doomed++;
    else report(`record ${entry} is in no known state`);
    used_blocks += table.blocks(entry);
  }
  const committed_blocks = committed.count() - geometry.system_blocks;
  const sums = { entries, reserved, doomed, used_blocks, committed_blocks };
  for (const [name, sum] of Object.entries(sums)) {
    const total = header.get(name as keyof typeof sums);
    if (total !== sum) report(`the header says ${total} ${name}, not ${sum}`);
  }
}

/** Text is text, and spilled text has its checksum. */
function checkTexts(core: Core, report: Report): void {
  const { contents } = core;
  const seen = new Set<string>();
  for (const entry of records(core, EntryState.SEALED)) {
    const text = contents.read(entry);
    if (!text) continue; // told by checkOwners
    if (!isTextSound(core, entry)) {
      report(`the text of record ${entry} is damaged (checksum)`);
      continue;
    }
    if (!hasOwnHash(core, entry)) {
      report(`entry ${showKey(text.key)} has another key's hash`);
    }
    if (seen.has(text.key)) report(`key ${showKey(text.key)} has two entries`);
    seen.add(text.key);
  }
}

function checkValues(core: Core, report: Report): void {
  for (const entry of records(core, EntryState.SEALED)) {
    const expected = core.table.valueCrc(entry);
    if (expected === undefined || valueCrc(core, entry) === expected) continue;
    const key = core.contents.read(entry)?.key ?? "";
    report(`the value of entry ${showKey(key)} is damaged (checksum)`);
  }
}

/** CRC-32 of a value as it lies in the pool. */
export function valueCrc(core: Core, entry: EntryNumber): number {
  const { table, geometry, mapping, platform } = core;
  const extents = table.backedExtents(entry) ?? [];
  const views = openViews(
    mapping,
    pieces(geometry, extents, 0, table.size_bytes(entry)),
  );
  const crc = views.reduce((crc, view) => platform.crc32(view, crc), 0);
  closeViews(mapping, views);
  return crc;
}

/** Dooms what a check of values would find, before a rebuild. */
export function damagedValues(core: Core): EntryNumber[] {
  return [...records(core, EntryState.SEALED)].filter((entry) => {
    const expected = core.table.valueCrc(entry);
    return core.table.isSound(entry) && expected !== undefined &&
      valueCrc(core, entry) !== expected;
  });
}
