/**
 * A process that makes, uses, saves, restores and destroys pools, or collects
 * litter meanwhile, until it is told to end.
 *
 *     churn.ts make|attach|collect NAME DIRECTORY MILLISECONDS
 *
 * Whatever the other processes do, nothing may fail that is its own. It prints
 * `ready`, works, and ends with one line of JSON.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { hostPlatform } from "../../ffi/mod.ts";
import { collectLitter } from "../../lib/litter/mod.ts";
import { Pool } from "../../lib/pool.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import { hostWith } from "../helpers.ts";
import { readStamp, stampedValue } from "./stamped.ts";

const [job, name, directory, milliseconds] = process.argv.slice(2);
const end = performance.now() + Number(milliseconds);

const counts: Record<string, number> = {};
const count = (what: string, amount = 1) =>
  counts[what] = (counts[what] ?? 0) + amount;

/** A pool of its own, from nothing to nothing. */
function make(round: number): void {
  const path = `${directory}/${name}`;
  const keys = ["a", "b", "c"];
  {
    using pool = Pool.create(name!, {
      size: "2M",
      populate: round % 3 === 0,
    });
    for (const key of keys) pool.put(key, stampedValue(key, 1, round, 50_000));
    using slot = pool.reserve("reserved", 20_000);
    using hit = pool.get("a");
    assert.deepEqual(persist(pool, { path }).entries, 3);
    readStamp("a", hit!.bytes);
    slot.seal();
  }
  Pool.destroy(name!);
  assert.equal(restore(name!, { path }).entries, 3);
  {
    using pool = Pool.open(name!);
    for (const key of keys) {
      using hit = pool.get(key);
      assert.equal(readStamp(key, hit!.bytes).version, round);
    }
    assert.deepEqual(pool.check({ values: true }).problems, []);
    pool.destroy();
  }
  count("made");
}

/** Comes and goes at a pool of many, and holds what it has read. */
function attach(round: number): void {
  using pool = Pool.open(name!);
  const key = `k${round % 5}`;
  pool.put(key, stampedValue(key, process.pid, round, 30_000));
  using hit = pool.get(key);
  if (hit) readStamp(key, hit.bytes); // another may have replaced it
  using slot = pool.reserve(`mine-${process.pid}`, 10_000);
  slot.bytes.fill(1);
  slot.seal();
  count("attached");
}

const host = hostPlatform();
const platform = hostWith({
  // Other tests' segments are theirs.
  listSegments: () => host.listSegments().filter((s) => s.includes(name!)),
  environment: (variable) =>
    variable === "CORTEX_HOME" ? directory : host.environment(variable),
});

function collect(): void {
  const { removed } = collectLitter({ platform });
  for (const { kind } of removed) count(kind);
  count("collected");
}

const JOBS: Record<string, (round: number) => void> = { make, attach, collect };

console.log("ready");
for (let round = 0; performance.now() < end; round++) JOBS[job!]!(round);
console.log(JSON.stringify(counts));
