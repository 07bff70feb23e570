/**
 * The eviction policies, one file each.
 *
 * @module
 */
import type { POLICY_IDS } from "../layout.ts";
import { FIFO } from "./fifo.ts";
import { LFU } from "./lfu.ts";
import { LRU } from "./lru.ts";
import type { Policy } from "./policy.ts";
import { PRIORITY } from "./priority.ts";

export type { EntryFacts, Policy, PolicyContext } from "./policy.ts";

/** Every policy has a number in the layout, and every number a policy. */
export type PolicyName = keyof typeof POLICY_IDS;

export const POLICIES: { readonly [Name in PolicyName]: Policy<Name> } = {
  lru: LRU,
  lfu: LFU,
  fifo: FIFO,
  priority: PRIORITY,
};

export function isPolicyName(text: string): text is PolicyName {
  return Object.hasOwn(POLICIES, text);
}
