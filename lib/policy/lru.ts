import type { Policy } from "./policy.ts";

/** Least recently used. */
export const LRU: Policy<"lru"> = {
  name: "lru",
  summary: "evicts what was used the longest ago",
  rank: (entry) => entry.access_tick,
};
