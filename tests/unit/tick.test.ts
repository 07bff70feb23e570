import { test } from "node:test";
import assert from "node:assert/strict";
import { SHARED } from "../../lib/layout.ts";
import { currentTick, nextTick, restoreTick } from "../../lib/tick.ts";

const LOW = SHARED.tick_low >> 2, HALVES = SHARED.tick_halves >> 2;
const words = () => new Uint32Array(1024);

test("nextTick() counts from 1", () => {
  const u32 = words();
  assert.equal(currentTick(u32), 0);
  assert.equal(nextTick(u32), 1);
  assert.equal(nextTick(u32), 2);
  assert.equal(currentTick(u32), 2);
});

test("nextTick() counts on past 2^31 and past 2^32", () => {
  for (const edge of [2 ** 31, 2 ** 32, 3 * 2 ** 31, 2 ** 33, 2 ** 45]) {
    const u32 = words();
    restoreTick(u32, edge - 3);
    for (let i = -2; i <= 3; i++) assert.equal(nextTick(u32), edge + i);
    assert.equal(currentTick(u32), edge + 3);
  }
});

test("restoreTick() sets the counter to any value", () => {
  for (const tick of [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 1e15]) {
    const u32 = words();
    restoreTick(u32, tick);
    assert.equal(currentTick(u32), tick);
    assert.equal(nextTick(u32), tick + 1);
  }
});

test("nextTick() steps the halves for one who was killed before he could", () => {
  // Low word stepped over the edge, halves not yet: the next one does both.
  for (const edge of [2 ** 31, 2 ** 32]) {
    const u32 = words();
    restoreTick(u32, edge - 1);
    u32[LOW] = edge >>> 0;
    assert.equal(nextTick(u32), edge + 1);
    assert.equal(currentTick(u32), edge + 1);
  }
});

test("nextTick() gives one who looks late at the halves his own tick", () => {
  // He stepped the low word to the last value before the edge, was stopped, and
  // another went over the edge meanwhile: he sees the halves of behind it.
  for (const edge of [2 ** 31, 2 ** 32]) {
    const u32 = words();
    restoreTick(u32, edge - 1);
    u32[HALVES] = u32[HALVES]! + 1;
    assert.equal(currentTick(u32), edge - 1);
    // And he does not step the halves for the others a second time.
    u32[LOW] = edge >>> 0;
    assert.equal(currentTick(u32), edge);
  }
});
