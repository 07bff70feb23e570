/**
 * What an operation costs in a small pool and in a large one, in turn.
 *
 * @module
 */
import type { Pool } from "../../lib/mod.ts";
import { cost } from "../finding.ts";
import { Samples } from "../measure.ts";
import {
  BLOCK_BYTES,
  type Context,
  countLabel,
  poolOfBlocks,
  randomBytes,
  type Run,
} from "../suite.ts";

const SMALL = 1000;
const LARGE = { quick: 4000, usual: 100_000, full: 1_000_000 };
/** Operations a round: no more than the small pool has entries. */
const OPERATIONS = 500;

/** A pool full of values of one block, and the keys that are taken in turn. */
class Subject {
  readonly #pool: Pool;
  readonly #entries: number;
  readonly #value = randomBytes(BLOCK_BYTES);

  constructor(pool: Pool, entries: number) {
    this.#pool = pool;
    this.#entries = entries;
    // The first hit of each by a handle looks whether its record is whole: in the
    // small pool that would be over soon, in the large one never. One by one: puts
    // tell the policy of some hits each, and would have a million to catch up on.
    for (let i = 0; i < entries; i++) {
      pool.put(key(i), this.#value);
      this.#hit(key(i));
    }
  }

  #hit(key: string): void {
    using hit = this.#pool.get(key);
    if (hit?.bytes.length !== BLOCK_BYTES) throw new Error("a miss");
  }

  /** Takes keys from all over the pool: hit, taken out, and put in again. */
  round(samples: Samples, size: string): void {
    const keys = Array.from(
      { length: OPERATIONS },
      () => key(Math.floor(Math.random() * this.#entries)),
    );
    const distinct = [...new Set(keys)];
    this.#time(samples, `hit ${size}`, keys, (key) => this.#hit(key));
    this.#time(samples, `delete ${size}`, distinct, (key) => {
      if (!this.#pool.delete(key)) throw new Error("nothing to delete");
    });
    this.#time(samples, `put ${size}`, distinct, (key) => {
      this.#pool.put(key, this.#value);
    });
  }

  #time(
    samples: Samples,
    name: string,
    keys: readonly string[],
    operation: (key: string) => void,
  ): void {
    const begun = performance.now();
    for (const key of keys) operation(key);
    samples.add(name, (performance.now() - begun) * 1000 / keys.length);
  }
}

const key = (i: number) => `entry-${i}`;

function withEntries<T>(
  context: Context,
  entries: number,
  use: (subject: Subject) => T | Promise<T>,
): Promise<T> {
  // With room to spare: nothing is evicted.
  const options = poolOfBlocks(Math.ceil(entries * 1.1));
  return context.withPool(
    `flat-${entries}`,
    options,
    (pool) => use(new Subject(pool, entries)),
  );
}

export const run: Run = async (context) => {
  const large_entries = context.scaled(LARGE);
  const rounds = context.order.rounds * 5;
  const samples = new Samples();
  await withEntries(
    context,
    SMALL,
    (small) =>
      withEntries(context, large_entries, (large) => {
        for (let round = 0; round <= rounds; round++) {
          const kept = round === 0 ? new Samples() : samples;
          small.round(kept, "small");
          large.round(kept, "large");
        }
      }),
  );
  const at = countLabel(large_entries, "entries");
  return ["put", "hit", "delete"].map((what) =>
    cost(samples, {
      what,
      at,
      against: "1,000 entries",
      from: [`${what} large`, `${what} small`],
    })
  );
};
