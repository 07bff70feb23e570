/** What a policy keeps in the pool: set up again, and not trusted. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { POLICY_IDS } from "../../lib/layout.ts";
import type { PolicyName } from "../../lib/policy/mod.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import {
  assertBytes,
  assertWhole,
  bytesOf,
  markDirty,
  Pool,
  tempPool,
  writeSegment,
} from "../helpers.ts";
import { TempSnapshot } from "../snapshots.ts";

const CHAIN = ["k1", "k2", "k3", "k4", "k5"];

/** A chain of which the head was used later than the tail. */
function putChain(pool: Pool): void {
  CHAIN.forEach((key, i) =>
    pool.put(key, bytesOf(key, 10), { parent: CHAIN[i - 1] })
  );
  use(pool, CHAIN.slice(0, 3));
}

function use(pool: Pool, keys: readonly string[]): void {
  for (const key of keys) pool.get(key)!.release();
}

/** The keys in the order in which they are evicted. */
function evicted(pool: Pool): string[] {
  const order: string[] = [];
  while (order.length < CHAIN.length) {
    const before = CHAIN.filter((key) => pool.has(key));
    pool.evict({ percent: 1 });
    order.push(...before.filter((key) => !pool.has(key)));
  }
  return order;
}

test("of a chain the end goes first, after a restore as before", () => {
  using place = new TempSnapshot();
  const { name, path, other } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    putChain(pool);
    persist(pool, { path });
  }
  restore(other, { path });
  for (const one of [name, other]) {
    using pool = Pool.open(one);
    use(pool, CHAIN);
    assert.deepEqual(evicted(pool), CHAIN.toReversed(), one);
  }
});

test("of a chain the end goes first, after a recovery as before", () => {
  using temp = tempPool();
  putChain(temp.pool);
  markDirty(temp.pool.core);
  temp.pool.evict({ percent: 0 });
  assert.equal(temp.pool.status().recoveries, 1);
  use(temp.pool, CHAIN);
  assert.deepEqual(evicted(temp.pool), CHAIN.toReversed());
});

/** What shared memory may come to hold: noise, and words that mean much. */
const FILLS: Readonly<Record<string, (at: number) => number>> = {
  ones: () => 0xff,
  noise: (at) => (Math.imul(at + 1, 2_654_435_761) >>> 13) & 0xff,
  // As doubles, all numbers are 1.5, or negative.
  halves: (at) => [0, 0, 0, 0, 0, 0, 0xf8, 0x3f][at % 8]!,
  negative: (at) => [0, 0, 0, 0, 0, 0, 0xf0, 0xbf][at % 8]!,
};
const LONGEST_MS = 1000;

for (const policy of Object.keys(POLICY_IDS) as PolicyName[]) {
  test(`whatever the state of ${policy} is, puts go on, and hold nobody up`, () => {
    for (const [what, fill] of Object.entries(FILLS)) {
      using temp = tempPool({ size: "8M", maxEntries: 1000, policy });
      const { pool } = temp;
      const { policy_offset, policy_bytes } = pool.core.geometry;
      for (let i = 0; i < 1000; i++) put(pool, i);
      writeSegment(
        temp.name,
        policy_offset,
        Uint8Array.from({ length: policy_bytes }, (_, at) => fill(at)),
      );
      let slowest_ms = 0;
      for (let i = 1000; i < 3000; i++) {
        const begun = performance.now();
        put(pool, i);
        slowest_ms = Math.max(slowest_ms, performance.now() - begun);
      }
      assert.ok(slowest_ms < LONGEST_MS, `${what}: ${slowest_ms} ms`);
      using hit = pool.get("key-2999");
      assertBytes(hit!.verify().bytes, bytesOf(2999, 100), what);
      assertWhole(pool, what);
    }
  });
}

test("what prefix has learned outlives an eviction of more than may go", () => {
  using temp = tempPool({ size: "4M", maxEntries: 512, low: 90 });
  const { pool } = temp;
  for (let i = 0; i < 3000; i++) put(pool, i);
  const before = learned(pool);
  {
    using _hit = pool.get("key-2999");
    pool.evict({ percent: 100 });
    assert.deepEqual([...pool.entries()].map(({ key }) => key), ["key-2999"]);
  }
  assert.ok(learned(pool) > before / 4, `${learned(pool)} of ${before}`);
  for (let i = 3000; i < 6000; i++) put(pool, i);
  const hits = [...pool.entries()].slice(10).map(({ key }) => pool.get(key)!);
  for (let i = 6000; i < 6100; i++) put(pool, i);
  assert.ok(learned(pool) > before / 2, `${learned(pool)} of ${before}`);
  for (const hit of hits) hit.release();
  assertWhole(pool);
});

/** Bytes of what a snapshot would take along of it. */
function learned(pool: Pool): number {
  return pool.core.replacement.save().length;
}

test("wrong weights do not make a put evict more than it needs", () => {
  for (const wrong of [2, 0, -5, -Infinity, NaN, Infinity]) {
    using temp = tempPool({
      size: "4M",
      blockSize: "4K",
      maxEntries: 600,
      low: 100,
    });
    const { pool } = temp;
    const value = bytesOf("value", 5 * 4096);
    for (let i = 0; i < 300; i++) pool.put(`k${i}`, value);
    const { policy_offset, policy_bytes } = pool.core.geometry;
    const words = new Float64Array(
      pool.core.control.u8.buffer,
      policy_offset,
      policy_bytes >> 3,
    );
    for (let i = 0; i < words.length; i++) if (words[i] === 5) words[i] = wrong;
    for (let i = 0; i < 6; i++) {
      const { evictions } = pool.status();
      pool.put(`n${i}`, value);
      assert.equal(pool.status().evictions, evictions + 1, `${wrong}`);
    }
    assertWhole(pool);
  }
});

test("a dry run by a damaged order ends, and frees nothing", () => {
  for (const policy of Object.keys(POLICY_IDS) as PolicyName[]) {
    for (let seed = 1; seed <= 60; seed++) {
      using temp = tempPool({
        size: "1M",
        blockSize: "4K",
        maxEntries: 64,
        policy,
      });
      const { pool } = temp;
      pool.put("large", bytesOf("large", 8192));
      for (let i = 0; i < 20; i++) pool.put(`k${i}`, new Uint8Array());
      const { policy_offset, policy_bytes } = pool.core.geometry;
      const state = pool.core.control.bytes(policy_offset, policy_bytes);
      let random = seed * 7919;
      for (let i = 0; i < state.length; i++) {
        random = (Math.imul(random, 48_271) + 1) >>> 0;
        if (random % (1 + seed % 8) === 0) state[i] = random >>> 5;
      }
      pool.evict({ percent: 100, dryRun: true });
      assert.equal(pool.status().entries, 21);
      pool.evict({ percent: 100 });
      assertWhole(pool, `${policy} ${seed}`);
    }
  }
});

function put(pool: Pool, i: number): void {
  const parent = i % 8 === 0 ? undefined : `key-${i - 1}`;
  pool.put(`key-${i}`, bytesOf(i, 100), { parent });
}
