import type { Policy } from "./policy.ts";

/** First in, first out: use does not count. */
export const FIFO: Policy<"fifo"> = {
  name: "fifo",
  summary: "evicts what was put in first, used or not",
  rank: (entry) => entry.sequence,
};
