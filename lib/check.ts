/**
 * Proves that a pool is whole: every block is free or owned exactly once, every
 * record is in one chain, every index entry leads to its record and back, every
 * pin has an owner, and every checksum and total holds.
 *
 * @module
 */
import { Bitmap } from "./bitmap.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { showKey } from "./key.ts";
import { EntryState, NONE } from "./layout.ts";
import { reapDeadSlots, sweepDoomed } from "./lifecycle.ts";
import type { Progress } from "./progress.ts";
import { hasOwnHash, isTextSound } from "./recovery.ts";
import { verifySteps } from "./verify.ts";

/** How often the tables are looked at before they are said to be damaged. */
const LOOKS_MAX = 3;

/** What {@linkcode checkSteps} found. */
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

/** Something that does not hold. */
export interface Finding {
  /** One sentence. */
  readonly problem: string;
  /** The records that it is about, if it is about any. */
  readonly entries: readonly EntryNumber[];
}

/**
 * Checks a pool, step by step. The tables are checked under the lock, at once;
 * values without it, so that writers do not wait.
 */
export function* checkSteps(
  core: Core,
  options: CheckOptions = {},
): Generator<Progress, CheckReport> {
  core.expectAttached("check");
  let problems = lookOnce(core);
  // Hits take no lock: what one of them was in the midst of is not there twice.
  for (let look = 1; look < LOOKS_MAX && problems.length > 0; look++) {
    problems = lookOnce(core);
  }
  if (options.values) {
    for (const { entry } of yield* verifySteps(core)) {
      problems.push(valueProblem(core, entry));
    }
  }
  return { ok: problems.length === 0, problems };
}

/** The tables, at rest but for what hits do. */
function lookOnce(core: Core): string[] {
  return core.change("check", () => {
    reapDeadSlots(core);
    sweepDoomed(core);
    return findProblems(core).map(({ problem }) => problem);
  });
}

/** How a damaged value is put. */
export function valueProblem(core: Core, entry: EntryNumber): string {
  const key = core.contents.read(entry)?.key ?? "";
  return `the value of entry ${showKey(key)} is damaged (checksum)`;
}

/** Everything but the values. The lock must be held. */
export function findProblems(core: Core): Finding[] {
  const findings: Finding[] = [];
  const report: Report = (problem, ...entries) =>
    findings.push({ problem, entries });
  checkOwners(core, report);
  checkChains(core, report);
  checkTotals(core, report);
  checkTexts(core, report);
  checkSlots(core, report);
  return findings;
}

type Report = (problem: string, ...entries: EntryNumber[]) => void;

function* records(core: Core, state?: number): Generator<EntryNumber> {
  for (let entry = 0; entry < core.table.count; entry++) {
    const found = core.table.state(entry);
    if (state === undefined ? found !== EntryState.FREE : found === state) {
      yield entry;
    }
  }
}

function emptyBitmap({ geometry }: Core): Bitmap {
  return Bitmap.empty(geometry.blocks);
}

/** Blocks of records, system blocks and the free list agree. */
function checkOwners(core: Core, report: Report): void {
  const { geometry, table, committed } = core;
  const owned = emptyBitmap(core), contested = emptyBitmap(core);
  owned.set(0, geometry.system_blocks);
  for (const entry of records(core)) {
    const extents = table.wholeExtents(entry);
    if (!extents) {
      report(`record ${entry} is damaged (checksum or bounds)`, entry);
      continue;
    }
    for (const { start, count } of extents) {
      owned.claim(start, count, contested);
      const isReserved = table.state(entry) === EntryState.RESERVED;
      if (!isReserved && !committed.all(start, count)) {
        report(`record ${entry} lies in blocks that have no memory`, entry);
      }
    }
  }
  checkContested(core, contested, report);
  checkFreeList(core, owned, report);
}

function checkContested(core: Core, contested: Bitmap, report: Report): void {
  const { table } = core;
  if (contested.count() === 0) return;
  for (const entry of records(core)) {
    const claims = table.wholeExtents(entry) ?? [];
    if (claims.some(({ start, count }) => contested.any(start, count))) {
      report(`record ${entry} claims a block that another owns`, entry);
    }
  }
}

/** One problem for each run of blocks that are wrong in the same way. */
function checkFreeList(core: Core, owned: Bitmap, report: Report): void {
  const { geometry: { blocks }, freeList } = core;
  const isWrong = (block: number) => owned.has(block) !== freeList.has(block);
  for (let block = 0; block < blocks; block++) {
    if (!isWrong(block)) continue;
    const first = block, isOwned = owned.has(block);
    while (
      block + 1 < blocks && isWrong(block + 1) &&
      owned.has(block + 1) === isOwned
    ) block++;
    const which = first === block
      ? `block ${first} is`
      : `blocks ${first} to ${block} are`;
    report(
      isOwned
        ? `${which} owned, but free in the free list`
        : `${which} used in the free list, but nobody owns ${
          first === block ? "it" : "them"
        }`,
    );
  }
}

/** Every record is in exactly one chain, the right one. */
function checkChains(core: Core, report: Report): void {
  const { table, index, header } = core;
  const seen = new Uint8Array(table.count);
  for (let bucket = 0; bucket < core.geometry.buckets; bucket++) {
    walk(core, index.first(bucket), seen, report, (entry) => {
      const state = table.state(entry);
      if (state !== EntryState.RESERVED && state !== EntryState.SEALED) {
        report(`record ${entry} is in the index, but holds no entry`, entry);
      } else if (
        (table.keyWord(entry, 0) & (core.geometry.buckets - 1)) !== bucket
      ) report(`record ${entry} is in another key's chain`, entry);
    });
  }
  const list = (head: number, state: number, name: string) =>
    walk(core, head === NONE ? -1 : head - 1, seen, report, (entry) => {
      if (table.state(entry) !== state) {
        report(`record ${entry} is wrongly among the ${name} records`, entry);
      }
    });
  list(header.get("free_record"), EntryState.FREE, "free");
  list(header.get("doomed_record"), EntryState.DOOMED, "doomed");
  seen.forEach((count, entry) => {
    if (count === 0) report(`record ${entry} is in no chain`, entry);
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
    if (seen[at]) return report(`record ${at} is in two chains`, at);
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
    else report(`record ${entry} is in no known state`, entry);
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
  const seen = new Map<string, EntryNumber>();
  for (const entry of records(core, EntryState.SEALED)) {
    const text = contents.read(entry);
    if (!text) continue; // told by checkOwners
    if (!isTextSound(core, entry)) {
      report(`the text of record ${entry} is damaged (checksum)`, entry);
      continue;
    }
    if (!hasOwnHash(core, entry)) {
      report(`entry ${showKey(text.key)} has another key's hash`, entry);
    }
    const other = seen.get(text.key);
    if (other !== undefined) {
      report(`key ${showKey(text.key)} has two entries`, entry, other);
    }
    seen.set(text.key, entry);
  }
}

/** A row that nobody has pins nothing, and each has its own reservations. */
function checkSlots(core: Core, report: Report): void {
  const { slots, table } = core;
  const reserved = new Uint32Array(slots.limit);
  for (const entry of records(core, EntryState.RESERVED)) {
    const slot = table.word(entry, "owner_slot");
    if (slot < reserved.length && slots.isUsed(slot)) reserved[slot]!++;
    else report(`record ${entry} is reserved by nobody`, entry);
  }
  for (let slot = 0; slot < slots.limit; slot++) {
    if (!slots.isUsed(slot) && slots.pins(slot).count() > 0) {
      report(`slot ${slot} is nobody's, but pins entries`);
    }
    const count = slots.reserved(slot);
    if (count !== reserved[slot]) {
      report(`slot ${slot} says ${count} reserved, not ${reserved[slot]}`);
    }
  }
}
