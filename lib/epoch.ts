/**
 * Pools on disk outlive the host's runs. After a crash of the host, any page of
 * such a pool may be the one of before: records are held against their checksums
 * at once, like after the death of a writer, and values when they are first read.
 *
 * @module
 */
import type { Platform } from "../ffi/platform.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { blockOffset } from "./geometry.ts";
import { EntryState } from "./layout.ts";
import { doomEntry } from "./lifecycle.ts";
import { rebuild } from "./recovery.ts";
import { valueCrc } from "./verify.ts";

/** The host's run, as 32 hexadecimal digits. */
export function bootIdOf(core: Pick<Core, "platform">): string {
  return core.platform.bootId().replaceAll("-", "");
}

/**
 * The number of the host's run, never 0. A count would come again when the page
 * that has it comes back as it was before, and with it what was verified then.
 */
function epochOf(platform: Platform, bootId: string): number {
  return platform.crc32(new TextEncoder().encode(bootId)) || 1;
}

/**
 * Begins a new epoch if the host was started since the pool was last opened. Runs
 * inside `Core.change`; pools in memory have none.
 */
export function beginEpoch(core: Core): void {
  if (core.identity.tier !== "disk") return;
  const bootId = bootIdOf(core);
  if (core.header.bootId === bootId) return;
  core.header.publish("epoch", epochOf(core.platform, bootId));
  backAgain(core);
  rebuild(core);
  // Last: whoever dies before this, the next one does it all once more.
  core.header.setBootId(bootId);
}

/** What the file system set aside may not have come to the disk, either. */
function backAgain(core: Core): void {
  const { committed, geometry, platform, fd } = core;
  const { block_bytes, blocks } = geometry;
  for (let block = 0; block < blocks;) {
    if (!committed.has(block)) {
      block++;
      continue;
    }
    const from = block;
    while (block < blocks && committed.has(block)) block++;
    platform.allocate(
      fd,
      blockOffset(geometry, from),
      (block - from) * block_bytes,
    );
  }
}

/**
 * Whether a pinned entry that was not read in this epoch has its checksum. One
 * that has not is dropped.
 */
export function verifyFirstTouch(core: Core, entry: EntryNumber): boolean {
  const { table } = core;
  const expected = table.valueCrc(entry);
  if (expected === undefined || valueCrc(core, entry) === expected) {
    table.setVerified(entry);
    return true;
  }
  const generation = table.generation(entry);
  core.change("drop", () => {
    const same = table.state(entry) === EntryState.SEALED &&
      table.generation(entry) === generation;
    if (same) doomEntry(core, entry);
  });
  return false;
}
