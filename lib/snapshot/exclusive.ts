/**
 * Work that one handle of a pool at a time may do: a lock on a byte of the pool's
 * header that belongs to the work. The kernel drops it when the handle closes,
 * and so at death.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { HEADER } from "../layout.ts";

/** Saving it, or filling it from a snapshot. */
export type Work = "saving" | "loading";

const BYTES: Readonly<Record<Work, number>> = {
  saving: HEADER.last_persist_at,
  loading: HEADER.loading,
};

const WAIT_MS = 20;

/** Takes the work on, waiting for so long; whether it is ours now. */
export function takeOn(core: Core, work: Work, timeout_ms: number): boolean {
  const { platform, fd } = core;
  const deadline = platform.monotonic() + timeout_ms;
  while (!platform.tryLockByte(fd, BYTES[work])) {
    const left_ms = deadline - platform.monotonic();
    if (left_ms <= 0) return false;
    platform.sleep(Math.min(WAIT_MS, left_ms));
  }
  return true;
}

export function layDown(core: Core, work: Work): void {
  core.platform.unlockByte(core.fd, BYTES[work]);
}
