import { test } from "node:test";
import assert from "node:assert/strict";
import { storedBytes } from "../../lib/stored.ts";
import { currentTick } from "../../lib/tick.ts";
import {
  assertWhole,
  Pool,
  segmentExists,
  tempName,
  tempPool,
  valueOf,
} from "../helpers.ts";
import { RUNTIMES, Worker } from "../processes.ts";
import { readStamp, stampedValue } from "./stamped.ts";

const SCRIPT = new URL("./worker.ts", import.meta.url);
const HOT_KEYS = 8;

/** Processes of one job, of both runtimes in turn. */
function start(
  job: string,
  name: string,
  count: number,
  amount: number,
  first = 1,
): Worker[] {
  return Array.from(
    { length: count },
    (_, i) =>
      new Worker(RUNTIMES[i % 2]!, SCRIPT, [
        job,
        name,
        String(first + i),
        String(amount),
      ]),
  );
}

/** What they counted, added up. */
async function finish(
  workers: readonly Worker[],
): Promise<Record<string, number>> {
  const sums: Record<string, number> = {};
  for (const worker of workers) {
    const last = (await worker.finish()).at(-1);
    const counts = JSON.parse(last!) as Record<string, number>;
    for (const [name, count] of Object.entries(counts)) {
      sums[name] = (sums[name] ?? 0) + count;
    }
  }
  return sums;
}

async function allReady(workers: readonly Worker[]): Promise<void> {
  for (const worker of workers) assert.equal(await worker.line(), "ready");
}

/** Ends them all, whatever happened. */
function ending(workers: Worker[]): Disposable {
  return {
    [Symbol.dispose]() {
      for (const worker of workers) worker[Symbol.dispose]();
    },
  };
}

/** What the entries take, worked out from what is said of each. */
function bytesOfEntries(pool: Pool): number {
  const { block_size_bytes } = pool.status();
  const length = (text: string) => new TextEncoder().encode(text).length;
  let sum = 0;
  for (const { key, parent, meta, size_bytes } of pool.entries()) {
    const text_bytes = length(key) + length(parent ?? "") +
      (meta === null ? 0 : length(JSON.stringify(meta)));
    const { bytes } = storedBytes(size_bytes, text_bytes);
    sum += Math.ceil(bytes / block_size_bytes) * block_size_bytes;
  }
  return sum;
}

function putHotKeys(pool: Pool): void {
  for (let i = 0; i < HOT_KEYS; i++) {
    pool.put(`hot-${i}`, stampedValue(`hot-${i}`, 99, 1, 500), {
      priority: 9,
      tokens: 1,
      meta: { writer: 99 },
    });
  }
}

test("four writers and four readers of two runtimes share one pool", {
  timeout: 60_000,
}, async () => {
  using temp = tempPool({ size: "64M", policy: "priority", blockSize: "4K" });
  putHotKeys(temp.pool);
  const readers = start("read", temp.name, 4, 4000);
  const writers = start("write", temp.name, 4, 4000, 5);
  using _end = ending([...readers, ...writers]);
  await allReady([...readers, ...writers]);
  assert.equal(temp.pool.status().attached, 9);
  const written = await finish(writers);
  const read = await finish(readers);

  const status = temp.pool.status();
  assertWhole(temp.pool);
  assert.equal(status.attached, 1);
  assert.equal(status.recoveries, 0);
  // Enough happened for the rest to mean something.
  assert.ok(written["puts"]! > 500, JSON.stringify(written));
  assert.ok(read["hits"]! > 500, JSON.stringify(read));
  assert.ok(status.evictions > 50, `${status.evictions} evictions`);
  // And it was all counted.
  assert.equal(status.puts, written["puts"]! + HOT_KEYS);
  assert.equal(status.hits, read["hits"]);
  assert.equal(status.misses, read["misses"]);
  assert.equal(status.used_bytes, bytesOfEntries(temp.pool));
  assert.equal(status.entries, [...temp.pool.entries()].length);
  for (const { key } of temp.pool.entries()) {
    readStamp(key, valueOf(temp.pool, key)!);
  }
});

test(
  "1,000 puts of 4 KiB to 8 MiB by four processes fill a pool of 1 GiB, and more",
  {
    timeout: 120_000,
  },
  async () => {
    using temp = tempPool({ size: "1G" });
    const writers = start("mixed", temp.name, 4, 250);
    using _end = ending(writers);
    await allReady(writers);
    const written = await finish(writers);
    assert.equal(written["puts"], 1000);
    assert.ok(written["hits"]! > 300, JSON.stringify(written));
    const status = temp.pool.status();
    assert.ok(written["bytes"]! > status.data_bytes, "it was under pressure");
    assert.ok(status.evictions > 0);
    assert.equal(status.used_bytes, bytesOfEntries(temp.pool));
    assertWhole(temp.pool);
    for (const { key } of temp.pool.entries()) {
      readStamp(key, valueOf(temp.pool, key)!);
    }
  },
);

test("writers killed at any moment cost nobody a byte", {
  timeout: 90_000,
}, async () => {
  using temp = tempPool({ size: "64M", policy: "priority", blockSize: "4K" });
  putHotKeys(temp.pool);
  const readers = start("read-among-the-dying", temp.name, 2, 5000);
  using _end = ending(readers);
  await allReady(readers);
  for (let round = 0; round < 6; round++) {
    const writers = start("write", temp.name, 4, 60_000, 10 + 4 * round);
    using _writers = ending(writers);
    await allReady(writers);
    // Not all at one moment: the others go on over what the dead left.
    for (const writer of writers) {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      await writer.kill();
    }
    assertWhole(temp.pool, `round ${round}`);
    assert.equal(temp.pool.core.header.get("reserved"), 0);
  }
  const read = await finish(readers);
  assert.ok(read["hits"]! > 100, JSON.stringify(read));
  assertWhole(temp.pool);
  assert.equal(temp.pool.status().attached, 1);
  assert.equal(temp.pool.status().used_bytes, bytesOfEntries(temp.pool));
  for (let i = 0; i < HOT_KEYS; i++) {
    readStamp(`hot-${i}`, valueOf(temp.pool, `hot-${i}`)!);
  }
  temp.pool.evict({ percent: 100 });
  assert.equal(temp.pool.status().used_bytes, 0);
});

test("accesses of several processes are counted without loss", {
  timeout: 30_000,
}, async () => {
  using temp = tempPool();
  const { u32 } = temp.pool.core.control;
  const before = currentTick(u32);
  const workers = start("tick", temp.name, 4, 5_000_000);
  using _end = ending(workers);
  const { steps } = await finish(workers);
  assert.equal(steps, 20_000_000);
  assert.equal(currentTick(u32), before + steps!);
});

test("processes that open and close all the time leave nothing behind", {
  timeout: 30_000,
}, async () => {
  using temp = tempPool();
  const workers = start("attach", temp.name, 4, 1000);
  using _end = ending(workers);
  const { count } = await finish(workers);
  assert.ok(count! > 50, `${count}`);
  const { attached, entries, puts, hits, used_bytes } = temp.pool.status();
  assert.deepEqual([attached, entries, puts, hits], [1, 4, count, count]);
  assert.equal(used_bytes, 4 * 8192);
  assert.ok(temp.pool.core.header.get("slot_limit") <= 20);
  assertWhole(temp.pool);
});

test("of several processes that create a pool, one makes it", {
  timeout: 30_000,
}, async () => {
  using temp = tempName();
  const names = Array.from({ length: 20 }, (_, i) => `${temp.name}-${i}`);
  const workers = start("create", temp.name, 4, 0);
  using _end = ending(workers);
  try {
    const { made } = await finish(workers);
    assert.equal(made, 20);
    for (const name of names) {
      using pool = Pool.open(name);
      assert.equal(pool.status().entries, 1);
      assertWhole(pool);
    }
  } finally {
    for (const name of names) if (segmentExists(name)) Pool.destroy(name);
  }
});
