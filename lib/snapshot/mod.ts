/**
 * Snapshots: a pool on disk, for a fast restart.
 *
 * @module
 */
import { hostPlatform } from "../../ffi/mod.ts";
import type { HandleOptions, Pool } from "../pool.ts";
import { checkName } from "../segment.ts";
import { snapshotDirectory } from "./location.ts";
import {
  type RestoreOptions,
  type RestoreReport,
  restoreSteps,
} from "./restore.ts";
import { type PersistReport, type Progress, saveSteps } from "./save.ts";

export type { PersistReport, Progress, RestoreReport };

/** Where {@linkcode persist} and {@linkcode restore} keep the snapshot. */
export interface PathOptions {
  /** A directory; by default the one of the pool's name, see `docs/FORMAT.md`. */
  readonly path?: string | undefined;
}

/** As {@linkcode persist}, entry by entry. */
export function persistSteps(
  pool: Pool,
  options: PathOptions = {},
): Generator<Progress, PersistReport> {
  const { core } = pool;
  const path = options.path ?? snapshotDirectory(core.platform, pool.name);
  return saveSteps(core, path);
}

/**
 * Saves a pool to disk, whole or not at all, while it is in use.
 *
 * @throws {NoSpaceError} if the disk is full: the former snapshot is as it was.
 */
export function persist(pool: Pool, options: PathOptions = {}): PersistReport {
  return finish(persistSteps(pool, options));
}

/** As {@linkcode restore}, entry by entry. */
export function restoringSteps(
  name: string,
  options: PathOptions & RestoreOptions & HandleOptions = {},
): Generator<Progress, RestoreReport> {
  const platform = options.platform ?? hostPlatform();
  checkName(name, "restore");
  const path = options.path ?? snapshotDirectory(platform, name);
  return restoreSteps(platform, name, path, options);
}

/**
 * Makes a pool from a snapshot, the most recently used entries first.
 *
 * @throws {ExistsError} if a pool of that name exists.
 * @throws {NotFoundError} if there is no snapshot.
 * @throws {CorruptError} if it is damaged, of another version, or not one of ours.
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

function finish<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
