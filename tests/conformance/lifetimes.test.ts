/** Times to live, priorities and the recording of operations, in a pool. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { hostPlatform } from "../../ffi/mod.ts";
import { UsageError } from "../../lib/errors.ts";
import { POLICIES, type PolicyName } from "../../lib/policy/mod.ts";
import { exportPolicyState, importPolicyState } from "../../lib/replacing.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  hostWith,
  keysOf,
  markDirty,
  Pool,
  tempPool,
  valueOf,
} from "../helpers.ts";
import { TempSnapshot } from "../snapshots.ts";

const NAMES = Object.keys(POLICIES) as PolicyName[];
const BLOCK = 4096;

/** A host whose clock is ours. */
function clock() {
  let now = hostPlatform().now();
  const platform = hostWith({ now: () => now });
  return { platform, pass: (ms: number) => now += ms };
}

test("what has expired is a miss, and is there no more", () => {
  const { platform, pass } = clock();
  using temp = tempPool({ platform });
  temp.pool.put("short", bytesOf("s", 10), { ttl_ms: 1000 });
  temp.pool.put("long", bytesOf("l", 10), { ttl_ms: 5000 });
  temp.pool.put("ever", bytesOf("e", 10));
  assert.equal(temp.pool.match(["short", "long", "ever"]), 3);
  assert.equal(
    temp.pool.info("short")?.expires_at,
    platform.now() + 1000,
  );
  assert.equal("expires_at" in temp.pool.info("ever")!, false);
  pass(999);
  assert.equal(temp.pool.has("short"), true);
  pass(1);
  assert.equal(temp.pool.has("short"), false);
  assert.equal(temp.pool.get("short"), undefined);
  assert.equal(temp.pool.info("short"), undefined);
  assert.deepEqual(keysOf(temp.pool), ["ever", "long"]);
  // Put again, it is there again.
  temp.pool.put("short", bytesOf("s", 10));
  pass(10_000);
  assert.deepEqual(keysOf(temp.pool), ["ever", "short"]);
  assertWhole(temp.pool);
});

test("what has expired is not saved, and goes from what was", () => {
  const { platform, pass } = clock();
  using temp = tempPool({ platform });
  using snapshot = new TempSnapshot();
  const saved = () => {
    const { entries } = persist(temp.pool, { path: snapshot.path });
    return entries;
  };
  temp.pool.put("short", bytesOf("s", 10_000), { ttl_ms: 1000 });
  temp.pool.put("long", bytesOf("l", 10_000), { ttl_ms: 5000 });
  temp.pool.put("ever", bytesOf("e", 10_000));
  assert.equal(saved(), 3);
  pass(1000);
  temp.pool.put("brief", bytesOf("b", 10_000), { ttl_ms: 10 });
  pass(10);
  assert.equal(saved(), 2);
  restore(snapshot.name, { path: snapshot.path, platform });
  using restored = Pool.open(snapshot.name, { platform });
  assert.deepEqual(keysOf(restored).sort(), ["ever", "long"]);
  assertBytes(valueOf(restored, "long"), bytesOf("l", 10_000));
});

test("what has expired is the first to go, whatever the policy", () => {
  for (const policy of NAMES) {
    const { platform, pass } = clock();
    using temp = tempPool({ platform, policy, maxEntries: 20, low: 100 });
    for (let i = 0; i < 20; i++) {
      const options = i === 13 ? { ttl_ms: 10, priority: 9 } : {};
      temp.pool.put(`e${i}`, bytesOf(i, BLOCK), options);
    }
    for (let i = 0; i < 5; i++) temp.pool.get("e13")!.release();
    pass(10);
    temp.pool.put("new", bytesOf("n", BLOCK));
    assert.equal(temp.pool.status().entries, 20, policy);
    assert.equal(keysOf(temp.pool).length, 20, policy);
    assertWhole(temp.pool);
  }
});

test("a time to live has to be one", () => {
  using temp = tempPool();
  for (const ttl_ms of [0, -1, NaN, Infinity, 2 ** 60]) {
    assertRefuses(
      () => temp.pool.put("k", bytesOf(1, 1), { ttl_ms }),
      UsageError,
      /time to live/,
    );
  }
});

test("every policy keeps a high priority, and lets a low one go first", () => {
  for (const policy of NAMES) {
    using temp = tempPool({ policy, maxEntries: 30, low: 100 });
    temp.pool.put("kept", bytesOf("k", BLOCK), { priority: 1 });
    temp.pool.put("lent", bytesOf("l", BLOCK), { priority: -1 });
    for (let i = 0; i < 28; i++) temp.pool.put(`e${i}`, bytesOf(i, BLOCK));
    temp.pool.get("lent")!.release();
    temp.pool.put("first", bytesOf(1, BLOCK));
    assert.equal(temp.pool.has("lent"), false, policy);
    for (let i = 0; i < 200; i++) temp.pool.put(`n${i}`, bytesOf(i, BLOCK));
    assert.equal(temp.pool.has("kept"), true, policy);
    assertWhole(temp.pool);
  }
});

test("a low watermark of 100 evicts just what is needed", () => {
  for (const [low, expected] of [[100, 1], [90, 20]] as const) {
    using temp = tempPool({ size: "4M", maxEntries: 200, low });
    for (let i = 0; i < 200; i++) temp.pool.put(`e${i}`, bytesOf(i, 10));
    temp.pool.put("new", bytesOf("new", 10));
    assert.equal(temp.pool.status().evictions, expected);
    assert.equal(temp.pool.status().low_percent, low);
  }
  for (const low of [0, 101, 1.5, NaN]) {
    assertRefuses(() => tempPool({ low }), UsageError, /low watermark/);
  }
});

test("a policy's state is every process's, and outlives them", () => {
  for (const policy of NAMES) {
    const order = (closeBetween: boolean) => {
      using temp = tempPool({ policy, maxEntries: 16, low: 100 });
      let pool = temp.open();
      for (let i = 0; i < 60; i++) {
        const key = `k${i * 7 % 23}`;
        const hit = pool.get(key);
        if (hit) hit.release();
        else pool.put(key, bytesOf(i, 10));
        if (!closeBetween) continue;
        pool.close();
        pool = temp.open();
      }
      return keysOf(pool);
    };
    assert.deepEqual(order(true), order(false), policy);
  }
});

test("recovery sets the policy up again, and it goes on", () => {
  for (const policy of NAMES) {
    using temp = tempPool({ policy, maxEntries: 16, low: 100 });
    for (let i = 0; i < 40; i++) temp.pool.put(`k${i}`, bytesOf(i, 10));
    // What a process that was killed half-way may leave.
    const { policy_offset, policy_bytes } = temp.pool.core.geometry;
    temp.pool.core.control.bytes(policy_offset, policy_bytes).fill(0xa5);
    markDirty(temp.pool.core);
    assertWhole(temp.pool);
    for (let i = 0; i < 40; i++) temp.pool.put(`n${i}`, bytesOf(i, 10));
    assert.equal(temp.pool.status().entries, 16, policy);
    temp.pool.evict({ percent: 100 });
    assert.deepEqual(keysOf(temp.pool), [], policy);
    assertWhole(temp.pool);
  }
});

test("damage to a policy's state costs no entry, and no put", () => {
  for (const policy of NAMES) {
    for (const byte of [0x01, 0x40, 0xff]) {
      using temp = tempPool({ policy, maxEntries: 16, low: 100 });
      for (let i = 0; i < 40; i++) temp.pool.put(`k${i}`, bytesOf(i, 10));
      const { policy_offset, policy_bytes } = temp.pool.core.geometry;
      temp.pool.core.control.bytes(policy_offset, policy_bytes).fill(byte);
      for (let i = 0; i < 40; i++) temp.pool.put(`n${i}`, bytesOf(i, 10));
      assert.ok(temp.pool.has("n39"), policy);
      assertWhole(temp.pool);
    }
  }
});

test("what a policy has learned goes into another pool, and rubbish does not", () => {
  for (const policy of NAMES) {
    using from = tempPool({ policy, maxEntries: 16, low: 100 });
    for (let i = 0; i < 60; i++) from.pool.put(`k${i}`, bytesOf(i, 10));
    const saved = exportPolicyState(from.pool.core);
    using to = tempPool({ policy, maxEntries: 16, low: 100 });
    for (let i = 44; i < 60; i++) to.pool.put(`k${i}`, bytesOf(i, 10));
    const { core } = to.pool;
    core.change("restore", () => importPolicyState(core, saved));
    assert.deepEqual(exportPolicyState(core), saved, policy);
    for (let i = 0; i < saved.length; i += 7) saved[i]! ^= 0xff;
    core.change("restore", () => importPolicyState(core, saved));
    for (let i = 0; i < 30; i++) to.pool.put(`n${i}`, bytesOf(i, 10));
    assertWhole(to.pool);
  }
});

test("a dry run of evict says what evict then does", () => {
  for (const policy of NAMES) {
    using temp = tempPool({ size: "4M", policy });
    for (let i = 0; i < 300; i++) {
      temp.pool.put(`k${i}`, bytesOf(i, (i % 5) * 3000 + 1), {
        parent: i % 7 ? `k${i - 1}` : undefined,
        priority: i % 50 === 0 ? 1 : 0,
      });
      temp.pool.get(`k${i * i % (i + 1)}`)?.release();
    }
    const before = keysOf(temp.pool);
    const said = temp.pool.evict({ percent: 40, dryRun: true });
    assert.deepEqual(keysOf(temp.pool), before, policy);
    assert.deepEqual(temp.pool.evict({ percent: 40 }), said, policy);
    assert.equal(
      keysOf(temp.pool).length,
      before.length - said.evicted_entries,
    );
  }
});

test("operations are noted while recording is on, and drained in order", () => {
  using temp = tempPool();
  const { ring } = temp.pool.core;
  temp.pool.put("before", bytesOf(1, 10));
  assert.equal(ring.cursor, 0);
  temp.pool.record(true);
  const other = temp.open();
  assert.equal(other.status().recording, true);
  temp.pool.put("parent", bytesOf(1, 100));
  other.put("child", bytesOf(2, 200), { parent: "parent" });
  other.get("child")!.release();
  assert.equal(temp.pool.get("absent"), undefined);
  temp.pool.record(false);
  temp.pool.put("after", bytesOf(1, 10));
  const { operations, lost, cursor } = ring.drain(0);
  assert.deepEqual(
    operations.map(({ kind, size_bytes }) => [kind, size_bytes]),
    [["put", 100], ["put", 200], ["hit", 200], ["miss", 0]],
  );
  assert.equal(operations[1]!.parent, operations[0]!.key);
  assert.equal(operations[2]!.key, operations[1]!.key);
  assert.deepEqual([lost, cursor], [0, 4]);
  assert.deepEqual(ring.drain(cursor).operations, []);
});

test("a ring that is not drained in time loses the oldest, and says how many", () => {
  using temp = tempPool({ record: true });
  const { ring } = temp.pool.core;
  temp.pool.put("k", bytesOf(1, 1));
  const uses = ring.slots + 10;
  for (let i = 0; i < uses; i++) temp.pool.get("k")!.release();
  const { operations, lost } = ring.drain(0);
  assert.equal(operations.length, ring.slots);
  assert.equal(lost, 11);
});
