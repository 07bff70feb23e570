/**
 * The writers' lock: `flock` on the handle's own descriptor, tried without
 * blocking, a few times at once and then with back-off to a deadline. The kernel
 * frees it when its holder dies, though a big mapping may take it a fifth of a
 * second to.
 *
 * @module
 */
import type { Fd, Platform } from "../ffi/platform.ts";
import {
  BusyError,
  CorruptError,
  type CortexError,
  NotFoundError,
} from "./errors.ts";
import type { Header } from "./header.ts";
import { PoolState } from "./layout.ts";

/** How often to try before the first wait: a change takes some microseconds. */
const TRIES_FIRST = 10;
const WAIT_FIRST_MS = 0.05;
const WAIT_LONGEST_MS = 5;

/** Takes the lock of a segment; calls `onTimeout`, which throws, at the deadline. */
export function waitForLock(
  platform: Platform,
  fd: Fd,
  timeout_ms: number,
  onTimeout: () => never,
): void {
  for (let tries = 0; tries < TRIES_FIRST; tries++) {
    if (platform.tryLock(fd)) return;
  }
  const deadline = platform.monotonic() + timeout_ms;
  let wait_ms = WAIT_FIRST_MS;
  do {
    const left_ms = deadline - platform.monotonic();
    if (left_ms <= 0) onTimeout();
    platform.sleep(Math.min(wait_ms, left_ms));
    wait_ms = Math.min(wait_ms * 1.5, WAIT_LONGEST_MS);
  } while (!platform.tryLock(fd));
}

/** The error for a lock that was not to be had in time. */
export function busy(
  verb: string,
  pool: string,
  header: Header,
  timeout_ms: number,
): BusyError {
  const holder = header.get("lock_holder");
  const who = holder > 0 ? `process ${holder}` : "another process";
  return new BusyError(
    verb,
    pool,
    `${who} has held its lock for ${timeout_ms / 1000} s`,
    "Try again, or look at what that process does",
  );
}

/** The lock of one handle. Not re-entrant. */
export class PoolLock {
  readonly #platform: Platform;
  readonly #fd: Fd;
  readonly #header: Header;
  readonly #pool: string;
  readonly #size_bytes: number;
  readonly #timeout_ms: number;

  /** @param size_bytes of the segment: to touch one that was cut short is death. */
  constructor(
    platform: Platform,
    fd: Fd,
    header: Header,
    pool: string,
    size_bytes: number,
    timeout_ms: number,
  ) {
    this.#platform = platform;
    this.#fd = fd;
    this.#header = header;
    this.#pool = pool;
    this.#size_bytes = size_bytes;
    this.#timeout_ms = timeout_ms;
  }

  /**
   * @param isSeen the segment was looked at a moment ago: it is not asked for
   * again whether somebody removed or cut it by hand.
   * @throws {BusyError} after the deadline, naming the holder if it is known.
   * @throws {NotFoundError} if the pool was destroyed or replaced meanwhile.
   * @throws {CorruptError} if its segment was cut short.
   */
  acquire(verb: string, isSeen = false): void {
    waitForLock(this.#platform, this.#fd, this.#timeout_ms, () => {
      throw busy(verb, this.#pool, this.#header, this.#timeout_ms);
    });
    try {
      const fault = isSeen && this.#isLive()
        ? undefined
        : this.#findFault(verb);
      if (fault) throw fault;
    } catch (error) {
      this.#platform.unlock(this.#fd);
      throw error;
    }
    this.#header.set("lock_holder", this.#platform.pid);
  }

  /** As `acquire`, but false at once if another holds it. */
  tryAcquire(): boolean {
    if (!this.#platform.tryLock(this.#fd)) return false;
    if (this.#findFault("take") !== undefined) {
      this.#platform.unlock(this.#fd);
      return false;
    }
    this.#header.set("lock_holder", this.#platform.pid);
    return true;
  }

  release(): void {
    this.#header.set("lock_holder", 0);
    this.#platform.unlock(this.#fd);
  }

  #isLive(): boolean {
    return this.#header.get("state") === PoolState.LIVE;
  }

  /** The name may lead to another segment by now, or to none. */
  #findFault(verb: string): CortexError | undefined {
    const { links, size_bytes } = this.#platform.stat(this.#fd);
    if (size_bytes < this.#size_bytes) {
      return new CorruptError(
        verb,
        this.#pool,
        `somebody cut its segment to ${size_bytes} bytes`,
        "Remove it: cortex cache gc, and restore its snapshot",
      );
    }
    if (links > 0 && this.#isLive()) return undefined;
    return new NotFoundError(
      verb,
      this.#pool,
      "it was destroyed",
      "Open it again by name if it was made anew",
    );
  }
}
