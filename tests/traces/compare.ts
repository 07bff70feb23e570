/**
 * `prefix` against the policies that it is held to.
 *
 * @module
 */
import type { PolicyName } from "../../lib/policy/mod.ts";
import { simulate, type Trace } from "../../lib/sim/mod.ts";

/** The policies whose best `prefix` may be so far behind. */
const OTHERS: readonly PolicyName[] = [
  "lru",
  "lfu",
  "fifo",
  "sieve",
  "s3fifo",
  "arc",
];
export const POINTS_BEHIND_MAX = 0.3;

/** How a policy does in so many blocks: prefix hits in percent. */
export function percent(
  trace: Trace,
  policy: PolicyName,
  room: number,
): number {
  return simulate(trace, { policy, room, unit: "blocks" }).hit_rate * 100;
}

/** The best of the others, and how many points `prefix` is ahead of it. */
export function compare(
  trace: Trace,
  room: number,
): { best: PolicyName; points: number } {
  const [most, best] = OTHERS
    .map((policy) => [percent(trace, policy, room), policy] as const)
    .reduce((a, b) => (b[0] > a[0] ? b : a));
  return { best, points: percent(trace, "prefix", room) - most };
}
