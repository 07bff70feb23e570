/**
 * Repair: everything is worked out again from the entry table, what does not
 * hold is dropped, and each dropped entry is named with the reason.
 *
 * @module
 */
import { type CheckOptions, findProblems, valueProblem } from "./check.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { EntryState } from "./layout.ts";
import type { Progress } from "./progress.ts";
import { hasOwnHash, rebuild } from "./recovery.ts";
import { type Seen, verifySteps } from "./verify.ts";

/** An entry that a repair took out. */
export interface Dropped {
  /** `null` if it cannot be read any more. */
  readonly key: string | null;
  /** Of its value, as its record had it; `null` if that cannot be known. */
  readonly size_bytes: number | null;
  /** One sentence. */
  readonly reason: string;
}

/**
 * Repairs a pool, step by step. Values are read without the lock, and once the
 * tables are right: before that, not all may be touched.
 */
export function* repairSteps(
  core: Core,
  options: CheckOptions = {},
): Generator<Progress, Dropped[]> {
  core.expectAttached("repair");
  const dropped = core.change("repair", () => repair(core, []));
  if (!options.values) return dropped;
  const damaged = yield* verifySteps(core);
  if (damaged.length === 0) return dropped;
  return [...dropped, ...core.change("repair", () => repair(core, damaged))];
}

function repair(core: Core, damaged: readonly Seen[]): Dropped[] {
  const { table } = core;
  const reasons = new Map<EntryNumber, string>();
  for (const { problem, entries } of findProblems(core)) {
    for (const entry of entries) {
      if (!reasons.has(entry)) reasons.set(entry, problem);
    }
  }
  const present = listPresent(core);
  for (const { entry, generation } of damaged) {
    if (!isStill(core, { entry, generation })) continue;
    reasons.set(entry, valueProblem(core, entry));
    table.doom(entry);
  }
  rebuild(core);
  return present
    .filter((one) => !isStill(core, one))
    .map(({ entry, key, size_bytes }) => ({
      key,
      size_bytes,
      reason: reasons.get(entry) ?? `record ${entry} does not hold`,
    }));
}

function isStill({ table }: Core, { entry, generation }: Seen): boolean {
  return table.state(entry) === EntryState.SEALED &&
    table.generation(entry) === generation;
}

/** Any other state may be a damaged one of a sealed entry. */
const HOLDS_NONE: ReadonlySet<number> = new Set([
  EntryState.FREE,
  EntryState.RESERVED,
  EntryState.DOOMED,
]);

type Present = Seen & Pick<Dropped, "key" | "size_bytes">;

/** Every entry there is, by name while it still has one. */
function listPresent(core: Core): Present[] {
  const { table, contents } = core;
  const present: Present[] = [];
  for (let entry = 0; entry < table.count; entry++) {
    if (HOLDS_NONE.has(table.state(entry))) continue;
    const isNamed = hasOwnHash(core, entry);
    present.push({
      entry,
      generation: table.generation(entry),
      key: isNamed ? contents.read(entry)?.key ?? null : null,
      size_bytes: table.isSound(entry) ? table.size_bytes(entry) : null,
    });
  }
  return present;
}
