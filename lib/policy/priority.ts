import { KeyHeap } from "./heap.ts";
import { byRecency } from "./lru.ts";
import type { PolicyKind } from "./policy.ts";

/**
 * The caller's priority; recency among equals. Priorities are kept for every
 * policy, by whoever hosts it: what is left to do here is recency.
 */
export const PRIORITY: PolicyKind<"priority"> = {
  name: "priority",
  summary: "evicts the lowest priority, and of equals the least recently used",
  create: (memory, capacity) => byRecency(new KeyHeap(memory, capacity)),
};
