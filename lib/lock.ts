/**
 * The writers' lock: `flock` on the handle's own descriptor, taken without
 * blocking and with back-off to a deadline. The kernel frees it when its holder
 * dies, though a big mapping may take it a fifth of a second to.
 *
 * @module
 */
import type { Fd, Platform } from "../ffi/platform.ts";
import { BusyError, NotFoundError } from "./errors.ts";
import type { Header } from "./header.ts";
import { PoolState } from "./layout.ts";

const WAIT_FIRST_MS = 0.05;
const WAIT_LONGEST_MS = 5;

/** Takes the lock of a segment; calls `onTimeout`, which throws, at the deadline. */
export function waitForLock(
  platform: Platform,
  fd: Fd,
  timeout_ms: number,
  onTimeout: () => never,
): void {
  if (platform.tryLock(fd)) return;
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
  readonly #timeout_ms: number;

  constructor(
    platform: Platform,
    fd: Fd,
    header: Header,
    pool: string,
    timeout_ms: number,
  ) {
    this.#platform = platform;
    this.#fd = fd;
    this.#header = header;
    this.#pool = pool;
    this.#timeout_ms = timeout_ms;
  }

  /**
   * @throws {BusyError} after the deadline, naming the holder if it is known.
   * @throws {NotFoundError} if the pool was destroyed or replaced meanwhile.
   */
  acquire(verb: string): void {
    waitForLock(this.#platform, this.#fd, this.#timeout_ms, () => {
      throw busy(verb, this.#pool, this.#header, this.#timeout_ms);
    });
    try {
      this.#expectCurrent(verb);
    } catch (error) {
      this.#platform.unlock(this.#fd);
      throw error;
    }
    this.#header.set("lock_holder", this.#platform.pid);
  }

  /** As `acquire`, but false at once if another holds it. */
  tryAcquire(): boolean {
    if (!this.#platform.tryLock(this.#fd)) return false;
    if (!this.#isCurrent()) {
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

  /** The name may lead to another segment by now, or to none. */
  #isCurrent(): boolean {
    return this.#header.get("state") === PoolState.LIVE &&
      this.#platform.stat(this.#fd).links > 0;
  }

  #expectCurrent(verb: string): void {
    if (this.#isCurrent()) return;
    throw new NotFoundError(
      verb,
      this.#pool,
      "it was destroyed",
      "Open it again by name if it was made anew",
    );
  }
}
