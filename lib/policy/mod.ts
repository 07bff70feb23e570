/**
 * The eviction policies, one file each.
 *
 * @module
 */
import type { POLICY_IDS } from "../layout.ts";
import { ARC } from "./arc.ts";
import { FIFO } from "./fifo.ts";
import { LFU } from "./lfu.ts";
import { LRU } from "./lru.ts";
import type { PolicyKind } from "./policy.ts";
import { PREFIX } from "./prefix.ts";
import { PRIORITY } from "./priority.ts";
import { S3FIFO } from "./s3fifo.ts";
import { SIEVE } from "./sieve.ts";

export type { Arrival, EntryFacts, Policy, PolicyKind } from "./policy.ts";

/** Every policy has a number in the layout, and every number a policy. */
export type PolicyName = keyof typeof POLICY_IDS;

export const DEFAULT_POLICY: PolicyName = "prefix";

export const POLICIES: { readonly [Name in PolicyName]: PolicyKind<Name> } = {
  lru: LRU,
  lfu: LFU,
  fifo: FIFO,
  priority: PRIORITY,
  sieve: SIEVE,
  s3fifo: S3FIFO,
  arc: ARC,
  prefix: PREFIX,
};

export function isPolicyName(text: string): text is PolicyName {
  return Object.hasOwn(POLICIES, text);
}
