/**
 * Where snapshots are kept.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { FailedError } from "../errors.ts";

/**
 * The directory of a pool's snapshot: `snapshots/NAME` in `$CORTEX_HOME`, else
 * in `/var/lib/cortex` for root, else in `$XDG_STATE_HOME/cortex`, which is
 * `~/.local/state/cortex` by default.
 */
export function snapshotDirectory(platform: Platform, name: string): string {
  return `${stateHome(platform)}/snapshots/${name}`;
}

function stateHome(platform: Platform): string {
  const own = platform.environment("CORTEX_HOME");
  if (own) return own;
  if (platform.uid === 0) return "/var/lib/cortex";
  const state = platform.environment("XDG_STATE_HOME");
  if (state) return `${state}/cortex`;
  const home = platform.environment("HOME");
  if (home) return `${home}/.local/state/cortex`;
  throw new FailedError(
    "find",
    "the place for snapshots",
    "neither CORTEX_HOME nor HOME is set",
    "Set CORTEX_HOME, or give --path",
  );
}
