/**
 * Slots of processes that died: their pins keep entries from being evicted, and
 * their reservations keep room, until the next to attach or evict sees it.
 *
 * @module
 */
import { OsError, type Platform } from "../../ffi/platform.ts";
import type { Core } from "../core.ts";
import { BusyError, CorruptError, CortexError, stateOf } from "../errors.ts";
import { EntryState } from "../layout.ts";
import { reapDeadSlots } from "../lifecycle.ts";
import { Pool } from "../pool.ts";
import { segmentOf } from "../segment.ts";
import type { Sweep } from "./litter.ts";

/** Gives back what dead processes had of each pool. */
export function sweepSlots(platform: Platform, sweep: Sweep): void {
  for (const name of Pool.list({ platform })) {
    const path = `/dev/shm/${segmentOf(name)}`;
    try {
      using pool = Pool.open(name, { observe: true, platform });
      const { core } = pool;
      const damage = findDamage(core);
      if (damage !== undefined) {
        sweep.left({ path, reason: damage });
        continue;
      }
      const dead = findDead(core);
      if (dead.slots === 0) continue;
      // One who only observes does not wait for the lock.
      if (!sweep.dryRun) core.change("sweep", () => reapDeadSlots(core));
      sweep.removed({
        kind: "dead slots",
        path,
        reason: describe(dead),
        size_bytes: dead.reserved_bytes,
      });
    } catch (error) {
      if (error instanceof BusyError) {
        sweep.left({ path, reason: "it has dead slots, but is busy" });
        continue;
      }
      // Gone meanwhile, or not to be opened: sweepSegments tells of those.
      if (!(error instanceof CortexError || error instanceof OsError)) {
        throw error;
      }
    }
  }
}

/** Why nothing may be changed in a pool that can be looked at, if that is so. */
function findDamage(core: Core): string | undefined {
  try {
    void core.replacement;
    return undefined;
  } catch (error) {
    if (!(error instanceof CorruptError)) throw error;
    return stateOf(error);
  }
}

/** What dead processes have of a pool. */
export interface Dead {
  readonly slots: number;
  readonly pins: number;
  readonly reserved: number;
  readonly reserved_bytes: number;
}

/** Counts it, without a lock and without changing anything. */
export function findDead({ slots, table, geometry }: Core): Dead {
  const dead = new Set<number>();
  let pins = 0, reserved = 0, blocks = 0;
  for (let slot = 0; slot < slots.limit; slot++) {
    const incarnation = slots.incarnation(slot);
    if (!slots.isUsed(slot) || slots.isHeldElsewhere(slot)) continue;
    // Its owner may have closed it just now, and another taken it.
    if (!slots.isUsed(slot) || slots.incarnation(slot) !== incarnation) {
      continue;
    }
    dead.add(slot);
    pins += slots.pins(slot).count();
  }
  for (let entry = 0; dead.size > 0 && entry < table.count; entry++) {
    if (table.state(entry) !== EntryState.RESERVED) continue;
    if (!dead.has(table.word(entry, "owner_slot"))) continue;
    reserved++;
    blocks += table.blocks(entry);
  }
  return {
    slots: dead.size,
    pins,
    reserved,
    reserved_bytes: blocks * geometry.block_bytes,
  };
}

function describe({ slots, pins, reserved }: Dead): string {
  return `${slots} of its handles ended without closing: ${pins} pinned, ${reserved} reserved`;
}
