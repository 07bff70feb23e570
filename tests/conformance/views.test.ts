/** Views that are lent: what they show, and for how long. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CorruptError, UsageError } from "../../lib/errors.ts";
import {
  assertRefuses,
  assertWhole,
  bytesOf,
  fragment,
  recordOf,
  recordOffset,
  sameBytes,
  tempPool,
} from "../helpers.ts";

const BORROWED = { view: "borrowed" } as const;

test("a borrowed view shows the value, and is empty once the pool is closed", () => {
  using temp = tempPool();
  const value = bytesOf("v", 10_000);
  temp.pool.put("key", value);
  const hit = temp.pool.get("key", BORROWED)!;
  const { bytes } = hit;
  assert.ok(sameBytes(bytes, value));
  assert.equal(hit.views.length, 1);
  assert.equal(hit.views[0], bytes);
  hit.verify();
  hit.release();
  assert.equal(bytes.length, 10_000, "it stays");
  assert.throws(() => hit.bytes, /released/);
  temp.pool.close();
  assert.equal(bytes.length, 0);
});

test("a borrowed view pins as any other, and takes no other view along", () => {
  using temp = tempPool({ maxEntries: 20, policy: "fifo" });
  temp.pool.put("key", bytesOf("v", 10_000));
  const one = temp.pool.get("key", BORROWED)!;
  const two = temp.pool.get("key")!;
  const own = two.bytes;
  for (let i = 0; i < 100; i++) temp.pool.put(`other-${i}`, bytesOf(i, 5000));
  assert.ok(temp.pool.has("key"));
  assert.ok(sameBytes(one.bytes, bytesOf("v", 10_000)));
  two.release();
  assert.equal(own.length, 0);
  assert.ok(sameBytes(one.bytes, bytesOf("v", 10_000)));
  one.release();
  for (let i = 0; i < 100; i++) temp.pool.put(`more-${i}`, bytesOf(i, 5000));
  assert.equal(temp.pool.has("key"), false);
  assertWhole(temp.pool);
});

test("what lies in pieces, or has no bytes, is had all the same", () => {
  using temp = tempPool({ size: "1M", blockSize: "4K" });
  temp.pool.put("empty", new Uint8Array());
  fragment(temp.pool, { holes: 6, hole_blocks: 1 });
  const value = bytesOf("v", 3 * 4096);
  temp.pool.put("pieces", value);
  for (const options of [BORROWED, {}]) {
    using pieces = temp.pool.get("pieces", options)!;
    assert.ok(sameBytes(pieces.bytes, value));
    using empty = temp.pool.get("empty", options)!;
    assert.equal(empty.bytes.length, 0);
  }
});

test("a record that is damaged lends nothing", () => {
  for (const options of [BORROWED, {}]) {
    using temp = tempPool();
    temp.pool.put("key", bytesOf("v", 100));
    const { core } = temp.pool;
    const at = recordOffset(core, recordOf(core, "key"), "extents");
    core.control.u32[at >> 2]!++;
    using hit = temp.pool.get("key", options)!;
    assertRefuses(() => hit.bytes, CorruptError, /damaged/);
  }
});

test("get() refuses a view of no kind", () => {
  using temp = tempPool();
  assertRefuses(
    () => temp.pool.get("key", { view: "mine" as "borrowed" }),
    UsageError,
    /no such kind/,
  );
});
