/**
 * Where cortex keeps what has to outlive a reboot.
 *
 * @module
 */
import type { Platform } from "../ffi/platform.ts";
import { FailedError } from "./errors.ts";

/**
 * `$CORTEX_HOME`, else `/var/lib/cortex` for root, else `$XDG_STATE_HOME/cortex`,
 * which is `~/.local/state/cortex` by default. `undefined` for one without a home.
 */
export function findStateHome(platform: Platform): string | undefined {
  const own = platform.environment("CORTEX_HOME");
  if (own) return own;
  if (platform.uid === 0) return "/var/lib/cortex";
  const state = platform.environment("XDG_STATE_HOME");
  if (state) return `${state}/cortex`;
  const home = platform.environment("HOME") || platform.homeDirectory();
  return home ? `${home}/.local/state/cortex` : undefined;
}

/** @throws {FailedError} if there is no such place. */
export function stateHome(platform: Platform): string {
  const home = findStateHome(platform);
  if (home !== undefined) return home;
  throw new FailedError(
    "find",
    "the place for what is kept on disk",
    "CORTEX_HOME is not set, and there is no home directory",
    "Set CORTEX_HOME, or give --path",
  );
}
