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

function put(pool: Pool, i: number): void {
  const parent = i % 8 === 0 ? undefined : `key-${i - 1}`;
  pool.put(`key-${i}`, bytesOf(i, 100), { parent });
}
