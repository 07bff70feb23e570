/**
 * What a snapshot says of the pool itself, and the pool of its snapshot.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { describePool } from "../describe.ts";
import { CortexError } from "../errors.ts";
import { currentTick } from "../tick.ts";
import type { PoolRecord } from "./manifest.ts";

/** What the pool is, and where its counts stand. */
export function recordPool(core: Core): PoolRecord {
  const status = describePool(core);
  const { hits, misses, puts, evictions, deletes, recoveries } = status;
  return {
    name: core.name,
    uuid: status.uuid,
    mode: core.platform.stat(core.fd).mode,
    size_bytes: status.size_bytes,
    block_size_bytes: status.block_size_bytes,
    max_entries: status.max_entries,
    policy: status.policy,
    tier: status.tier,
    low_percent: core.identity.low_percent,
    namespace: status.namespace,
    created_at: status.created_at,
    tick: currentTick(core.control.u32),
    next_sequence: core.header.stat("next_sequence"),
    hits,
    misses,
    puts,
    evictions,
    deletes,
    recoveries,
  };
}

/** The snapshot is whole: a pool that is gone or busy meanwhile takes nothing from it. */
export function noteSaved(core: Core, created_at: number): void {
  try {
    core.change("persist", () => {
      core.header.setStat("last_persist_at", created_at);
    });
  } catch (error) {
    if (!(error instanceof CortexError)) throw error;
  }
}
