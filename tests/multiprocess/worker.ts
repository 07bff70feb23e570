/**
 * One process of the tests beside this file.
 *
 *     worker.ts JOB NAME NUMBER MILLISECONDS
 *
 * It prints `ready`, works, and ends with one line of JSON.
 */
import assert from "node:assert/strict";
import process from "node:process";
import { ExistsError, NoSpaceError } from "../../lib/errors.ts";
import type { Hit } from "../../lib/hit.ts";
import { Pool } from "../../lib/pool.ts";
import { nextTick } from "../../lib/tick.ts";
import { applyMutant } from "../sim/mutants.ts";
import { readStamp, stampedValue } from "./stamped.ts";

const [job, name, number, milliseconds] = process.argv.slice(2);
const me = Number(number);
const work_ms = Number(milliseconds);

/** Few enough that all meet, many enough that the pool overflows. */
const COLD_KEYS = 2500;
/** Never evicted, never deleted: replaced all the time. */
const HOT_KEYS = 8;

let state = me * 7919 + process.pid;
function random(below: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor(state / 2 ** 32 * below);
}

const hotKey = () => `hot-${random(HOT_KEYS)}`;
const coldKey = () => `cold-${random(COLD_KEYS)}`;

function untilTheEnd(work: () => void): void {
  const end = performance.now() + work_ms;
  console.log("ready");
  while (performance.now() < end) work();
}

function write(): void {
  using pool = Pool.open(name!);
  let version = 0;
  const counts = { puts: 0, aborts: 0, deletes: 0, refusals: 0 };
  untilTheEnd(() => {
    const isHot = random(4) === 0;
    const key = isHot ? hotKey() : coldKey();
    const kind = random(20);
    if (kind === 0 && !isHot) {
      pool.delete(key);
      counts.deletes++;
      return;
    }
    const size = 16 +
      (isHot ? random(3000) : random(2) * 4096 + random(120_000));
    const options = {
      priority: isHot ? 9 : 0,
      tokens: ++version,
      parent: random(3) ? undefined : coldKey(),
      // Now and then text that has to be spilled.
      meta: random(8) ? { writer: me } : { writer: me, text: "m".repeat(900) },
    };
    try {
      const value = stampedValue(key, me, version, size);
      if (kind < 10) {
        pool.put(key, value, options);
      } else {
        using slot = pool.reserve(key, size, options);
        if (kind === 10) {
          counts.aborts++;
          return; // not sealed, so given back
        }
        slot.bytes.set(value);
        slot.seal();
      }
      counts.puts++;
    } catch (error) {
      // Readers may hold too much of it just now.
      if (!(error instanceof NoSpaceError)) throw error;
      counts.refusals++;
    }
  });
  console.log(JSON.stringify(counts));
}

function read(mayMiss: boolean): void {
  using pool = Pool.open(name!);
  const held: { key: string; hit: Hit }[] = [];
  const latest = new Map<string, number>();
  const counts = { hits: 0, misses: 0, bytes: 0 };
  const verify = (key: string, hit: Hit) => {
    const { writer, version } = readStamp(key, hit.bytes);
    assert.equal(hit.tokens, version, `${key}: metadata of another version`);
    assert.equal((hit.meta as { writer: number }).writer, writer);
    return { writer, version };
  };
  untilTheEnd(() => {
    const isHot = random(3) === 0;
    const key = isHot ? hotKey() : coldKey();
    const hit = pool.get(key);
    if (!hit) {
      assert.ok(!isHot || mayMiss, `${key} was only ever replaced, and missed`);
      counts.misses++;
      return;
    }
    const { writer, version } = verify(key, hit);
    const stamp = `${key}/${writer}`;
    // A writer's own entries of one key come one behind the other.
    assert.ok(version >= (latest.get(stamp) ?? 0), `${key} went back in time`);
    latest.set(stamp, version);
    counts.hits++;
    counts.bytes += hit.size_bytes;
    held.push({ key, hit });
    if (held.length < 6) return;
    const [oldest] = held.splice(random(held.length), 1);
    verify(oldest!.key, oldest!.hit); // it did not change while it was held
    oldest!.hit.release();
  });
  for (const { key, hit } of held) verify(key, hit);
  console.log(JSON.stringify(counts));
}

/** Puts values of 4 KiB to 8 MiB, as often as told, and reads what others put. */
function mixed(): void {
  using pool = Pool.open(name!);
  console.log("ready");
  const counts = { puts: 0, hits: 0, misses: 0, bytes: 0 };
  for (; counts.puts < work_ms; counts.puts++) {
    const size_bytes = Math.floor(
      4096 * 2048 ** Math.sqrt(random(1001) / 1000),
    );
    const key = `mixed-${me}-${counts.puts}`;
    pool.put(key, stampedValue(key, me, counts.puts, size_bytes));
    const other = `mixed-${1 + random(4)}-${random(counts.puts + 1)}`;
    using hit = pool.get(other);
    if (hit) readStamp(other, hit.bytes);
    counts[hit ? "hits" : "misses"]++;
    counts.bytes += size_bytes;
  }
  console.log(JSON.stringify(counts));
}

function tick(): void {
  using pool = Pool.open(name!);
  const { u32 } = pool.core.control;
  console.log("ready");
  let last = 0, steps = 0;
  for (; steps < work_ms; steps++) {
    const now = nextTick(u32);
    assert.ok(now > last, "the counter went back");
    last = now;
  }
  console.log(JSON.stringify({ steps }));
}

function attach(): void {
  let count = 0;
  untilTheEnd(() => {
    using pool = Pool.open(name!);
    pool.put(`by-${me}`, stampedValue("x", me, count, 5000));
    pool.get(`by-${me}`);
    pool.reserve(`half-${me}`, 100);
    count++;
  });
  console.log(JSON.stringify({ count }));
}

function create(): void {
  console.log("ready");
  let made = 0;
  for (let round = 0; round < 20; round++) {
    try {
      using pool = Pool.create(`${name}-${round}`, { size: "1M" });
      pool.put("by", Uint8Array.of(me));
      made++;
    } catch (error) {
      if (!(error instanceof ExistsError)) throw error;
      // Whole, or not there: never half.
      using pool = Pool.open(`${name}-${round}`);
      assert.deepEqual(pool.check().problems, []);
    }
  }
  console.log(JSON.stringify({ made }));
}

const mutant = process.env["CORTEX_TEST_MUTANT"];
if (mutant !== undefined) applyMutant(mutant);

switch (job) {
  case "write":
    write();
    break;
  case "read":
    read(false);
    break;
  case "read-among-the-dying":
    read(true);
    break;
  case "mixed":
    mixed();
    break;
  case "tick":
    tick();
    break;
  case "attach":
    attach();
    break;
  case "create":
    create();
    break;
  default:
    throw new Error(`what is ${job}?`);
}
