/** Room that is reserved, filled, and sealed or given back. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { ClosedError, UsageError } from "../../lib/errors.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  fragment,
  keysOf,
  tempPool,
  valueOf,
} from "../helpers.ts";

test("a reservation is unseen until it is sealed, and its views end then", () => {
  using temp = tempPool();
  const reader = temp.open();
  const slot = temp.pool.reserve("k", 10_000, { tokens: 5, meta: 1 });
  assert.equal(slot.key, "k");
  assert.equal(slot.size_bytes, 10_000);
  const room = slot.bytes;
  room.set(bytesOf("k", 10_000));
  assert.equal(reader.has("k"), false);
  assert.equal(reader.get("k"), undefined);
  assert.deepEqual(keysOf(reader), []);
  assert.equal(reader.status().entries, 0);
  slot.seal();
  assert.equal(room.length, 0);
  assertBytes(valueOf(reader, "k"), bytesOf("k", 10_000));
  assert.equal(reader.info("k")?.tokens, 5);
  assertRefuses(() => slot.bytes, ClosedError, /reservation is over/);
  assertRefuses(() => slot.views, ClosedError, /reservation is over/);
  assertRefuses(() => slot.write(room), ClosedError, /reservation is over/);
  assertRefuses(() => slot.seal(), ClosedError, /reservation is over/);
  slot.abort();
  assert.equal(reader.has("k"), true);
  assertWhole(temp.pool);
});

test("a reservation that is not sealed is given back", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("old", 100));
  let room: Uint8Array;
  {
    using slot = temp.pool.reserve("k", 9000);
    room = slot.bytes;
    assert.equal(temp.pool.status().used_bytes, 4096 + 12_288);
  }
  assert.equal(room.length, 0);
  assert.equal(temp.pool.status().used_bytes, 4096);
  assertBytes(valueOf(temp.pool, "k"), bytesOf("old", 100));
  const slot = temp.pool.reserve("other", 5);
  slot.abort();
  slot.abort();
  assertRefuses(() => slot.seal(), ClosedError);
  assertWhole(temp.pool);
});

test("of two reservations of one key, the last made wins, whatever is sealed last", () => {
  using temp = tempPool();
  for (const order of [[0, 1], [1, 0]]) {
    const slots = ["first", "second"].map((value) => {
      const slot = temp.pool.reserve("k", 100);
      slot.write(bytesOf(value, 100));
      return slot;
    });
    for (const i of order) slots[i]!.seal();
    const last = order[1] === 0 ? "first" : "second";
    assertBytes(valueOf(temp.pool, "k"), bytesOf(last, 100));
    assert.equal(temp.pool.status().entries, 1);
    assertWhole(temp.pool);
  }
});

test("a reservation in pieces is filled by bytes, by views or by write", () => {
  using temp = tempPool({ size: "512K" });
  fragment(temp.pool, { holes: 9, hole_blocks: 1 });
  const size = 3 * 4096 - 100;
  {
    using slot = temp.pool.reserve("bytes", size);
    assert.equal(slot.views.length, 3);
    slot.bytes.set(bytesOf("bytes", size));
    slot.seal();
  }
  {
    using slot = temp.pool.reserve("views", size);
    let done = 0;
    for (const view of slot.views) {
      view.set(bytesOf("views", size).subarray(done, done + view.length));
      done += view.length;
    }
    assert.equal(done, size);
    slot.seal();
  }
  {
    using slot = temp.pool.reserve("write", size);
    slot.write(bytesOf("write", size));
    slot.seal();
  }
  for (const key of ["bytes", "views", "write"]) {
    assertBytes(valueOf(temp.pool, key), bytesOf(key, size), key);
  }
  assertWhole(temp.pool);
});

test("Reservation.write() counts also after bytes was looked at", () => {
  using temp = tempPool({ size: "512K" });
  fragment(temp.pool, { holes: 3, hole_blocks: 1 });
  for (const blocks of [1, 2]) {
    using slot = temp.pool.reserve(`k${blocks}`, blocks * 4096);
    assert.equal(slot.bytes.length, slot.size_bytes);
    slot.write(bytesOf("w", blocks * 4096));
    slot.seal();
    assertBytes(
      valueOf(temp.pool, `k${blocks}`),
      bytesOf("w", blocks * 4096),
      `a value in ${blocks} pieces`,
    );
  }
});

test("Reservation.write() refuses a value of another length", () => {
  using temp = tempPool();
  using slot = temp.pool.reserve("k", 100);
  for (const length of [0, 99, 101]) {
    assertRefuses(
      () => slot.write(new Uint8Array(length)),
      UsageError,
      new RegExp(`for 100 bytes, not ${length}`),
    );
  }
});

test("room that held another entry shows nothing of it beyond the new value", () => {
  using temp = tempPool();
  temp.pool.put("secret", bytesOf("secret", 4096));
  temp.pool.delete("secret");
  temp.pool.put("short", bytesOf("short", 10));
  using hit = temp.pool.get("short");
  assert.equal(hit?.bytes.length, 10);
  assert.equal(hit?.bytes.buffer.byteLength, 10);
});

test("a view that was transferred away breaks neither release, seal nor close", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 4096));
  const hit = temp.pool.get("k")!;
  hit.bytes.buffer.transfer();
  hit.release();
  temp.pool.delete("k");
  assert.equal(temp.pool.status().used_bytes, 0);
  const slot = temp.pool.reserve("x", 4096);
  slot.bytes.buffer.transfer();
  assertRefuses(
    () => slot.write(bytesOf("x", 4096)),
    ClosedError,
    /^Cannot fill /,
  );
  assertRefuses(() => slot.seal(), ClosedError, /^Cannot seal /);
  slot.abort();
  assert.equal(temp.pool.has("x"), false);
  temp.pool.close();
});

test("a value is an array of bytes, whatever its length", () => {
  using temp = tempPool({ size: "4M" });
  for (const length of [100, 300_000]) {
    for (
      const other of [
        new Float32Array(length),
        new Uint8ClampedArray(length),
        new DataView(new ArrayBuffer(length)),
        Array.from({ length }, () => 1),
        "x".repeat(length),
      ]
    ) {
      const value = other as unknown as Uint8Array;
      assertRefuses(() => temp.pool.put("k", value), UsageError, /Uint8Array/);
      using slot = temp.pool.reserve("k", length);
      assertRefuses(() => slot.write(value), UsageError, /Uint8Array/);
    }
    const buffer = Buffer.from(bytesOf("k", length));
    temp.pool.put("k", buffer);
    assertBytes(valueOf(temp.pool, "k"), bytesOf("k", length));
  }
});
