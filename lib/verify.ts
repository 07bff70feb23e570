/**
 * Values against their checksums, while others read and write: no lock is held,
 * each entry is pinned while it is read.
 *
 * @module
 */
import { pieces } from "./contents.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { EntryState } from "./layout.ts";
import { pinEntry } from "./lookup.ts";
import type { Progress } from "./progress.ts";
import { closeViews, openViews } from "./views.ts";

/** An entry as it was when it was looked at. */
export interface Seen {
  readonly entry: EntryNumber;
  readonly generation: number;
}

/** Reads the value of every sealed entry; returns those that are damaged. */
export function* verifySteps(core: Core): Generator<Progress, Seen[]> {
  const { pins } = core.expectAttached("check");
  const sealed = listSealed(core);
  const total_bytes = sealed.reduce(
    (sum, { entry }) => sum + core.table.size_bytes(entry),
    0,
  );
  const damaged: Seen[] = [];
  let done_bytes = 0;
  for (const seen of sealed) {
    const { entry, generation } = seen;
    core.expectOpen("check");
    // It may have been evicted or replaced meanwhile: then it is gone.
    if (!pinEntry(core, entry, generation, pins)) continue;
    try {
      done_bytes += core.table.size_bytes(entry);
      if (isValueDamaged(core, entry)) damaged.push(seen);
    } finally {
      pins.unpin(entry);
    }
    // It was doomed while we held it: its blocks are ours to give back.
    if (core.table.state(entry) === EntryState.DOOMED) core.tryTidy();
    yield { done_bytes, total_bytes };
  }
  return damaged;
}

function listSealed({ table }: Core): Seen[] {
  const sealed: Seen[] = [];
  for (let entry = 0; entry < table.count; entry++) {
    const generation = table.generation(entry);
    if (table.state(entry) !== EntryState.SEALED) continue;
    sealed.push({ entry, generation });
  }
  return sealed;
}

/** What a record does not say for sure is a matter of its own checksum. */
function isValueDamaged(core: Core, entry: EntryNumber): boolean {
  const expected = core.table.valueCrc(entry);
  if (expected === undefined || !core.table.isSound(entry)) return false;
  const found = valueCrc(core, entry);
  return found !== undefined && found !== expected;
}

/** CRC-32 of a value as it lies in the pool; `undefined` if it may not be touched. */
export function valueCrc(
  core: Core,
  entry: EntryNumber,
): number | undefined {
  const { table, geometry, mapping, platform } = core;
  const extents = table.backedExtents(entry);
  if (!extents) return undefined;
  const views = openViews(
    mapping,
    pieces(geometry, extents, 0, table.size_bytes(entry)),
  );
  try {
    return views.reduce((crc, view) => platform.crc32(view, crc), 0);
  } finally {
    closeViews(mapping, views);
  }
}
