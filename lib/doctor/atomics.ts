/**
 * The atomics self-test: the languages promise atomics over memory that threads
 * of one program share, and cortex relies on them over memory that processes
 * share. So two processes work on the same words as fast as they can, and nothing
 * may be lost.
 *
 * @module
 */
import { type Fd, OsError, type Platform } from "../../ffi/platform.ts";
import { UsageError } from "../errors.ts";
import { toHex } from "../hex.ts";
import { PAGE_BYTES } from "../layout.ts";
import { futurePoolOf } from "../segment.ts";
import { attention, type Fact, fine } from "./fact.ts";

const TOPIC = "atomics";
const POOL = "doctor";
const ROUNDS = 200_000;
const DEADLINE_MS = 10_000;

/** Words of the test's segment. */
const READY = 0, GO = 1, DONE = 2, ADDED = 3, SWAPPED = 4;
/** Doubles of it, on another cache line: one is never seen half-written. */
const REAL = 8;
const REALS: readonly number[] = [0, 1 / 3, -Math.PI * 1e300];

/** A segment of a page, mapped. */
class Bench implements Disposable {
  readonly words: Uint32Array;
  readonly reals: Float64Array;
  readonly #platform: Platform;
  readonly #fd: Fd;
  readonly #end: () => void;

  constructor(platform: Platform, fd: Fd) {
    const mapping = platform.map(fd, PAGE_BYTES);
    const window = mapping.window(0, PAGE_BYTES);
    this.words = new Uint32Array(window);
    this.reals = new Float64Array(window);
    this.#platform = platform;
    this.#fd = fd;
    this.#end = () => mapping.close();
  }

  /** Whether the word becomes 1 before the deadline. */
  wait(word: number): boolean {
    const deadline = this.#platform.monotonic() + DEADLINE_MS;
    while (Atomics.load(this.words, word) === 0) {
      if (this.#platform.monotonic() > deadline) return false;
      this.#platform.sleep(1);
    }
    return true;
  }

  tell(word: number): void {
    Atomics.store(this.words, word, 1);
  }

  /** Adds, swaps and writes; returns whether every double read was whole. */
  work(): boolean {
    const { words, reals } = this;
    let whole = true;
    for (let i = 0; i < ROUNDS; i++) {
      Atomics.add(words, ADDED, 1);
      for (;;) {
        const seen = Atomics.load(words, SWAPPED);
        if (Atomics.compareExchange(words, SWAPPED, seen, seen + 1) === seen) {
          break;
        }
      }
      if (!REALS.includes(reals[REAL]!)) whole = false;
      reals[REAL] = REALS[1 + i % 2]!;
    }
    return whole;
  }

  [Symbol.dispose](): void {
    this.#end();
    this.#platform.close(this.#fd);
  }
}

/** Runs the test; `start` starts a process that calls {@linkcode assist}. */
export function atomicsFact(
  platform: Platform,
  start: (segment: string) => { kill(): void },
): Fact {
  try {
    return runTest(platform, start);
  } catch (error) {
    if (!(error instanceof OsError)) throw error;
    return attention(
      TOPIC,
      `not tested: no segment for it could be made (${error.code})`,
      "Make room in /dev/shm, and try again",
    );
  }
}

function runTest(
  platform: Platform,
  start: (segment: string) => { kill(): void },
): Fact {
  // The name of a segment in the making: if we die, it is litter.
  const segment = `.cortex.${POOL}.${toHex(platform.randomBytes(4))}`;
  const fd = platform.createSegment(segment, 0o600);
  platform.tryLock(fd);
  try {
    platform.truncate(fd, PAGE_BYTES);
    platform.allocate(fd, 0, PAGE_BYTES);
    using bench = new Bench(platform, fd);
    const child = start(segment);
    try {
      return judge(platform, bench);
    } finally {
      child.kill();
    }
  } finally {
    platform.unlinkSegment(segment);
  }
}

function judge(platform: Platform, bench: Bench): Fact {
  if (!bench.wait(READY)) {
    return attention(
      TOPIC,
      "not tested: a second process did not start",
      "See whether this user may start processes (ulimit -u), and try again",
    );
  }
  bench.tell(GO);
  const whole = bench.work();
  const added = bench.wait(DONE)
    ? Math.min(...[ADDED, SWAPPED].map((at) => Atomics.load(bench.words, at)))
    : 0;
  if (whole && added === 2 * ROUNDS) {
    return fine(
      TOPIC,
      `two processes, ${2 * ROUNDS} steps each way, none lost`,
    );
  }
  return attention(
    TOPIC,
    `${2 * ROUNDS - added} of ${
      2 * ROUNDS
    } steps of two processes were lost: pools are not safe here`,
    `Do not use cortex with ${platform.runtime} on this machine, and report it`,
  );
}

/**
 * The second process of the test.
 *
 * @throws {UsageError} if the segment is none of a test: it would be overwritten.
 */
export function assist(platform: Platform, segment: string): void {
  const fd = platform.openSegment(segment);
  // Pools are larger, those in the making too.
  if (
    futurePoolOf(segment) !== POOL ||
    platform.stat(fd).size_bytes !== PAGE_BYTES
  ) {
    platform.close(fd);
    throw new UsageError("test", "atomics", "that is no segment for it");
  }
  using bench = new Bench(platform, fd);
  bench.tell(READY);
  if (!bench.wait(GO)) return;
  if (bench.work()) bench.tell(DONE);
}
