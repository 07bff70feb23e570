import type { Policy } from "./policy.ts";

/**
 * Accesses to the pool, per entry in it, after which an idle entry's count has
 * lost half its weight: without ageing, what was popular once stays for ever.
 */
const HALF_LIFE_PER_ENTRY = 8;

/**
 * Least frequently used, with ageing: a count halves for each half-life that
 * its entry goes untouched. Ranked by the logarithm, so that nothing overflows:
 * `log2(count * 2^(-idle / half-life))`.
 */
export const LFU: Policy<"lfu"> = {
  name: "lfu",
  summary: "evicts what is used least often; old fame fades",
  rank: (entry, context) => {
    const idle = Math.max(0, context.tick - entry.access_tick);
    const half_life = HALF_LIFE_PER_ENTRY * Math.max(1, context.entries);
    return Math.log2(Math.max(1, entry.access_count)) - idle / half_life;
  },
};
