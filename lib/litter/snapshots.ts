/**
 * What killed saves left in the directories of snapshots.
 *
 * @module
 */
import { OsError, type Platform } from "../../ffi/platform.ts";
import { CortexError, NotFoundError, stateOf } from "../errors.ts";
import { openSnapshotDirectory } from "../snapshot/directory.ts";
import { listSnapshotNames, snapshotDirectory } from "../snapshot/location.ts";
import { findLitter } from "../snapshot/generations.ts";
import type { Sweep } from "./litter.ts";

/** The directories at the default place. */
export function snapshotDirectories(platform: Platform): string[] {
  return listSnapshotNames(platform)
    .map((name) => snapshotDirectory(platform, name));
}

/**
 * Takes away what killed saves left in a directory, unless one is at work in it.
 *
 * @throws {NotFoundError} if there is none.
 */
export function sweepSnapshot(
  platform: Platform,
  directory: string,
  sweep: Sweep,
): void {
  const { files } = platform;
  let fd: number | undefined;
  try {
    fd = openSnapshotDirectory(platform, directory, "sweep");
    // Without the lock first: a save that begins now would find it taken.
    if (findLitter(platform, directory, "sweep").length === 0) return;
    if (!platform.tryLock(fd)) {
      return sweep.left({ path: directory, reason: "a process saves into it" });
    }
    for (const name of findLitter(platform, directory, "sweep")) {
      sweepFile(platform, directory, name, sweep);
    }
  } catch (error) {
    if (!(error instanceof OsError || error instanceof CortexError)) {
      throw error;
    }
    if (error instanceof NotFoundError) throw error;
    const reason = stateOf(error);
    sweep.left({ path: directory, reason });
  } finally {
    if (fd !== undefined) files.close(fd);
  }
}

function sweepFile(
  { files }: Platform,
  directory: string,
  name: string,
  sweep: Sweep,
): void {
  const path = `${directory}/${name}`;
  const fd = files.open(path, "r");
  const size_bytes = files.size(fd);
  files.close(fd);
  if (!sweep.dryRun) files.remove(path);
  sweep.removed({
    kind: "temporary file",
    path,
    reason: name.endsWith(".tmp")
      ? "a save was writing it, and was killed"
      : "no snapshot names it any more",
    size_bytes,
  });
}
