/**
 * Putting into a full pool, where every put needs something evicted, against
 * putting into one that has room. Both hold as many entries and take ever new
 * keys, so that one has as much in the processor's cache as the other: from the
 * one with room, the oldest are deleted before time is taken.
 *
 * @module
 */
import type { Pool } from "../../lib/mod.ts";
import { cost } from "../finding.ts";
import { percentile, Samples } from "../measure.ts";
import {
  BLOCK_BYTES,
  type Context,
  countLabel,
  poolOfBlocks,
  randomBytes,
  type Run,
} from "../suite.ts";

const ENTRIES = { quick: 1024, usual: 32_768, full: 1_000_000 };
/** Puts a round, as a share of the entries: enough for every kind of put. */
const SHARE = 1 / 8;
const CHAIN = 16;

/** Puts one new value after the other, in chains. */
class Putter {
  readonly #pool: Pool;
  readonly #value = randomBytes(BLOCK_BYTES);
  #next = 0;
  #oldest = 0;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Microseconds that each of them took. */
  put(count: number): Float64Array {
    const took_us = new Float64Array(count);
    for (let i = 0; i < count; i++, this.#next++) {
      const key = `key-${this.#next}`;
      const parent = this.#next % CHAIN === 0
        ? undefined
        : `key-${this.#next - 1}`;
      const begun = performance.now();
      this.#pool.put(key, this.#value, { parent });
      took_us[i] = (performance.now() - begun) * 1000;
    }
    return took_us;
  }

  /** Takes the oldest ones out. */
  makeRoom(count: number): void {
    for (let i = 0; i < count; i++) this.#pool.delete(`key-${this.#oldest++}`);
  }
}

function note(samples: Samples, name: string, took_us: Float64Array): void {
  const sum = took_us.reduce((sum, took) => sum + took, 0);
  samples.add(`mean ${name}`, sum / took_us.length);
  samples.add(`median ${name}`, percentile(took_us, 0.5));
  samples.add(`p99 ${name}`, percentile(took_us, 0.99));
  samples.add(`slowest ${name}`, percentile(took_us, 1));
}

function measure(context: Context, full: Pool, roomy: Pool): Samples {
  const entries = context.scaled(ENTRIES);
  const slice = entries * SHARE;
  const pressed = new Putter(full), free = new Putter(roomy);
  pressed.put(entries + slice);
  free.put(entries);
  const samples = new Samples();
  for (let round = 0; round <= context.order.rounds; round++) {
    free.makeRoom(slice);
    const without = free.put(slice);
    const under = pressed.put(slice);
    if (round === 0) continue;
    note(samples, "without", without);
    note(samples, "under", under);
  }
  if (full.status().evictions < slice) throw new Error("nothing was evicted");
  if (roomy.status().evictions > 0) throw new Error("there was pressure");
  return samples;
}

export const run: Run = async (context) => {
  const entries = context.scaled(ENTRIES);
  const samples = await context.withPool(
    "full",
    poolOfBlocks(entries),
    (full) =>
      context.withPool(
        "roomy",
        poolOfBlocks(entries),
        (roomy) => measure(context, full, roomy),
      ),
  );
  const at = countLabel(entries, "entries");
  return [
    cost(samples, {
      what: "put under pressure",
      at,
      against: "put without",
      from: ["mean under", "mean without"],
    }),
    cost(samples, {
      what: "median put under pressure",
      at,
      against: "median put without",
      from: ["median under", "median without"],
    }),
    cost(samples, {
      what: "p99 put under pressure",
      at,
      against: "its median",
      from: ["p99 under", "median under"],
    }),
    cost(samples, {
      what: "p99 put without",
      at,
      against: "its median",
      from: ["p99 without", "median without"],
    }),
  ];
};
