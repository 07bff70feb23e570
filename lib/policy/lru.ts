import { KeyHeap } from "./heap.ts";
import type { Policy, PolicyKind } from "./policy.ts";

/** Least recently used. */
export const LRU: PolicyKind<"lru"> = {
  name: "lru",
  summary: "evicts what was used the longest ago",
  create: (memory, capacity) => byRecency(new KeyHeap(memory, capacity)),
};

/** The one whose last use is the longest ago goes first. */
export function byRecency(heap: KeyHeap): Policy {
  return {
    insert: ({ entry, tick }) => heap.put(entry, tick),
    use: (entry, tick) => heap.put(entry, tick),
    victim: (mayGo) => heap.first(mayGo),
    remove: (entry) => heap.remove(entry),
  };
}
