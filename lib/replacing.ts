/**
 * The pool's side of its eviction policy: what the policy may know of entries,
 * and setting its state up again.
 *
 * @module
 */
import type { Core } from "./core.ts";
import type { EntryNumber, EntryTable } from "./entry_table.ts";
import type { Geometry } from "./geometry.ts";
import { EntryState } from "./layout.ts";
import { ordered } from "./order.ts";
import { POLICIES, type PolicyName } from "./policy/mod.ts";
import { type HostFacts, Replacement } from "./policy/replacement.ts";

/** The entry table, as far as policies may see it. */
export function factsOf(table: EntryTable): HostFacts {
  return {
    // An empty value has no blocks; its record takes room all the same.
    weight: (entry) => Math.max(1, table.blocks(entry)),
    // Of a short key the last two words are the same.
    keyLow: (entry) => table.keyWord(entry, 1),
    keyHigh: (entry) => table.keyWord(entry, 2),
    tick: (entry) => table.real(entry, "access_tick"),
    uses: (entry) => Math.max(1, table.word(entry, "access_count")),
    order: (entry) => table.real(entry, "sequence"),
    priority: (entry) => table.priority(entry),
    expires_at: (entry) => table.real(entry, "expires_at"),
  };
}

/** Bytes of the pool's policy state. */
export function policyState(core: Core): Uint8Array {
  const { policy_offset, policy_bytes } = core.geometry;
  return core.control.bytes(policy_offset, policy_bytes);
}

/** Tells the pool's policy of a sealed entry. */
export function admit(core: Core, entry: EntryNumber): void {
  const { followsChains } = POLICIES[core.identity.policy];
  const parent = followsChains ? parentOf(core, entry) : -1;
  core.replacement.insert(entry, parent);
}

/** The sealed entry that this one extends, or -1. */
function parentOf(core: Core, entry: EntryNumber): EntryNumber | -1 {
  const { table, index } = core;
  if (!table.hasParent(entry)) return -1;
  let at = index.first(table.parentWord(entry));
  for (let steps = 0; at !== -1 && steps < table.count; steps++) {
    if (
      at !== entry && table.state(at) === EntryState.SEALED &&
      table.isParent(at, entry)
    ) return at;
    at = index.next(at);
  }
  return -1;
}

/** Tells of the sealed entries, in the order in which that policy has to hear of them. */
function tellAll(
  core: Core,
  policy: PolicyName,
  to: Pick<Replacement, "insert">,
): void {
  const byUse = sealedByUse(core);
  if (!POLICIES[policy].followsChains) {
    for (const entry of byUse) to.insert(entry, -1);
    return;
  }
  // A parent may have been used after its child, and goes before it all the same.
  const isDone = new Uint8Array(core.table.count);
  const parents = new Int32Array(core.table.count);
  const run: EntryNumber[] = [];
  for (const entry of byUse) {
    let at: EntryNumber | -1 = entry;
    while (at !== -1 && isDone[at] === 0) {
      isDone[at] = 1;
      run.push(at);
      at = parents[at] = parentOf(core, at);
    }
    for (let next = run.pop(); next !== undefined; next = run.pop()) {
      to.insert(next, parents[next]!);
    }
  }
}

/** Sealed entries, the one used the longest ago first. */
function sealedByUse(core: Core): EntryNumber[] {
  const { table } = core;
  const found: EntryNumber[] = [];
  for (let entry = 0; entry < table.count; entry++) {
    if (table.state(entry) === EntryState.SEALED) found.push(entry);
  }
  return ordered(
    found,
    (entry) => table.real(entry, "access_tick"),
    (entry) => table.real(entry, "sequence"),
  );
}

/** Sets the pool's policy up anew from the entry table; what it learned is lost. */
export function resetPolicy(core: Core): void {
  policyState(core).fill(0);
  tellAll(core, core.identity.policy, core.replacement);
}

/** The order in which entries would go: by the pool's policy or by another. */
export function rehearse(core: Core, policy: PolicyName): Replacement {
  const { geometry, table, identity } = core;
  if (policy === identity.policy) return copyOf(core, geometry, policy);
  const other = Replacement.fresh(policy, table.count, factsOf(table));
  tellAll(core, policy, other);
  other.pressed();
  return other;
}

function copyOf(core: Core, geometry: Geometry, policy: PolicyName) {
  const copy = Replacement.fresh(
    policy,
    geometry.max_entries,
    factsOf(core.table),
    policyState(core),
  );
  copy.tellUses();
  return copy;
}

/**
 * What the policy has learned, for a snapshot: opaque, at most a few MiB.
 * Runs inside `Core.change`.
 */
export function exportPolicyState(core: Core): Uint8Array {
  return core.replacement.save();
}

/**
 * Sets the policy up from the entries that are present, and takes what
 * {@linkcode exportPolicyState} gave; what does not hold of it is dropped. Runs
 * inside `Core.change`.
 */
export function importPolicyState(core: Core, saved: Uint8Array): void {
  resetPolicy(core);
  core.replacement.restore(saved);
}
