/**
 * Where snapshots are kept.
 *
 * @module
 */
import { OsError, type Platform } from "../../ffi/platform.ts";
import { CortexError } from "../errors.ts";
import { stateHome } from "../state_home.ts";

/** The directory of a pool's snapshot: `snapshots/NAME` in the state home. */
export function snapshotDirectory(platform: Platform, name: string): string {
  return `${snapshotsDirectory(platform)}/${name}`;
}

/** Where the pools' snapshots are, a directory each. */
export function snapshotsDirectory(platform: Platform): string {
  return `${stateHome(platform)}/snapshots`;
}

/** Names at the place where snapshots are: none if there is no place, or none to be read. */
export function listSnapshotNames(platform: Platform): string[] {
  const { files } = platform;
  try {
    const place = snapshotsDirectory(platform);
    return files.list(place)
      .filter((name) => files.stat(`${place}/${name}`)?.isDirectory)
      .sort();
  } catch (error) {
    if (error instanceof OsError || error instanceof CortexError) return [];
    throw error;
  }
}
