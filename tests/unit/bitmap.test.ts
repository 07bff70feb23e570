import { test } from "node:test";
import assert from "node:assert/strict";
import { Bitmap, countBits } from "../../lib/bitmap.ts";

test("Bitmap keeps bit i of word w for block 32w + i, in little-endian bytes", () => {
  const bitmap = Bitmap.empty(96);
  bitmap.set(0, 1);
  bitmap.set(33, 1);
  bitmap.set(95, 1);
  assert.deepEqual([...bitmap.words], [1, 2, 0x8000_0000]);
  const bytes = new Uint8Array(bitmap.words.buffer);
  assert.equal(bytes[0], 1);
  assert.equal(bytes[4], 2);
  assert.equal(bytes[11], 0x80);
});

test("Bitmap.set() and clear() touch no bit outside their range", () => {
  for (let start = 0; start < 70; start++) {
    for (const count of [0, 1, 31, 32, 33, 64, 96 - start]) {
      if (start + count > 96) continue;
      const bitmap = Bitmap.empty(96);
      bitmap.set(start, count);
      for (let i = 0; i < 96; i++) {
        assert.equal(bitmap.has(i), i >= start && i < start + count);
      }
      assert.equal(bitmap.count(), count);
      bitmap.set(0, 96);
      bitmap.clear(start, count);
      for (let i = 0; i < 96; i++) {
        assert.equal(bitmap.has(i), i < start || i >= start + count);
      }
    }
  }
});

test("Bitmap.indexes() tells which bits are set, and none behind the last", () => {
  const all = Array.from({ length: 70 }, (_, i) => i);
  const bitmap = Bitmap.empty(70);
  assert.deepEqual(bitmap.indexes(), []);
  for (const index of [0, 31, 32, 69]) bitmap.set(index, 1);
  assert.deepEqual(bitmap.indexes(), [0, 31, 32, 69]);
  bitmap.set(0, 70);
  bitmap.words[2] = 0xffff_ffff; // as memory of others may have it
  assert.deepEqual(bitmap.indexes(), all);
});

test("Bitmap.all() and any() look at their range only", () => {
  const bitmap = Bitmap.empty(128);
  bitmap.set(30, 40);
  assert.equal(bitmap.all(30, 40), true);
  assert.equal(bitmap.all(29, 41), false);
  assert.equal(bitmap.all(30, 41), false);
  assert.equal(bitmap.any(0, 30), false);
  assert.equal(bitmap.any(70, 58), false);
  assert.equal(bitmap.any(0, 31), true);
  assert.equal(bitmap.any(69, 2), true);
  // Of nothing, all are and none is.
  assert.equal(bitmap.all(5, 0), true);
  assert.equal(bitmap.any(35, 0), false);
});

test("Bitmap.claim() tells what was claimed before", () => {
  const owned = Bitmap.empty(128), contested = Bitmap.empty(128);
  assert.equal(owned.claim(10, 40, contested), true);
  assert.equal(owned.claim(50, 10, contested), true);
  assert.equal(contested.count(), 0);
  assert.equal(owned.claim(45, 80, contested), false);
  assert.deepEqual([owned.count(), contested.count()], [115, 15]);
  assert.ok(contested.all(45, 15) && owned.all(10, 115));
});

test("Bitmap refuses a range that leaves it", () => {
  const bitmap = Bitmap.empty(40);
  for (const [start, count] of [[39, 2], [40, 1], [-1, 1], [0, 41], [0, -1]]) {
    assert.throws(() => bitmap.set(start!, count!), RangeError);
    assert.throws(() => bitmap.clear(start!, count!), RangeError);
    assert.throws(() => bitmap.all(start!, count!), RangeError);
    assert.throws(() => bitmap.any(start!, count!), RangeError);
  }
  assert.throws(() => bitmap.set(NaN, 1), RangeError);
  assert.equal(bitmap.count(), 0);
  bitmap.set(0, 40);
  assert.equal(bitmap.count(), 40);
});

test("Bitmap refuses words that are too few", () => {
  assert.throws(() => new Bitmap(new Uint32Array(1), 33), RangeError);
  assert.equal(new Bitmap(new Uint32Array(2), 33).length, 33);
});

test("Bitmap.clearAll() clears every bit", () => {
  const bitmap = Bitmap.empty(100);
  bitmap.set(3, 90);
  bitmap.clearAll();
  assert.equal(bitmap.count(), 0);
});

test("countBits() counts the bits of a word", () => {
  const slow = (word: number) =>
    word.toString(2).split("").filter((bit) => bit === "1").length;
  for (
    const word of [
      0,
      1,
      2,
      3,
      0x8000_0000,
      0xffff_ffff,
      0x5555_5555,
      0xdead_beef,
    ]
  ) {
    assert.equal(countBits(word), slow(word), word.toString(16));
  }
  for (let bit = 0; bit < 32; bit++) assert.equal(countBits(2 ** bit), 1);
});
