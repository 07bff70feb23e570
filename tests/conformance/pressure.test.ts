/** Puts into a pool that is full: what goes for them, and when they are refused. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { NoSpaceError } from "../../lib/errors.ts";
import { EntryState, POLICY_IDS } from "../../lib/layout.ts";
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
  recordOf,
  recordOffset,
  tempPool,
  valueOf,
} from "../helpers.ts";

const BLOCK = 4096;

test("Pool.put() evicts the least recently used when the pool is full", () => {
  using temp = tempPool({ size: "512K", maxEntries: 200 });
  const { blocks } = temp.pool.status();
  putBlocks(temp.pool, numbered(blocks));
  assert.equal(temp.pool.status().evictions, 0);
  assert.equal(temp.pool.status().free_blocks, 0);
  temp.pool.get("e0")!.release();
  temp.pool.put("new", bytesOf("new", BLOCK));
  assert.equal(temp.pool.has("new"), true);
  assert.equal(temp.pool.has("e0"), true, "it was just used");
  assert.equal(temp.pool.has("e1"), false, "it was used the longest ago");
  assertWhole(temp.pool);
});

test("under pressure a batch goes, down to the low watermark", () => {
  using temp = tempPool({ size: "8M", maxEntries: 2000, blockSize: "4K" });
  const { blocks } = temp.pool.status();
  temp.pool.put("large", bytesOf("large", (blocks - 500) * BLOCK));
  temp.pool.get("large")!.release();
  putBlocks(temp.pool, numbered(500));
  temp.pool.get("large")!.release();
  assert.equal(temp.pool.status().free_blocks, 0);
  temp.pool.put("one more", bytesOf("x", BLOCK));
  // 98% at most were left, then the one came: the next puts need evict nothing.
  const { free_blocks, evictions } = temp.pool.status();
  assert.equal(free_blocks, blocks - Math.floor(blocks * 0.98) - 1);
  putBlocks(temp.pool, numbered(free_blocks).map((key) => `more-${key}`));
  assert.equal(temp.pool.status().evictions, evictions);
  assertWhole(temp.pool);
});

test("a put under pressure evicts a thousand entries ahead of need, and the next ones go on", () => {
  using temp = tempPool({ size: "96M", maxEntries: 80_000, policy: "fifo" });
  const { pool } = temp;
  const nothing = new Uint8Array(); // takes a record, and no block
  for (let i = 0; i < 80_000; i++) pool.put(`e${i}`, nothing);
  assert.equal(pool.status().evictions, 0);
  // 1,600 down to the watermark, and the one that was put in between.
  const expected = [1024, 1601, 1601];
  for (const [i, evictions] of expected.entries()) {
    pool.put(`more-${i}`, nothing);
    assert.equal(pool.status().evictions, evictions);
  }
  pool.put("more-0", nothing); // a record more, for a moment
  assert.equal(pool.status().evictions, 1601);
  assertWhole(pool);
});

test("a value that needs the room of thousands gets it", () => {
  using temp = tempPool({ size: "16M", maxEntries: 4000, policy: "fifo" });
  const { pool } = temp;
  const blocks = pool.status().free_blocks;
  for (let i = 0; i < blocks; i++) pool.put(`e${i}`, bytesOf(i, BLOCK));
  assert.equal(pool.status().evictions, 0);
  const needed = 2000; // more than go ahead of need
  assert.ok(blocks > needed);
  pool.put("large", bytesOf("large", needed * BLOCK));
  assert.equal(pool.status().evictions, needed);
  assertWhole(pool);
});

for (const policy of Object.keys(POLICY_IDS) as PolicyName[]) {
  test(`a batch of ${policy} takes no more than is wanted`, () => {
    using temp = tempPool({
      size: "2M",
      blockSize: "4K",
      maxEntries: 400,
      low: 100,
      policy,
    });
    const { pool } = temp;
    const { blocks } = pool.status();
    for (let i = 0; pool.status().free_blocks > 0; i++) {
      const most = pool.status().free_blocks;
      pool.put(`e${i}`, bytesOf(i, Math.min(most, 1 + i % 3) * BLOCK));
    }
    const { freed_bytes } = pool.evict({ percent: 50 });
    const freed = freed_bytes / BLOCK, wanted = Math.ceil(blocks / 2);
    assert.ok(freed >= wanted && freed <= wanted + 2, `${freed} of ${wanted}`);
    assert.equal(pool.status().free_blocks, freed);
    while (pool.status().free_blocks > 0) {
      pool.put(`n${pool.status().free_blocks}`, bytesOf("n", BLOCK));
    }
    pool.put("one more", bytesOf("one more", BLOCK));
    assert.ok(pool.status().free_blocks <= 2);
    assertWhole(pool);
  });
}

test("a handle gives back the blocks that it took, whatever the record has come to say", () => {
  using temp = tempPool({ size: "1M" });
  const { pool } = temp;
  pool.put("a", bytesOf("a", 3 * BLOCK));
  pool.put("b", bytesOf("b", 3 * BLOCK));
  const { core } = pool;
  const [a, b] = ["a", "b"].map((key) => recordOf(core, key));
  const extents = recordOffset(core, a!, "extents") >> 2;
  core.control.u32[extents] = core.table.extents(b!)![0]!.start;
  pool.delete("a");
  // What it names now is not given to another: "b" has it.
  pool.put("c", bytesOf("c", 3 * BLOCK));
  assertBytes(valueOf(pool, "b"), bytesOf("b", 3 * BLOCK));
  assertBytes(valueOf(pool, "c"), bytesOf("c", 3 * BLOCK));
  assertWhole(pool);
});

test("a handle does not take what another put into a record for what it put there", () => {
  using temp = tempPool({ size: "1M", maxEntries: 2 });
  const { pool } = temp;
  using other = Pool.open(temp.name);
  pool.put("a", bytesOf("a", 3 * BLOCK));
  const entry = recordOf(pool.core, "a");
  other.delete("a");
  other.put("first", bytesOf("first", BLOCK));
  other.put("b", bytesOf("b", 5 * BLOCK));
  const others = ["first", "b"].find((key) =>
    recordOf(pool.core, key) === entry
  )!;
  pool.delete(others);
  assertWhole(pool);
  pool.delete(others === "b" ? "first" : "b");
  assert.equal(pool.status().used_bytes, 0);
  assertWhole(pool);
});

test("Pool.put() evicts at the entry limit, however much room there is", () => {
  using temp = tempPool({ size: "1M", maxEntries: 16 });
  putBlocks(temp.pool, numbered(16));
  assert.equal(temp.pool.status().evictions, 0);
  assert.equal(temp.pool.status().entries, 16);
  temp.pool.put("more", bytesOf("more", 10));
  const { entries, evictions, free_blocks } = temp.pool.status();
  assert.equal(evictions, 1);
  assert.equal(entries, 16);
  assert.ok(free_blocks > 100);
  assert.equal(temp.pool.has("e0"), false);
  for (let i = 0; i < 100; i++) temp.pool.put(`n${i}`, new Uint8Array());
  assert.ok(temp.pool.status().entries <= 16);
  assert.equal(temp.pool.has("n99"), true);
  assertWhole(temp.pool);
});

test("a pool for one entry holds one entry", () => {
  using temp = tempPool({ size: "256K", maxEntries: 1 });
  for (const key of ["a", "b", "c"]) {
    temp.pool.put(key, bytesOf(key, 100));
    assert.deepEqual(keysOf(temp.pool), [key]);
  }
  // To replace it takes a second record for a moment: the old one must go first.
  temp.pool.put("c", bytesOf("new", 100));
  assertBytes(valueOf(temp.pool, "c"), bytesOf("new", 100));
  assertWhole(temp.pool);
});

test("Pool.put() refuses what the whole pool could not hold, and evicts nothing", () => {
  using temp = tempPool({ size: "512K" });
  putBlocks(temp.pool, numbered(20));
  const { data_bytes } = temp.pool.status();
  const error = assertRefuses(
    () => temp.pool.put("huge", new Uint8Array(data_bytes + 1)),
    NoSpaceError,
    /entry "huge": it needs .* the whole of pool/,
  );
  assert.match(error.hint ?? "", /larger pool/);
  assertRefuses(() => temp.pool.reserve("huge", 2 ** 50), NoSpaceError);
  assert.equal(temp.pool.status().entries, 20);
  // Exactly all of it is not too much.
  const all = bytesOf("all", data_bytes);
  temp.pool.put("all", all);
  assertBytes(valueOf(temp.pool, "all"), all);
  assert.deepEqual(keysOf(temp.pool), ["all"]);
  assertWhole(temp.pool);
});

test("Pool.put() refuses when all is pinned, and evicts nothing", () => {
  using temp = tempPool({ size: "512K" });
  const { blocks } = temp.pool.status();
  temp.pool.put("large", bytesOf("large", (blocks - 2) * BLOCK));
  temp.pool.put("small", bytesOf("small", BLOCK));
  using large = temp.open().get("large");
  const error = assertRefuses(
    () => temp.pool.put("new", bytesOf("new", 3 * BLOCK)),
    NoSpaceError,
    /could be evicted/,
  );
  assert.match(error.hint ?? "", /pinned/);
  assert.deepEqual(keysOf(temp.pool), ["large", "small"]);
  assert.equal(temp.pool.status().evictions, 0);
  large?.release();
  temp.pool.put("new", bytesOf("new", 3 * BLOCK));
  assert.equal(temp.pool.has("new"), true);
  assertWhole(temp.pool);
});

test("Pool.put() evicts nothing when no eviction could make long enough runs", () => {
  using temp = tempPool({ size: "512K", maxEntries: 200 });
  const { blocks } = temp.pool.status();
  putBlocks(temp.pool, numbered(blocks));
  // Every second block is pinned: what can be freed is runs of one block, and
  // nine of them are more than a record can hold.
  const hits = numbered(blocks).filter((_, i) => i % 2 === 0)
    .map((key) => temp.pool.get(key)!);
  const before = keysOf(temp.pool);
  assertRefuses(
    () => temp.pool.put("nine", bytesOf("nine", 9 * BLOCK)),
    NoSpaceError,
  );
  assert.deepEqual(keysOf(temp.pool), before);
  // Eight would do.
  temp.pool.put("eight", bytesOf("eight", 8 * BLOCK));
  assertBytes(valueOf(temp.pool, "eight"), bytesOf("eight", 8 * BLOCK));
  for (const hit of hits) hit.release();
  assertWhole(temp.pool);
});

for (const held of ["pinned", "being written"] as const) {
  test(`a put makes room beside what is ${held} without a look at every record`, () => {
    using temp = tempPool({ size: "16M", maxEntries: 4000, policy: "fifo" });
    const { pool } = temp, { table } = pool.core;
    using slot = pool.reserve("reserved", BLOCK); // in the first of the records
    slot.rawViews[0]!.set(bytesOf("reserved", BLOCK));
    if (held === "pinned") slot.seal();
    using hit = pool.get("reserved");
    assert.equal(hit !== undefined, held === "pinned");
    for (let i = 0; pool.status().free_blocks > 0; i++) {
      pool.put(`e${i}`, bytesOf(i, BLOCK));
    }
    let looks = 0;
    const state = table.state.bind(table);
    table.state = (entry) => {
      looks++;
      return state(entry);
    };
    const { entries } = pool.status();
    pool.put("large", bytesOf("large", 3 * BLOCK)); // more than the next to go has
    assert.ok(entries > 3000 && looks < entries, `${looks} of ${entries}`);
    assertWhole(pool);
  });
}

test("a reader that pins too late, what is free again, is in nobody's way", () => {
  using temp = tempPool({ size: "2M", maxEntries: 500, policy: "fifo" });
  const { pool } = temp;
  const { blocks } = pool.status();
  pool.put("gone", bytesOf("gone", Math.floor(blocks / 2) * BLOCK));
  const entry = recordOf(pool.core, "gone");
  for (const key of numbered(50)) pool.put(key, bytesOf(key, BLOCK));
  pool.delete("gone");
  for (const key of numbered(50)) pool.delete(key); // their records are used first
  temp.open().core.attachment!.pins.pin(entry);
  for (let i = 0; pool.status().free_blocks > 0; i++) {
    const most = Math.min(20, pool.status().free_blocks);
    pool.put(`e${i}`, bytesOf(i, most * BLOCK));
  }
  assert.equal(pool.core.table.state(entry), EntryState.FREE);
  pool.put("large", bytesOf("large", (blocks - 5) * BLOCK));
  assert.deepEqual(keysOf(pool), ["large"]);
});

test("Pool.put() refuses when every record is being written", () => {
  using temp = tempPool({ size: "1M", maxEntries: 16 });
  const slots = numbered(16).map((key) => temp.pool.reserve(key, 10));
  assertRefuses(() => temp.pool.put("one more", bytesOf(1, 1)), NoSpaceError);
  slots[3]!.abort();
  temp.pool.put("one more", bytesOf(1, 1));
  assert.equal(temp.pool.has("one more"), true);
  for (const slot of slots) slot.abort();
  assertWhole(temp.pool);
});

test("eviction goes on until a value fits into eight pieces", () => {
  using temp = tempPool({ size: "512K", maxEntries: 200 });
  const { blocks } = temp.pool.status();
  const keys = numbered(blocks);
  putBlocks(temp.pool, keys);
  // Recency alternates, so that lru frees every second block first.
  for (const [i, key] of keys.entries()) {
    if (i % 2) temp.pool.get(key)!.release();
  }
  const value = bytesOf("wide", 20 * BLOCK);
  temp.pool.put("wide", value);
  assertBytes(valueOf(temp.pool, "wide"), value);
  assert.ok(temp.pool.status().entries > 1, "not all of it had to go");
  assertWhole(temp.pool);
});

test("a doomed entry that is held gives its room back later, not now", () => {
  using temp = tempPool({ size: "512K" });
  const { blocks } = temp.pool.status();
  temp.pool.put("large", bytesOf("large", (blocks - 1) * BLOCK));
  const hit = temp.pool.get("large")!;
  temp.pool.delete("large");
  assertRefuses(
    () => temp.pool.put("x", bytesOf("x", 2 * BLOCK)),
    NoSpaceError,
  );
  assertBytes(hit.bytes, bytesOf("large", (blocks - 1) * BLOCK));
  hit.release();
  temp.pool.put("x", bytesOf("x", 2 * BLOCK));
  assertWhole(temp.pool);
});

test("what a closed handle had pinned and reserved can be used again", () => {
  using temp = tempPool({ size: "512K" });
  const { blocks } = temp.pool.status();
  temp.pool.put("pinned", bytesOf("p", Math.floor(blocks / 2) * BLOCK));
  const other = temp.open();
  other.get("pinned");
  other.reserve("half", 10 * BLOCK);
  other.close();
  const all = bytesOf("all", blocks * BLOCK);
  temp.pool.put("all", all);
  assertBytes(valueOf(temp.pool, "all"), all);
  assertWhole(temp.pool);
});

test("a large put into a pool in pieces does not evict everything", () => {
  using temp = tempPool({ size: "1M", maxEntries: 200 });
  const { blocks } = temp.pool.status();
  putBlocks(temp.pool, numbered(blocks));
  // Free all but every tenth block: much room, in runs of nine.
  for (const [i, key] of numbered(blocks).entries()) {
    if (i % 10 !== 0) temp.pool.delete(key);
  }
  const before = temp.pool.status().entries;
  temp.pool.put("large", bytesOf("large", 80 * BLOCK));
  assert.ok(
    temp.pool.status().entries > before / 2,
    `${temp.pool.status().entries} of ${before} are left`,
  );
});

test("an entry that is not in its chain when it goes leaves no way to what comes next", () => {
  using temp = tempPool({ size: "1M", maxEntries: 64 });
  const { pool } = temp;
  const { core } = pool;
  const bucket = (key: string) =>
    core.keys.encode(key).hash[0]! & (core.geometry.buckets - 1);
  const [a, b] = numbered(5000).filter((key) => bucket(key) === bucket("e0"));
  pool.put(a!, bytesOf("old", 10));
  pool.put(b!, bytesOf(b!, 10), { priority: -5 });
  core.control.u32[recordOffset(core, recordOf(core, b!), "key_hash") >> 2]! ^=
    1;
  pool.evict({ percent: 1 }); // the one of the lowest priority
  pool.put("takes its record", bytesOf("x", 10));
  assertBytes(valueOf(pool, a!), bytesOf("old", 10));
  pool.put(a!, bytesOf("new", 10));
  pool.delete(a!);
  assert.equal(pool.has(a!), false);
  assert.deepEqual(keysOf(pool), ["takes its record"]);
  assertWhole(pool);
});
