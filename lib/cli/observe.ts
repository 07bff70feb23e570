/**
 * Looking at pools without touching them.
 *
 * @module
 */
import { observePool, type PoolStatus } from "../describe.ts";
import { CortexError, isOsError } from "../errors.ts";
import { isLost } from "../place.ts";
import { listSegments } from "../segment.ts";
import type { Context } from "./context.ts";
import { note } from "./context.ts";
import { formatBytes } from "../units.ts";
import { count, grouped, percent, table } from "./format.ts";

/** A pool's status. */
export function observe(context: Context, name: string): PoolStatus {
  return observePool(context.platform(), name);
}

/** Every pool's status. What cannot be read is told of, and left out. */
export function observeAll(context: Context): PoolStatus[] {
  const found: PoolStatus[] = [];
  let refused = 0;
  for (const name of listSegments(context.platform())) {
    try {
      found.push(observe(context, name));
    } catch (error) {
      if (!(error instanceof CortexError)) throw error;
      if (isOsError(error.cause, "EACCES")) {
        refused++;
        continue;
      }
      // It went away meanwhile: then it is not there to be listed.
      const isGone = error.code === "NOT_FOUND" &&
        !isLost(context.platform(), name);
      if (!isGone) note(context, `cortex: ${error.message}`);
    }
  }
  if (refused > 0) {
    note(context, `cortex: Left out ${count(refused, "pool")} of other users`);
  }
  return found;
}

/** Pools in a table, one a line. */
export function poolTable(pools: readonly PoolStatus[]): string {
  if (pools.length === 0) {
    return "No pools. Make one: cortex cache create NAME --size 16G";
  }
  return table(
    ["NAME", "SIZE", "USED", "ENTRIES", "HIT RATE", "POLICY", "ATTACHED"],
    pools.map((pool) => [
      pool.name,
      formatBytes(pool.size_bytes),
      percent(pool.used_bytes / pool.data_bytes),
      grouped(pool.entries),
      percent(pool.hit_rate),
      pool.policy,
      String(pool.attached),
    ]),
    ["SIZE", "USED", "ENTRIES", "HIT RATE", "ATTACHED"],
  );
}
