/**
 * Replays traces against the policies' own code.
 *
 * @module
 */
import type { PolicyName } from "../policy/mod.ts";
import { KnowingCache } from "./bound.ts";
import { SimulatedCache } from "./cache.ts";
import type { Trace } from "./trace.ts";

export { parseTrace, type Trace } from "./trace.ts";

/** Name under which the all-knowing bound is reported. */
export const BOUND = "bound";

/** What is to be replayed. */
export interface SimOptions {
  /** A policy, or the all-knowing bound. */
  readonly policy: PolicyName | typeof BOUND;
  /** Room, in `unit`. */
  readonly room: number;
  readonly unit: "blocks" | "bytes";
  /** Bytes a block: of what is in blocks, how many it takes, or how large each is. */
  readonly block_bytes?: number | undefined;
  /** Percent of the room that evicting goes down to; 100: just what is needed. */
  readonly low_percent?: number | undefined;
}

/** What a cache would have hit. */
export interface SimResult {
  readonly policy: PolicyName | typeof BOUND;
  readonly room: number;
  readonly requests: number;
  readonly block_touches: number;
  /** Leading blocks of requests that were there. */
  readonly prefix_hits: number;
  /** Of the touches: 0 to 1. */
  readonly hit_rate: number;
}

/**
 * Replays a trace: for each request in order, its hits are the leading blocks
 * that are there; then every block of it is used or put in, head to tail.
 *
 * @example
 * ```ts
 * import { parseTrace, simulate } from "./mod.ts";
 * import assert from "node:assert/strict";
 *
 * const trace = parseTrace("a,1\nb,1\na,1\n", "a trace");
 * const { prefix_hits } = simulate(trace, { policy: "lru", room: 2, unit: "blocks" });
 * assert.equal(prefix_hits, 1);
 * ```
 */
export function simulate(trace: Trace, options: SimOptions): SimResult {
  const { policy, room } = options;
  const weightOf = weights(trace, options);
  const access = policy === BOUND
    ? knowing(trace, room, weightOf)
    : simulated(trace, options, policy, weightOf);
  const { starts } = trace;
  const requests = starts.length - 1;
  let prefix_hits = 0;
  for (let request = 0; request < requests; request++) {
    const end = starts[request + 1]!;
    let leads = true;
    for (let touch = starts[request]!; touch < end; touch++) {
      const hit = access(touch);
      // Nothing is put in before the first miss, so these were there before.
      leads &&= hit;
      if (leads) prefix_hits++;
    }
  }
  const block_touches = trace.touches.length;
  return {
    policy,
    room,
    requests,
    block_touches,
    prefix_hits,
    hit_rate: prefix_hits / block_touches,
  };
}

type Weight = (touch: number) => number;

function weights(trace: Trace, { unit, block_bytes }: SimOptions): Weight {
  const { sizes } = trace;
  if (unit === "bytes") {
    return (touch) => Math.max(1, sizes[touch]! || (block_bytes ?? 1));
  }
  if (block_bytes === undefined) return () => 1;
  return (touch) => Math.max(1, Math.ceil(sizes[touch]! / block_bytes));
}

function knowing(trace: Trace, room: number, weightOf: Weight) {
  const cache = new KnowingCache(trace, room);
  const { touches } = trace;
  return (touch: number) =>
    cache.access(touch, touches[touch]!, weightOf(touch));
}

function simulated(
  trace: Trace,
  { room, unit, low_percent = 100 }: SimOptions,
  policy: PolicyName,
  weightOf: Weight,
) {
  const { keys, touches, parents } = trace;
  const cache = new SimulatedCache(policy, keys, {
    weight: room,
    entries: unit === "blocks" ? room : keys,
    low_percent,
  });
  return (touch: number) =>
    cache.access(touches[touch]!, parents[touch]!, weightOf(touch));
}
