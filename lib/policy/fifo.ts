import { KeyHeap } from "./heap.ts";
import type { PolicyKind } from "./policy.ts";

/** First in, first out: use does not count. */
export const FIFO: PolicyKind<"fifo"> = {
  name: "fifo",
  summary: "evicts what was put in first, used or not",
  create: (memory, capacity) => {
    const heap = new KeyHeap(memory, capacity);
    return {
      insert: ({ entry, order }) => heap.put(entry, order),
      use: () => {},
      victim: (mayGo) => heap.first(mayGo),
      remove: (entry) => heap.remove(entry),
    };
  },
};
