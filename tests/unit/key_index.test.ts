import { test } from "node:test";
import assert from "node:assert/strict";
import { Control } from "../../lib/control.ts";
import { planGeometry } from "../../lib/pool_geometry.ts";
import { KeyIndex, Links } from "../../lib/key_index.ts";
import { NONE } from "../../lib/layout.ts";

const geometry = planGeometry({ size_bytes: 2 ** 20, max_entries: 12 });

function index() {
  const control = new Control(new ArrayBuffer(geometry.control_bytes));
  const links = new Links(control, geometry);
  return { control, links, index: new KeyIndex(control, geometry, links) };
}

/** The first word of a hash of the bucket. */
const wordOf = (bucket: number) => bucket + 2 ** 31;

function chain(index: KeyIndex, bucket: number): number[] {
  const found: number[] = [];
  let at = index.first(wordOf(bucket));
  while (at !== -1 && found.length < 20) {
    found.push(at);
    at = index.next(at);
  }
  return found;
}

test("KeyIndex.insert() puts an entry at the head of its chain", () => {
  const { index: it } = index();
  assert.deepEqual(chain(it, 3), []);
  for (const entry of [0, 5, 11]) it.insert(entry, wordOf(3));
  it.insert(7, wordOf(4));
  assert.deepEqual(chain(it, 3), [11, 5, 0]);
  assert.deepEqual(chain(it, 4), [7]);
  // Only the low bits of the first word choose the bucket.
  assert.deepEqual(chain(it, 3 + 16), [11, 5, 0]);
});

test("KeyIndex.remove() takes an entry out of any place of its chain", () => {
  for (const out of [0, 5, 11]) {
    const { index: it } = index();
    for (const entry of [0, 5, 11]) it.insert(entry, wordOf(3));
    it.remove(out, wordOf(3));
    assert.deepEqual(chain(it, 3), [11, 5, 0].filter((one) => one !== out));
  }
});

test("KeyIndex.remove() moves the sequence by two, insert() not at all", () => {
  const { index: it } = index();
  const before = it.sequence();
  it.insert(1, wordOf(3));
  assert.equal(it.sequence(), before);
  it.remove(1, wordOf(3));
  assert.equal(it.sequence(), before + 2);
  // What is not in the chain moves nothing.
  it.remove(1, wordOf(3));
  assert.equal(it.sequence(), before + 2);
});

test("KeyIndex.clear() keeps the sequence odd until settle()", () => {
  const { index: it } = index();
  it.insert(1, wordOf(3));
  it.clear();
  assert.deepEqual(chain(it, 3), []);
  assert.equal(it.sequence() % 2, 1);
  it.clear();
  assert.equal(it.sequence() % 2, 1);
  it.settle();
  assert.equal(it.sequence() % 2, 0);
  const settled = it.sequence();
  it.settle();
  assert.equal(it.sequence(), settled);
});

test("KeyIndex.clear() empties every bucket, and nothing beside them", () => {
  const { control, index: it } = index();
  control.u8.fill(0xff);
  it.clear();
  for (let at = 0; at < control.u8.length; at++) {
    const isBucket = at >= geometry.buckets_offset &&
      at < geometry.buckets_offset + 4 * geometry.buckets;
    const isSequence = at >= 1088 && at < 1092;
    if (isSequence) continue;
    assert.equal(control.u8[at], isBucket ? 0 : 0xff, `byte ${at}`);
  }
});

test("KeyIndex follows no link that leads out of the table", () => {
  const { control, links, index: it } = index();
  const bucket = (geometry.buckets_offset >> 2) + 3;
  for (const wild of [13, 14, 2 ** 31, 2 ** 32 - 1]) {
    control.u32[bucket] = wild;
    assert.equal(it.first(wordOf(3)), -1);
    links.set(0, wild);
    assert.equal(links.next(0), -1);
    assert.equal(links.raw(0), wild);
  }
  control.u32[bucket] = 12;
  assert.equal(it.first(wordOf(3)), 11);
  links.set(0, NONE);
  assert.equal(links.next(0), -1);
});

test("KeyIndex.remove() comes to an end in a chain that bites its tail", () => {
  const { links, index: it } = index();
  it.insert(1, wordOf(3));
  it.insert(2, wordOf(3));
  links.set(1, 2 + 1);
  it.remove(9, wordOf(3));
  assert.equal(it.sequence(), 0);
});
