/** Values: what was put comes back, and stays for as long as somebody holds it. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { ClosedError, CorruptError, UsageError } from "../../lib/errors.ts";
import { EXTENTS_MAX } from "../../lib/layout.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  flipByte,
  fragment,
  keysOf,
  Pool,
  recordOf,
  tempPool,
  valueOf,
} from "../helpers.ts";

test("Pool.get() gives back every byte that was put, at every size", () => {
  using temp = tempPool({ size: "4M" });
  const other = temp.open();
  for (
    const size of [
      0,
      1,
      7,
      8,
      4095,
      4096,
      4097,
      8191,
      8192,
      8193,
      65_536,
      1_000_001,
    ]
  ) {
    const key = `size-${size}`;
    temp.pool.put(key, bytesOf(key, size));
    for (const pool of [temp.pool, other]) {
      using hit = pool.get(key);
      assert.equal(hit?.size_bytes, size);
      assert.equal(hit?.key, key);
      assertBytes(hit?.bytes, bytesOf(key, size), key);
      hit?.verify();
    }
  }
  assertWhole(temp.pool);
});

test("Pool.put() takes a view that does not begin its buffer", () => {
  using temp = tempPool();
  const whole = bytesOf("view", 10_000);
  temp.pool.put("k", whole.subarray(1234, 5678));
  assertBytes(valueOf(temp.pool, "k"), whole.slice(1234, 5678));
});

test("a value is the bytes that it has, whatever it says of itself", () => {
  using temp = tempPool({ size: "2M" });
  const { pool } = temp;
  pool.put("before", bytesOf("another's", 200_000));
  pool.delete("before"); // what was there is no part of what comes
  for (const size_bytes of [1000, 20_000, 70_000]) {
    const bytes = bytesOf("mine", size_bytes);
    const liars = [0, 1, size_bytes - 1, size_bytes + 1, 100_000].map((
      length,
    ) =>
      new class extends Uint8Array {
        override get length() {
          return length;
        }
        override subarray() {
          return new Uint8Array(5);
        }
      }(bytes)
    );
    const plain = bytes.slice();
    Object.defineProperty(plain, "length", { value: 100_000 });
    for (const value of [...liars, plain, Buffer.from(bytes)]) {
      pool.put("k", value);
      using hit = pool.get("k");
      assertBytes(hit?.verify().bytes, bytes);
      using slot = pool.reserve("other", size_bytes);
      slot.write(value);
      slot.seal();
      assertBytes(valueOf(pool, "other"), bytes);
    }
  }
  assertWhole(pool);
});

test("a value whose bytes were transferred away is refused, before the call or in it", () => {
  using temp = tempPool();
  for (const size_bytes of [0, 1000, 70_000]) {
    const gone = new Uint8Array(size_bytes);
    gone.buffer.transfer();
    assertRefuses(
      () => temp.pool.put("k", gone),
      UsageError,
      /transferred away/,
    );
  }
  const going = new Uint8Array(1000);
  const meta = { toJSON: () => going.buffer.transfer() && 1 };
  assertRefuses(() => temp.pool.put("k", going, { meta }), UsageError, /not 0/);
  assert.deepEqual(keysOf(temp.pool), []);
  assertWhole(temp.pool);
});

test("Pool.put() keeps a copy: the caller's bytes are the caller's", () => {
  using temp = tempPool();
  const mine = bytesOf("mine", 100);
  temp.pool.put("k", mine);
  mine.fill(0);
  assertBytes(valueOf(temp.pool, "k"), bytesOf("mine", 100));
});

test("an empty value is present, and takes no block", () => {
  using temp = tempPool();
  temp.pool.put("empty", new Uint8Array(), { tokens: 3 });
  assert.equal(temp.pool.status().used_bytes, 0);
  assert.equal(temp.pool.has("empty"), true);
  using hit = temp.pool.get("empty");
  assert.equal(hit?.bytes.length, 0);
  assert.deepEqual(hit?.views, []);
  assert.equal(hit?.tokens, 3);
  hit?.verify();
  using slot = temp.pool.reserve("empty too", 0);
  assert.equal(slot.bytes.length, 0);
  slot.seal();
  assert.deepEqual(keysOf(temp.pool), ["empty", "empty too"]);
  assertWhole(temp.pool);
});

test("a value of exactly n blocks takes n blocks", () => {
  using temp = tempPool();
  const { block_size_bytes } = temp.pool.status();
  temp.pool.put("k".repeat(296), bytesOf("x", 3 * block_size_bytes));
  assert.equal(temp.pool.status().used_bytes, 3 * block_size_bytes);
});

test("a value lies in up to eight pieces when no run holds it", () => {
  using temp = tempPool({ size: "512K" });
  fragment(temp.pool, { holes: EXTENTS_MAX, hole_blocks: 2 });
  const value = bytesOf("split", EXTENTS_MAX * 2 * 4096 - 10);
  const { evictions } = temp.pool.status();
  temp.pool.put("split", value);
  assert.equal(temp.pool.status().evictions, evictions);
  using hit = temp.pool.get("split");
  assert.equal(hit?.views.length, EXTENTS_MAX);
  assertBytes(Buffer.concat([...hit!.views]), value);
  assertBytes(hit?.bytes, value);
  hit?.verify();
  assertWhole(temp.pool);
});

test("Hit.bytes copies only a value in pieces; Hit.views never does", () => {
  using temp = tempPool({ size: "512K" });
  fragment(temp.pool, { holes: 4, hole_blocks: 1 });
  temp.pool.put("whole", bytesOf("whole", 4096));
  temp.pool.put("split", bytesOf("split", 3 * 4096));
  using whole = temp.pool.get("whole");
  assert.equal(whole?.bytes, whole?.views[0]);
  assert.equal(whole?.bytes, whole?.bytes);
  using split = temp.pool.get("split");
  assert.equal(split?.views.length, 3);
  assert.notEqual(split?.bytes.buffer, split?.views[0]?.buffer);
  // What is zero-copy shows what happens to the memory.
  const { core } = temp.pool;
  const { start } = core.table.extents(recordOf(core, "whole"))![0]!;
  const before = whole!.bytes[0]!;
  flipByte(temp.name, core.geometry.data_offset + start * 4096);
  assert.equal(whole!.bytes[0], before ^ 0xff);
});

test("Hit.verify() tells a value that is not what was put in", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 9000));
  using hit = temp.pool.get("k");
  hit?.verify();
  const { core } = temp.pool;
  const { start } = core.table.extents(recordOf(core, "k"))![0]!;
  flipByte(temp.name, core.geometry.data_offset + start * 4096 + 8999);
  assertRefuses(() => hit?.verify(), CorruptError, /entry "k": its value/);
});

test("a released hit's views are empty, and it can be read no more", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 9000));
  const hit = temp.pool.get("k")!;
  const { bytes, views } = hit;
  const part = bytes.subarray(10, 20);
  hit.release();
  hit.release();
  assert.equal(bytes.length, 0);
  assert.equal(part.length, 0);
  assert.equal(views[0]?.length, 0);
  assert.equal(bytes[0], undefined);
  assert.equal(bytes.buffer.byteLength, 0);
  for (
    const read of [
      () => hit.views,
      () => hit.tokens,
      () => hit.priority,
      () => hit.parent,
      () => hit.meta,
      () => hit.verify(),
    ]
  ) assertRefuses(read, ClosedError, /was released/);
});

test("a hit released before it was read cannot be read", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  const hit = temp.pool.get("k")!;
  hit.release();
  assertRefuses(() => hit.bytes, ClosedError, /was released/);
});

test("closing a pool empties every view it gave out", () => {
  using temp = tempPool();
  const pool = Pool.open(temp.name);
  temp.pool.put("k", bytesOf("k", 9000));
  const hit = pool.get("k")!;
  const { bytes } = hit;
  const slot = pool.reserve("new", 100);
  const room = slot.bytes;
  pool.close();
  assert.equal(bytes.length, 0);
  assert.equal(room.length, 0);
  assertRefuses(() => hit.tokens, ClosedError);
  assertRefuses(() => slot.seal(), ClosedError);
  assertRefuses(() => slot.bytes, ClosedError);
  hit.release();
  slot.abort();
  // What it had pinned and reserved is given back.
  assert.deepEqual(temp.pool.evict({ percent: 100 }).evicted_entries, 1);
  assert.equal(temp.pool.status().used_bytes, 0);
  assertWhole(temp.pool);
});

test("Pool.put() replaces an entry in one step", () => {
  using temp = tempPool();
  const reader = temp.open();
  temp.pool.put("k", bytesOf("old", 5000), { tokens: 1, meta: "old" });
  const { size_bytes } = temp.pool.info("k")!;
  assert.equal(size_bytes, 5000);
  using slot = temp.pool.reserve("k", 9000, { tokens: 2 });
  slot.write(bytesOf("new", 9000));
  // Until it is sealed, the old one is what there is.
  assertBytes(valueOf(reader, "k"), bytesOf("old", 5000));
  assert.equal(reader.info("k")?.tokens, 1);
  slot.seal();
  assertBytes(valueOf(reader, "k"), bytesOf("new", 9000));
  assert.equal(reader.info("k")?.tokens, 2);
  assert.equal(reader.info("k")?.meta, null);
  assert.deepEqual(keysOf(reader), ["k"]);
  assert.equal(temp.pool.status().entries, 1);
  assert.equal(temp.pool.status().used_bytes, 12_288);
  assertWhole(temp.pool);
});

test("an entry replaced while it is held keeps its bytes until it is let go", () => {
  using temp = tempPool();
  const reader = temp.open();
  temp.pool.put("k", bytesOf("old", 8192), { meta: "old" });
  const hit = reader.get("k")!;
  const { bytes } = hit;
  temp.pool.put("k", bytesOf("new", 4096));
  for (let i = 0; i < 20; i++) temp.pool.put(`other-${i}`, bytesOf(i, 4096));
  assertBytes(bytes, bytesOf("old", 8192));
  assert.equal(hit.meta, "old");
  hit.verify();
  assertBytes(valueOf(reader, "k"), bytesOf("new", 4096));
  assert.equal(temp.pool.status().used_bytes, 8192 + 21 * 4096);
  assertWhole(temp.pool);
  hit.release();
  assert.equal(temp.pool.status().used_bytes, 21 * 4096);
  assertWhole(temp.pool);
});

test("an entry deleted while it is held keeps its bytes until it is let go", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 8192));
  const first = temp.pool.get("k")!;
  const second = temp.pool.get("k")!;
  assert.equal(temp.open().delete("k"), true);
  assert.equal(temp.pool.has("k"), false);
  assert.equal(temp.pool.get("k"), undefined);
  first.release();
  assertBytes(second.bytes, bytesOf("k", 8192));
  assert.equal(temp.pool.status().used_bytes, 8192);
  second.release();
  assert.equal(temp.pool.status().used_bytes, 0);
  assertWhole(temp.pool);
});

test("a doomed entry is freed when the last of several handles lets it go", () => {
  using temp = tempPool();
  const handles = [temp.pool, temp.open(), temp.open()];
  temp.pool.put("k", bytesOf("k", 4096));
  const hits = handles.map((pool) => pool.get("k")!);
  temp.pool.delete("k");
  for (const hit of hits) {
    assert.equal(temp.pool.status().used_bytes, 4096);
    assertBytes(hit.bytes, bytesOf("k", 4096));
    hit.release();
  }
  assert.equal(temp.pool.status().used_bytes, 0);
});
