/** Checksums that are left to persist. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UsageError } from "../../lib/errors.ts";
import { blockOffset } from "../../lib/geometry.ts";
import { EntryState } from "../../lib/layout.ts";
import { persist, Pool, restore, verifySnapshot } from "../../lib/mod.ts";
import {
  assertRefuses,
  assertWhole,
  bytesOf,
  fragment,
  markDirty,
  recordOf,
  tempPool,
  valueOf,
} from "../helpers.ts";
import { contentsOf, generationOf, TempSnapshot } from "../snapshots.ts";

const LATE = { checksum: "persist" } as const;

test("a put that leaves its checksum to persist has none until then", () => {
  using temp = tempPool({ size: "4M" });
  const value = bytesOf("v", 700_000);
  temp.pool.put("late", value, LATE);
  {
    using slot = temp.pool.reserve("filled", 5000, LATE);
    slot.bytes.set(bytesOf("f", 5000));
    slot.seal();
  }
  temp.pool.put("now", value);
  const { core } = temp.pool;
  const crcOf = (key: string) => core.table.valueCrc(recordOf(core, key));
  assert.equal(crcOf("late"), undefined);
  assert.equal(crcOf("filled"), undefined);
  assert.equal(crcOf("now"), core.platform.crc32(value));
  assert.deepEqual(valueOf(temp.pool, "late"), value);
  assert.deepEqual(valueOf(temp.pool, "filled"), bytesOf("f", 5000));
  assert.deepEqual(temp.pool.check({ values: true }).problems, []);
});

test("what has no checksum yet survives a recovery", () => {
  using temp = tempPool();
  temp.pool.put("late", bytesOf("v", 9000), LATE);
  markDirty(temp.pool.core);
  temp.pool.delete("nothing");
  assert.deepEqual(valueOf(temp.pool, "late"), bytesOf("v", 9000));
  assertWhole(temp.pool);
});

test("what was never filled does not pass for it by one wrong word", () => {
  using temp = tempPool();
  using slot = temp.pool.reserve("key", 100, LATE);
  const { core } = temp.pool;
  const entry = [...Array(core.table.count).keys()]
    .find((n) => core.table.state(n) === EntryState.RESERVED)!;
  core.table.setState(entry, EntryState.SEALED);
  assert.match(temp.pool.check().problems.join(), /damaged/);
  assert.equal(slot.size_bytes, 100);
});

test("persist works the checksum out, and writes each value once", () => {
  using temp = new TempSnapshot();
  const path = temp.path;
  const pool = Pool.create(temp.name, { size: "8M" });
  for (let i = 0; i < 10; i++) {
    pool.put(`key-${i}`, bytesOf(i, 100_000), i % 2 ? LATE : {});
  }
  persist(pool, { path });
  const { lines } = generationOf(path);
  const sums = lines.map(({ value_crc }) => value_crc).sort();
  const expected = Array.from(
    { length: 10 },
    (_, i) => pool.core.platform.crc32(bytesOf(i, 100_000)),
  ).sort();
  assert.deepEqual(sums, expected);
  assert.deepEqual(verifySnapshot(temp.name, { path }).problems, []);

  // It is known by what it is, and not written again.
  pool.put("more", bytesOf("m", 10));
  const again = persist(pool, { path });
  assert.equal(again.written_entries, 1);
  assert.equal(again.entries, 11);

  const before = contentsOf(pool);
  pool.destroy();
  restore(temp.name, { path });
  using restored = Pool.open(temp.name);
  assert.deepEqual(contentsOf(restored), before);
  using hit = restored.get("key-1")!;
  hit.verify();
  const { core } = restored;
  assert.notEqual(core.table.valueCrc(recordOf(core, "key-1")), undefined);
});

test("a saved value that was damaged since is not saved anew as if it were right", () => {
  using temp = new TempSnapshot();
  const path = temp.path;
  using pool = Pool.create(temp.name, { size: "8M" });
  pool.put("late", bytesOf("late", 100_000), LATE);
  pool.put("other", bytesOf("other", 100_000));
  persist(pool, { path });
  pool.delete("other");
  const { core } = pool;
  const block = core.table.soleBlock(recordOf(core, "late"));
  core.lasting.view(blockOffset(core.geometry, block), 1)![0]! ^= 1;
  const report = persist(pool, { path, dead_percent: 0 });
  assert.equal(report.damaged, 1);
  assert.equal(report.entries, 0);
});

test("what is written and then changed has the checksum of what it is at last", () => {
  using temp = tempPool({ size: "1M", blockSize: "4K" });
  fragment(temp.pool, { holes: 6, hole_blocks: 1 });
  const first = bytesOf("first", 3 * 4096), then = bytesOf("then", 3 * 4096);
  for (const key of ["in pieces", "in one"]) {
    if (key === "in one") temp.pool.delete("rest");
    using slot = temp.pool.reserve(key, first.length);
    slot.write(first);
    assert.deepEqual(slot.bytes, first);
    slot.bytes.set(then);
    slot.seal();
    using hit = temp.pool.get(key)!;
    hit.verify();
    assert.deepEqual(hit.bytes.slice(), then);
  }
});

test("a checksum is worked out at a moment that there is", () => {
  using temp = tempPool();
  assertRefuses(
    () => temp.pool.put("k", bytesOf(1, 1), { checksum: "never" as "put" }),
    UsageError,
    /no such moment/,
  );
});
