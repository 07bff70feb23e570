/** What is evicted, when it is asked for. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { UsageError } from "../../lib/errors.ts";
import type { PolicyName } from "../../lib/policy/mod.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  keysOf,
  numbered,
  Pool,
  putBlocks,
  tempPool,
  valueOf,
} from "../helpers.ts";

const BLOCK = 4096;

test("Pool.evict() of 0 percent evicts nothing", () => {
  using temp = tempPool();
  putBlocks(temp.pool, numbered(10));
  assert.deepEqual(temp.pool.evict({ percent: 0 }), {
    evicted_entries: 0,
    freed_bytes: 0,
  });
  assert.equal(temp.pool.status().entries, 10);
});

test("Pool.evict() of 100 percent evicts everything", () => {
  using temp = tempPool();
  putBlocks(temp.pool, numbered(10));
  assert.deepEqual(temp.pool.evict({ percent: 100 }), {
    evicted_entries: 10,
    freed_bytes: 10 * BLOCK,
  });
  const { used_bytes, entries, evictions } = temp.pool.status();
  assert.deepEqual([used_bytes, entries, evictions], [0, 0, 10]);
  assertWhole(temp.pool);
});

test("Pool.evict() frees a quarter if not told how much", () => {
  using temp = tempPool();
  putBlocks(temp.pool, numbered(20));
  assert.deepEqual(temp.pool.evict(), {
    evicted_entries: 5,
    freed_bytes: 5 * BLOCK,
  });
  // Whole entries: 25% of 15 blocks are 3.75.
  assert.equal(temp.pool.evict({ percent: 25 }).evicted_entries, 4);
});

test("Pool.evict() frees at least the share, in whole entries", () => {
  for (let percent = 0; percent <= 100; percent += 7) {
    using temp = tempPool();
    for (let i = 0; i < 9; i++) {
      temp.pool.put(`e${i}`, bytesOf(i, (1 + i % 4) * BLOCK));
    }
    const { used_bytes } = temp.pool.status();
    const { freed_bytes, evicted_entries } = temp.pool.evict({ percent });
    const after = temp.pool.status();
    assert.ok(freed_bytes >= used_bytes * percent / 100);
    assert.equal(after.used_bytes, used_bytes - freed_bytes);
    assert.equal(after.entries, 9 - evicted_entries);
    // And no entry more: without its last one it would have been too few.
    assert.ok(
      evicted_entries === 0 ||
        freed_bytes - 4 * BLOCK < used_bytes * percent / 100,
    );
  }
});

test("Pool.evict() of many lets others put in between", () => {
  using temp = tempPool({ size: "16M", maxEntries: 4000, policy: "fifo" });
  const { pool } = temp;
  putBlocks(pool, numbered(3000));
  using other = Pool.open(pool.name);
  // After every step another puts, which would fail if the lock were still held.
  let turns = 0;
  const change = pool.core.change.bind(pool.core);
  pool.core.change = (verb, run) => {
    const result = change(verb, run);
    other.put(`between-${turns++}`, bytesOf(turns, BLOCK));
    return result;
  };
  const { evicted_entries, freed_bytes } = pool.evict({ percent: 100 });
  assert.deepEqual([evicted_entries, freed_bytes], [3000, 3000 * BLOCK]);
  assert.equal(turns, 3);
  assert.equal(pool.status().entries, 3);
  assertWhole(pool);
});

test("Pool.evict() of an empty pool evicts nothing", () => {
  using temp = tempPool();
  assert.equal(temp.pool.evict({ percent: 100 }).evicted_entries, 0);
});

test("Pool.evict() with dryRun says what would go, and lets it stay", () => {
  using temp = tempPool();
  putBlocks(temp.pool, numbered(8));
  const said = temp.pool.evict({ percent: 50, dryRun: true });
  assert.deepEqual(said, { evicted_entries: 4, freed_bytes: 4 * BLOCK });
  assert.equal(temp.pool.status().entries, 8);
  assert.equal(temp.pool.status().evictions, 0);
  assert.deepEqual(temp.pool.evict({ percent: 50 }), said);
  assertWhole(temp.pool);
});

test("Pool.evict() refuses a share outside 0 to 100", () => {
  using temp = tempPool();
  for (const percent of [-1, -0.001, 100.001, 101, NaN, Infinity]) {
    assertRefuses(() => temp.pool.evict({ percent }), UsageError, /percent/);
  }
});

test("Pool.evict() refuses a policy that there is not", () => {
  using temp = tempPool();
  putBlocks(temp.pool, numbered(4));
  const { recoveries } = temp.pool.status();
  const policy = "random" as PolicyName;
  assertRefuses(() => temp.pool.evict({ policy }), UsageError, /random/);
  // And such a slip is no reason to work the whole pool out again.
  temp.pool.put("next", bytesOf("next", 1));
  assert.equal(temp.pool.status().recoveries, recoveries);
});

test("Pool.evict() goes by the pool's policy, or by the one it is told", () => {
  const setUp = (policy: PolicyName) => {
    const temp = tempPool({ policy });
    for (const key of ["first", "second", "third"]) {
      temp.pool.put(key, bytesOf(key, BLOCK));
    }
    // Used: first often and long ago, third last, second never.
    for (let i = 0; i < 5; i++) temp.pool.get("first")!.release();
    temp.pool.get("second")!.release();
    temp.pool.get("third")!.release();
    temp.pool.get("third")!.release();
    return temp;
  };
  const goes: Record<PolicyName, string> = {
    prefix: "first",
    lru: "first",
    lfu: "second",
    fifo: "first",
    priority: "first",
    sieve: "first",
    s3fifo: "first",
    arc: "first",
  };
  for (const [name, victim] of Object.entries(goes)) {
    const policy = name as PolicyName;
    using own = setUp(policy);
    own.pool.evict({ percent: 1 });
    assert.equal(own.pool.has(victim), false, name);
    assert.equal(own.pool.status().entries, 2);
    using told = setUp(policy === "fifo" ? "lfu" : "fifo");
    told.pool.evict({ percent: 1, policy });
    assert.equal(told.pool.has(victim), false, name);
  }
});

test("lru evicts what no handle has used for the longest", () => {
  using temp = tempPool({ policy: "lru" });
  const other = temp.open();
  putBlocks(temp.pool, ["a", "b", "c", "d"]);
  other.get("a")!.release();
  temp.pool.get("c")!.release();
  for (const victim of ["b", "d", "a", "c"]) {
    assert.equal(temp.pool.evict({ percent: 1 }).evicted_entries, 1);
    assert.equal(temp.pool.has(victim), false, victim);
  }
});

test("a pinned entry is never evicted, by evict or under pressure", () => {
  using temp = tempPool({ size: "512K" });
  const reader = temp.open();
  const pinned = bytesOf("pinned", 3 * BLOCK);
  temp.pool.put("pinned", pinned);
  using hit = reader.get("pinned");
  putBlocks(temp.pool, numbered(500));
  temp.pool.evict({ percent: 100 });
  assert.deepEqual(keysOf(temp.pool), ["pinned"]);
  assertBytes(hit?.bytes, pinned);
  const { used_bytes } = temp.pool.status();
  assert.equal(used_bytes, 3 * BLOCK);
  hit?.release();
  temp.pool.evict({ percent: 100 });
  assert.deepEqual(keysOf(temp.pool), []);
});

test("a reservation is never evicted", () => {
  using temp = tempPool({ size: "512K" });
  using slot = temp.pool.reserve("slow", 5 * BLOCK);
  slot.bytes.set(bytesOf("slow", 5 * BLOCK));
  putBlocks(temp.pool, numbered(500));
  temp.open().evict({ percent: 100 });
  slot.seal();
  assertBytes(valueOf(temp.pool, "slow"), bytesOf("slow", 5 * BLOCK));
  assertWhole(temp.pool);
});
