/**
 * Saving a pool on disk: its file is its snapshot.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { onHost } from "../errors.ts";
import { showPool } from "../segment.ts";
import { listLive } from "./live.ts";
import { noteSaved } from "./pool_record.ts";
import type { Progress } from "../progress.ts";
import type { PersistReport } from "./report.ts";

/**
 * Has what has changed of a pool on disk written to its file.
 *
 * @throws {FailedError} if the disk does not take it.
 */
// deno-lint-ignore require-yield -- it is one step
export function* syncSteps(
  core: Core,
  file: string,
): Generator<Progress, PersistReport> {
  core.expectAttached("persist");
  const created_at = core.platform.now();
  onHost("persist", showPool(core.name), () => core.mapping.sync());
  noteSaved(core, created_at);
  const entries = listLive(core);
  return {
    path: file,
    generation: 0,
    changed: true,
    entries: entries.length,
    value_bytes: entries.reduce((sum, { size_bytes }) => sum + size_bytes, 0),
    written_entries: 0,
    written_bytes: 0,
    file_bytes: core.geometry.size_bytes,
    dropped: 0,
    skipped: 0,
    damaged: 0,
  };
}
