import { test } from "node:test";
import assert from "node:assert/strict";
import { type Extent, findExtents, findNear } from "../../lib/allocator.ts";
import { Bitmap } from "../../lib/bitmap.ts";
import { EXTENTS_MAX } from "../../lib/layout.ts";

/** `#` is used, `.` is free. */
function drawn(picture: string): Bitmap {
  const bitmap = new Bitmap(
    new Uint32Array(Math.ceil(picture.length / 32)),
    picture.length,
  );
  [...picture].forEach((char, i) => char === "#" && bitmap.set(i, 1));
  return bitmap;
}

function find(picture: string, needed: number): Extent[] | undefined {
  return findExtents(needed, { used: drawn(picture) });
}

test("findExtents() takes the smallest run that holds the value", () => {
  assert.deepEqual(find("##....##..##...#", 2), [{ start: 8, count: 2 }]);
  assert.deepEqual(find("##....##..##...#", 3), [{ start: 12, count: 3 }]);
  assert.deepEqual(find("##....##..##...#", 4), [{ start: 2, count: 4 }]);
  assert.deepEqual(find("##....##.##...#", 2), [{ start: 11, count: 2 }]);
});

test("findExtents() takes the first of equally small runs", () => {
  assert.deepEqual(find("#..#..#..", 2), [{ start: 1, count: 2 }]);
  assert.deepEqual(find("#...#...#", 2), [{ start: 1, count: 2 }]);
});

test("findExtents() splits only when no run holds the value, largest first", () => {
  assert.deepEqual(find("#..#....#.#", 6), [
    { start: 4, count: 4 },
    { start: 1, count: 2 },
  ]);
  assert.deepEqual(find("#..#....#.#", 7), [
    { start: 4, count: 4 },
    { start: 1, count: 2 },
    { start: 9, count: 1 },
  ]);
  // The last one is cut to what is left.
  assert.deepEqual(find("#...#....#", 5), [
    { start: 5, count: 4 },
    { start: 1, count: 1 },
  ]);
});

test("findExtents() makes at most as many pieces as a record can hold", () => {
  const picture = "#.".repeat(EXTENTS_MAX + 4);
  assert.equal(find(picture, EXTENTS_MAX)?.length, EXTENTS_MAX);
  assert.equal(find(picture, EXTENTS_MAX + 1), undefined);
  // A larger run late in the pool takes a smaller one's place among them.
  const late = "#.".repeat(EXTENTS_MAX) + "#...#";
  assert.deepEqual(find(late, EXTENTS_MAX + 2)?.[0], {
    start: 2 * EXTENTS_MAX + 1,
    count: 3,
  });
  assert.equal(find(late, EXTENTS_MAX + 3), undefined);
});

test("findExtents() finds nothing when free blocks are too few", () => {
  assert.equal(find("####", 1), undefined);
  assert.equal(find("#..#", 3), undefined);
  assert.equal(find("", 1), undefined);
});

test("findExtents() needs nothing for an empty value", () => {
  assert.deepEqual(find("####", 0), []);
});

test("findExtents() sees runs that cross words, and none behind the end", () => {
  const used = drawn("#".repeat(40) + ".".repeat(60) + "#".repeat(5));
  assert.deepEqual(findExtents(60, { used }), [{ start: 40, count: 60 }]);
  assert.equal(findExtents(61, { used }), undefined);
  for (const length of [1, 31, 32, 33, 63, 64, 65, 96, 100]) {
    assert.deepEqual(find(".".repeat(length), length), [
      { start: 0, count: length },
    ]);
    assert.equal(find(".".repeat(length), length + 1), undefined);
  }
});

test("findExtents() sees a run in any place of a word", () => {
  for (let start = 0; start < 96; start++) {
    for (let count = 1; start + count <= 96; count += 7) {
      const picture = "#".repeat(start) + ".".repeat(count) +
        "#".repeat(96 - start - count);
      assert.deepEqual(find(picture, count), [{ start, count }]);
      assert.equal(find(picture, count + 1), undefined);
    }
  }
});

test("findExtents() stays within the blocks it may use", () => {
  const used = drawn("#...........#");
  const within = drawn("..##.####....");
  assert.deepEqual(findExtents(2, { used, within }), [{ start: 2, count: 2 }]);
  assert.deepEqual(findExtents(4, { used, within }), [{ start: 5, count: 4 }]);
  assert.deepEqual(findExtents(6, { used, within }), [
    { start: 5, count: 4 },
    { start: 2, count: 2 },
  ]);
  assert.equal(findExtents(7, { used, within }), undefined);
});

test("findExtents() marks nothing", () => {
  const used = drawn("#..#....");
  const before = [...used.words];
  findExtents(3, { used });
  assert.deepEqual([...used.words], before);
});

function near(picture: string, needed: number, from: number): number {
  return findNear(needed, from, { used: drawn(picture) });
}

test("findNear() takes the next run that holds the value, and goes round", () => {
  const picture = "#...#" + "#".repeat(27) + "##....###" + "#".repeat(23);
  assert.equal(near(picture, 3, 0), 1);
  assert.equal(near(picture, 3, 32), 34);
  assert.equal(near(picture, 4, 0), 34);
  assert.equal(near(picture, 2, 64), 1);
  assert.equal(near(picture, 5, 0), -1);
  assert.equal(near("#".repeat(64), 1, 40), -1);
});

test("findNear() takes one that just fits, if that is not far behind", () => {
  const close = "#....#..#" + "#".repeat(55);
  assert.equal(near(close, 2, 0), 6);
  assert.equal(near(close, 4, 0), 1);
  const far = "#....#" + "#".repeat(32 * 400) + ".#";
  assert.equal(near(far, 1, 0), 1);
  // Where there is a long run nearby, none need be spared.
  const roomy = "#....#" + ".".repeat(300) + "#.#";
  assert.equal(near(roomy, 1, 0), 1);
  const scarce = "#....#" + ".".repeat(200) + "#.#";
  assert.equal(near(scarce, 1, 0), 207);
  // But one that does not hold the value says nothing.
  const longer = ".".repeat(400) + "#" + ".".repeat(290) + "#" +
    ".".repeat(300) + "#";
  assert.equal(near(longer, 300, 0), 692);
});

test("findNear() sees runs that cross words, and none behind the end", () => {
  const across = "#".repeat(30) + "....." + "#".repeat(10);
  assert.equal(near(across, 5, 0), 30);
  assert.equal(near(across, 6, 0), -1);
  assert.equal(near("#".repeat(40) + "...", 3, 0), 40);
  assert.equal(near("#".repeat(40) + "...", 4, 0), -1);
});

test("findNear() stays within the blocks it may use", () => {
  const used = drawn("......#...");
  const within = drawn("#.###.#..#"); // here `#` is allowed
  assert.equal(findNear(3, 0, { used, within }), 2);
  assert.equal(findNear(1, 0, { used, within }), 0);
  assert.equal(findNear(4, 0, { used, within }), -1);
});
