import type { Policy } from "./policy.ts";

/** The caller's priority; recency among equals. */
export const PRIORITY: Policy<"priority"> = {
  name: "priority",
  summary: "evicts the lowest priority, and of equals the least recently used",
  rank: (entry) => entry.priority,
};
