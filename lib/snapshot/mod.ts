/**
 * Snapshots: a pool on disk, for a fast restart.
 *
 * @module
 */
import { hostPlatform } from "../../ffi/mod.ts";
import type { HandleOptions, Pool } from "../pool.ts";
import { stepsOnHost } from "../errors.ts";
import { finish, type Progress } from "../progress.ts";
import { checkName, poolOf, segmentOf, showPool } from "../segment.ts";
import { showSnapshot } from "./directory.ts";
import {
  listGenerations,
  prune,
  type PruneReport,
  type SnapshotInfo,
  type VerifyReport,
  verifySteps,
} from "./inspect.ts";
import { listSnapshotNames, snapshotDirectory } from "./location.ts";
import {
  type RestoreOptions,
  type RestoreReport,
  restoreSteps,
} from "./restore.ts";
import type { PersistReport, SaveOptions } from "./report.ts";
import { saveSteps } from "./save.ts";
import { syncSteps } from "./sync.ts";

export type {
  PersistReport,
  Progress,
  PruneReport,
  RestoreReport,
  SnapshotInfo,
  VerifyReport,
};

/** Where {@linkcode persist} and {@linkcode restore} keep the snapshot. */
export interface PathOptions {
  /** A directory; by default the one of the pool's name, see `docs/FORMAT.md`. */
  readonly path?: string | undefined;
}

/** How {@linkcode persist} saves. */
export type PersistOptions = PathOptions & SaveOptions;

/** As {@linkcode persist}, entry by entry. */
export function persistSteps(
  pool: Pool,
  options: PersistOptions = {},
): Generator<Progress, PersistReport> {
  const { core } = pool;
  if (core.place.file !== undefined && options.path === undefined) {
    return stepsOnHost(
      "persist",
      showPool(pool.name),
      syncSteps(core, core.place.file),
    );
  }
  const path = options.path ?? snapshotDirectory(core.platform, pool.name);
  return stepsOnHost(
    "persist",
    showPool(pool.name),
    saveSteps(core, path, options),
  );
}

/**
 * Saves a pool to disk, whole or not at all, while it is in use. What the last
 * save has already is not written again. A pool on disk is its own snapshot: what
 * has changed of it is written to its file, unless there is a `path`.
 *
 * @throws {NoSpaceError} if the disk is full: the former snapshot is as it was.
 * @throws {BusyError} if it is being saved already.
 */
export function persist(
  pool: Pool,
  options: PersistOptions = {},
): PersistReport {
  return finish(persistSteps(pool, options));
}

/** As {@linkcode restore}, entry by entry. */
export function restoringSteps(
  name: string,
  options: PathOptions & RestoreOptions & HandleOptions = {},
): Generator<Progress, RestoreReport> {
  const { platform, path } = place(name, options);
  return stepsOnHost(
    "restore",
    showSnapshot(path),
    restoreSteps(platform, name, path, options),
  );
}

/**
 * Fills a pool from a snapshot, the most recently used entries first. Without a
 * pool of that name it makes one like the one that was saved.
 *
 * @throws {ExistsError} if the pool has entries, and is neither to be merged nor replaced.
 * @throws {NotFoundError} if there is no snapshot.
 * @throws {CorruptError} if it is damaged, of another version, or not one of ours.
 * @throws {FailedError} if it is of another namespace.
 *
 * @example
 * ```ts
 * import { persist, Pool, restore } from "../mod.ts";
 *
 * const path = "/tmp/snapshot-doc";
 * {
 *   using pool = Pool.create("snapshot-doc", { size: "1M" });
 *   pool.put("greeting", new TextEncoder().encode("hello"));
 *   persist(pool, { path });
 * }
 * Pool.destroy("snapshot-doc");
 * restore("snapshot-doc", { path });
 * Pool.destroy("snapshot-doc");
 * ```
 */
export function restore(
  name: string,
  options: PathOptions & RestoreOptions & HandleOptions = {},
): RestoreReport {
  return finish(restoringSteps(name, options));
}

/** Names of the pools that have a snapshot at the default place. */
export function listSnapshots(options: HandleOptions = {}): string[] {
  return listSnapshotNames(options.platform ?? hostPlatform())
    .filter((name) => poolOf(segmentOf(name)) !== undefined);
}

/** What generations a snapshot has. Throws as {@linkcode restore}. */
export function snapshotInfo(
  name: string,
  options: PathOptions & HandleOptions = {},
): SnapshotInfo {
  const { platform, path } = place(name, options);
  return listGenerations(platform, path);
}

/** As {@linkcode verifySnapshot}, entry by entry. */
export function verifyingSteps(
  name: string,
  options: PathOptions & HandleOptions & {
    readonly generation?: number | undefined;
  } = {},
): Generator<Progress, VerifyReport> {
  const { platform, path } = place(name, options);
  return stepsOnHost(
    "verify",
    showSnapshot(path),
    verifySteps(platform, path, options.generation),
  );
}

/**
 * Reads all of a generation, by default the newest, and holds it against its
 * checksums. Throws as {@linkcode restore}.
 */
export function verifySnapshot(
  name: string,
  options: PathOptions & HandleOptions & {
    readonly generation?: number | undefined;
  } = {},
): VerifyReport {
  return finish(verifyingSteps(name, options));
}

/**
 * Removes all but the newest generation and `keep` former ones: 1 by default. The
 * last one of another pool of that name goes only with `keep: 0`.
 *
 * @throws {BusyError} if the snapshot is being saved.
 */
export function pruneSnapshot(
  name: string,
  options: PathOptions & HandleOptions & {
    readonly keep?: number | undefined;
  } = {},
): PruneReport {
  const { platform, path } = place(name, options);
  return prune(platform, path, options.keep ?? 1, options.lockTimeout_ms);
}

function place(name: string, options: PathOptions & HandleOptions) {
  const platform = options.platform ?? hostPlatform();
  checkName(name, "find");
  return {
    platform,
    path: options.path ?? snapshotDirectory(platform, name),
  };
}
