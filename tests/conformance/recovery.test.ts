/** What a dead holder left is worked out again by whoever comes next. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { BusyError, ClosedError } from "../../lib/errors.ts";
import { EntryState, NONE } from "../../lib/layout.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  IMPATIENT,
  keysOf,
  markDirty,
  Pool,
  recordOf,
  recordOffset,
  tempPool,
  valueOf,
} from "../helpers.ts";
import { OWN_RUNTIME, RUNTIMES, Worker } from "../processes.ts";

const BLOCK = 4096;
const HOLDER = new URL("./holder.ts", import.meta.url);

// ------------------------------------------------- what a dead holder left

test("whoever takes a dirty pool's lock works everything out again", () => {
  using temp = tempPool({ size: "1M", maxEntries: 64 });
  const keys = Array.from({ length: 30 }, (_, i) => `k${i}`);
  for (const key of keys) temp.pool.put(key, bytesOf(key, 7000), { tokens: 1 });
  const { core } = temp.pool;
  const before = temp.pool.status();
  core.freeList.clearAll();
  core.index.clear();
  for (
    const field of ["entries", "used_blocks", "reserved", "doomed"] as const
  ) {
    core.header.set(field, 12_345);
  }
  core.header.set("free_record", NONE);
  core.header.set("doomed_record", 7);
  core.header.set("committed_blocks", 1);
  core.links.set(3, 4);
  markDirty(core);

  const other = temp.open();
  assertWhole(other);
  const { modified_at: _1, attached: _2, recoveries, ...after } = other
    .status();
  const { modified_at: _3, attached: _4, recoveries: none, ...was } = before;
  assert.deepEqual(after, { ...was });
  assert.deepEqual([none, recoveries], [0, 1]);
  assert.equal(core.index.sequence() % 2, 0, "readers still look twice");
  for (const key of keys) assertBytes(valueOf(other, key), bytesOf(key, 7000));
});

test("a pool that is not dirty is not worked out again", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  temp.pool.delete("k");
  temp.open().close();
  assert.equal(temp.pool.status().recoveries, 0);
});

test("recovery drops records that do not hold, and keeps the others", () => {
  using temp = tempPool();
  for (const key of ["a", "b", "c"]) temp.pool.put(key, bytesOf(key, 9000));
  const { core } = temp.pool;
  const at = recordOffset(core, recordOf(core, "b"), "tokens");
  core.control.u32[at >> 2]! ^= 1;
  markDirty(core);
  assertWhole(temp.open());
  assert.deepEqual(keysOf(temp.pool), ["a", "c"]);
  assertBytes(valueOf(temp.pool, "a"), bytesOf("a", 9000));
});

test("recovery keeps the youngest of two entries of one key", () => {
  using temp = tempPool({ populate: true });
  temp.pool.put("k", bytesOf("old", 5000));
  const { core } = temp.pool;
  // Die after the new one is sealed, before the old one is doomed.
  const slot = temp.pool.reserve("k", 6000);
  slot.bytes.set(bytesOf("new", 6000));
  for (let entry = 0; entry < core.table.count; entry++) {
    if (core.table.state(entry) !== EntryState.RESERVED) continue;
    core.table.setFilled(entry, core.platform.crc32(slot.bytes));
    core.table.setState(entry, EntryState.SEALED);
  }
  markDirty(core);
  const other = temp.open();
  assertWhole(other);
  assertBytes(valueOf(other, "k"), bytesOf("new", 6000));
  assert.equal(other.status().entries, 1);
});

test("recovery keeps the youngest of the entries of a key, however long", () => {
  for (const length of [1, 300]) {
    using temp = tempPool({ maxEntries: 128, blockSize: "4K" });
    const { core } = temp.pool;
    const reader = temp.open();
    const keys = Array.from({ length: 24 }, (_, i) => `${i}-`.repeat(length));
    const held = [0, 1, 2].flatMap((round) =>
      keys.map((key, i) => {
        const bytes = bytesOf(`${round} ${i}`, 3000);
        temp.pool.put(key, bytes);
        return { entry: recordOf(core, key), hit: reader.get(key)!, bytes };
      })
    );
    for (const { entry } of held) core.table.setState(entry, EntryState.SEALED);
    markDirty(core);
    assertWhole(temp.pool);
    keys.forEach((key, i) =>
      assertBytes(valueOf(temp.pool, key), bytesOf(`2 ${i}`, 3000))
    );
    for (const { hit, bytes } of held) {
      assertBytes(hit.bytes, bytes);
      hit.release();
    }
    assertWhole(temp.pool);
    assert.equal(temp.pool.status().entries, keys.length);
  }
});

test("recovery keeps the bytes of a held entry that it drops", () => {
  using temp = tempPool();
  const reader = temp.open();
  temp.pool.put("k", bytesOf("old", 5000));
  using hit = reader.get("k");
  const entry = recordOf(temp.pool.core, "k");
  temp.pool.put("k", bytesOf("new", 5000));
  // The old one looks as if its doom had not come yet.
  temp.pool.core.table.setState(entry, EntryState.SEALED);
  markDirty(temp.pool.core);
  assertWhole(temp.pool);
  for (let i = 0; i < 30; i++) temp.pool.put(`n${i}`, bytesOf(i, 20_000));
  assertBytes(hit?.bytes, bytesOf("old", 5000));
  assertBytes(
    valueOf(temp.pool, "k") ?? bytesOf("new", 5000),
    bytesOf("new", 5000),
  );
  hit?.release();
  assertWhole(temp.pool);
});

test("a live reservation outlives a recovery, a dropped one says so", () => {
  using temp = tempPool();
  const other = temp.open();
  const kept = temp.pool.reserve("kept", 5000);
  kept.bytes.set(bytesOf("kept", 5000));
  const dropped = temp.pool.reserve("dropped", 5000);
  const { core } = temp.pool;
  const entry = core.table.state(0) === EntryState.RESERVED ? 1 : 0;
  // Damage the record of the second one.
  core.control.u32[recordOffset(core, entry, "tokens") >> 2]! ^= 1;
  markDirty(core);
  assertWhole(other);
  assert.equal(core.slots.reserved(core.attachment!.slot), 1);
  kept.seal();
  assertBytes(valueOf(other, "kept"), bytesOf("kept", 5000));
  assertRefuses(
    () => dropped.seal(),
    ClosedError,
    /dropped in a recovery/,
  );
  dropped.abort();
  assert.deepEqual(keysOf(other), ["kept"]);
  assertWhole(other);
});

test("an error of our own half-way leaves the pool marked, and the next mends it", () => {
  using temp = tempPool();
  temp.pool.put("a", bytesOf("a", 5000));
  const other = temp.open();
  const { index } = other.core;
  index.insert = () => {
    throw new TypeError("a bug");
  };
  assert.throws(() => other.put("b", bytesOf("b", 5000)), /a bug/);
  assert.equal(temp.pool.core.header.get("dirty"), 1);
  assertWhole(temp.pool);
  assert.equal(temp.pool.status().recoveries, 1);
  assert.deepEqual(keysOf(temp.pool), ["a"]);
});

test("a refusal half-way leaves nothing to mend", () => {
  using temp = tempPool({ size: "512K" });
  temp.pool.put("all", bytesOf("all", temp.pool.status().data_bytes));
  using _hit = temp.pool.get("all");
  assert.throws(() => temp.pool.put("more", bytesOf("more", 1)));
  assert.equal(temp.pool.core.header.get("dirty"), 0);
  assertWhole(temp.pool);
  assert.equal(temp.pool.status().recoveries, 0);
});

test("recovery at 32,768 entries takes less than a second", () => {
  using temp = tempPool({ size: "256M", maxEntries: 32_768, blockSize: "4K" });
  const value = bytesOf("v", 64);
  for (let i = 0; i < 32_768; i++) temp.pool.put(`key-${i}`, value);
  assert.equal(temp.pool.status().entries, 32_768);
  markDirty(temp.pool.core);
  const started = performance.now();
  temp.pool.delete("absent");
  const took_ms = performance.now() - started;
  assert.equal(temp.pool.status().recoveries, 1);
  assert.equal(temp.pool.status().entries, 32_768);
  assert.ok(took_ms < 1000, `${took_ms} ms`);
  const { problems } = temp.pool.check();
  assert.deepEqual(problems, []);
});

// ------------------------------------------------------------ real processes

for (const runtime of RUNTIMES) {
  test(`what a killed ${runtime} process had pinned can be evicted`, {
    timeout: 30_000,
  }, async () => {
    using temp = tempPool();
    temp.pool.put("pinned", bytesOf("pinned", 3 * BLOCK));
    using worker = new Worker(runtime, HOLDER, [temp.name, "pins"]);
    assert.equal(await worker.line(), "holding");
    assert.equal(temp.pool.status().attached, 2);
    temp.pool.evict({ percent: 100 });
    assert.equal(temp.pool.has("pinned"), true);
    temp.pool.delete("pinned");
    assert.equal(temp.pool.status().used_bytes, 3 * BLOCK);
    await worker.kill();
    assert.equal(temp.pool.status().attached, 1);
    assertWhole(temp.pool);
    assert.equal(temp.pool.status().used_bytes, 0);
  });

  test(`what a killed ${runtime} process had reserved is given back`, {
    timeout: 30_000,
  }, async () => {
    using temp = tempPool({ size: "256K" });
    using worker = new Worker(runtime, HOLDER, [temp.name, "reservation"]);
    assert.equal(await worker.line(), "holding");
    assert.equal(temp.pool.core.header.get("reserved"), 1);
    assert.equal(temp.pool.status().used_bytes, 3 * BLOCK);
    await worker.kill();
    // Whoever is short of room finds it.
    const { data_bytes } = temp.pool.status();
    temp.pool.put("all", bytesOf("all", data_bytes));
    assert.equal(temp.pool.core.header.get("reserved"), 0);
    assert.deepEqual(keysOf(temp.pool), ["all"]);
    assertWhole(temp.pool);
  });

  test(`a change that a killed ${runtime} process left half-done is mended`, {
    timeout: 30_000,
  }, async () => {
    using temp = tempPool();
    temp.pool.put("k", bytesOf("k", 9000));
    using worker = new Worker(runtime, HOLDER, [temp.name, "change"]);
    assert.equal(await worker.line(), "holding");
    const impatient = Pool.open(temp.name, { observe: true });
    impatient.close();
    assertRefuses(
      () => Pool.open(temp.name, IMPATIENT),
      BusyError,
      new RegExp(`process ${worker.pid} has held`),
    );
    await worker.kill();
    assertWhole(temp.pool);
    assert.equal(temp.pool.status().recoveries, 1);
    assertBytes(valueOf(temp.pool, "k"), bytesOf("k", 9000));
  });
}

test("a lock is free once the process that held it is killed", {
  timeout: 30_000,
}, async () => {
  using temp = tempPool();
  using worker = new Worker(OWN_RUNTIME, HOLDER, [temp.name, "lock"]);
  assert.equal(await worker.line(), "holding");
  const impatient = { lockTimeout_ms: 20 };
  assertRefuses(() => Pool.open(temp.name, impatient), BusyError);
  await worker.kill();
  temp.pool.put("k", bytesOf("k", 10));
  assertWhole(temp.pool);
  assert.equal(temp.pool.status().recoveries, 0);
});
