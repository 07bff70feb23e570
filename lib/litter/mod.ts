/**
 * Finds what crashes left, and takes it away: half-made segments, segments that
 * nobody can use, dead slots, temporary files of snapshots.
 *
 * @module
 */
import { hostPlatform } from "../../ffi/mod.ts";
import type { HandleOptions } from "../pool.ts";
import type { Left, Litter, Sweep } from "./litter.ts";
import { sweepSegments } from "./segments.ts";
import { sweepSlots } from "./slots.ts";
import { snapshotDirectories, sweepSnapshot } from "./snapshots.ts";

export type { Left, Litter } from "./litter.ts";

/** How {@linkcode collectLitter} collects. */
export interface CollectOptions extends Pick<HandleOptions, "platform"> {
  /** Only say what would go. */
  readonly dryRun?: boolean | undefined;
  /** Directories of snapshots, besides those at the default place. */
  readonly paths?: readonly string[] | undefined;
}

/** What {@linkcode collectLitter} did. */
export interface CollectReport {
  readonly removed: readonly Litter[];
  /** What looks like litter, but may be alive, or of use to somebody. */
  readonly left: readonly Left[];
  readonly freed_bytes: number;
}

/**
 * Takes away what crashes left, and nothing that lives: makers, restores and
 * savers hold locks, which the kernel frees when they die.
 *
 * @example
 * ```ts
 * import { collectLitter } from "./mod.ts";
 *
 * const { removed } = collectLitter({ dryRun: true });
 * for (const { path, reason } of removed) console.log(path, reason);
 * ```
 */
export function collectLitter(options: CollectOptions = {}): CollectReport {
  const { platform = hostPlatform(), dryRun = false, paths = [] } = options;
  const removed: Litter[] = [], left: Left[] = [];
  const sweep: Sweep = {
    dryRun,
    removed: (litter) => removed.push(litter),
    left: (one) => left.push(one),
  };
  sweepSegments(platform, sweep);
  sweepSlots(platform, sweep);
  const directories = [...snapshotDirectories(platform), ...paths];
  for (const directory of new Set(directories)) {
    sweepSnapshot(platform, directory, sweep);
  }
  const freed_bytes = removed.reduce((sum, one) => sum + one.size_bytes, 0);
  return { removed, left, freed_bytes };
}
