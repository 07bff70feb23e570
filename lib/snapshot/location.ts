/**
 * Where snapshots are kept.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { stateHome } from "../state_home.ts";

/** The directory of a pool's snapshot: `snapshots/NAME` in the state home. */
export function snapshotDirectory(platform: Platform, name: string): string {
  return `${snapshotsDirectory(platform)}/${name}`;
}

/** Where the pools' snapshots are, a directory each. */
export function snapshotsDirectory(platform: Platform): string {
  return `${stateHome(platform)}/snapshots`;
}
