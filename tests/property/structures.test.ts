import { test } from "node:test";
import assert from "node:assert/strict";
import { cases, fc } from "../cases.ts";
import { hostPlatform } from "../../ffi/mod.ts";
import { type Extent, findExtents } from "../../lib/allocator.ts";
import { Bitmap, countBits } from "../../lib/bitmap.ts";
import { pieces } from "../../lib/contents.ts";
import { Control } from "../../lib/control.ts";
import { NO_PARENT } from "../../lib/entry_fields.ts";
import { EntryTable } from "../../lib/entry_table.ts";
import { planGeometry } from "../../lib/pool_geometry.ts";
import { KeyEncoder } from "../../lib/key.ts";
import { KeyIndex, Links } from "../../lib/key_index.ts";
import { EntryState, EXTENTS_MAX } from "../../lib/layout.ts";
import { currentTick, nextTick, restoreTick } from "../../lib/tick.ts";
import { encoded } from "../helpers.ts";

// By default it makes ten elements where a hundred are allowed.
fc.configureGlobal({ defaultSizeToMaxWhenMaxSpecified: true });

// ------------------------------------------------------------------- bitmap

const LENGTH = 200;

const bitmapStep = fc.record({
  kind: fc.constantFrom("set", "clear", "clearAll"),
  start: fc.nat(LENGTH),
  count: fc.nat(LENGTH),
});

test("Bitmap does what an array of booleans does", () => {
  fc.assert(fc.property(
    fc.array(bitmapStep, { maxLength: 30 }),
    fc.nat(LENGTH),
    fc.nat(LENGTH),
    (steps, from, length) => {
      const bitmap = new Bitmap(new Uint32Array(7), LENGTH);
      let model = new Array<boolean>(LENGTH).fill(false);
      for (const { kind, start, count } of steps) {
        const end = Math.min(LENGTH, start + count);
        if (kind === "clearAll") {
          bitmap.clearAll();
          model = model.fill(false);
        } else {
          bitmap[kind as "set" | "clear"](start, end - start);
          model.fill(kind === "set", start, end);
        }
      }
      const bits = model.map((_, i) => bitmap.has(i));
      assert.deepEqual(bits, model);
      assert.equal(bitmap.count(), model.filter(Boolean).length);
      const range = model.slice(from, from + length);
      assert.equal(bitmap.all(from, range.length), range.every(Boolean));
      assert.equal(bitmap.any(from, range.length), range.some(Boolean));
    },
  ));
});

test("countBits() counts as a loop does", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (word) => {
    let count = 0;
    for (let bit = 0; bit < 32; bit++) count += Math.floor(word / 2 ** bit) % 2;
    assert.equal(countBits(word), count);
  }));
});

// ---------------------------------------------------------------- allocator

interface Space {
  used: boolean[];
  within: boolean[] | undefined;
}

/** Runs, not noise: a coin for each block would hardly ever leave a long one. */
const runs = fc.array(
  fc.record({
    on: fc.boolean(),
    // Mostly short, so that large values come out in too many pieces.
    count: fc.oneof(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 40 }),
    ),
  }),
  { minLength: 1, maxLength: 60 },
).map((list) => list.flatMap(({ on, count }) => new Array(count).fill(on)));

const space: fc.Arbitrary<Space> = fc.record({
  used: runs,
  within: fc.option(runs, { nil: undefined }),
});

function bitmapOf(bits: readonly boolean[], length: number): Bitmap {
  const bitmap = new Bitmap(new Uint32Array(Math.ceil(length / 32)), length);
  for (let i = 0; i < length; i++) if (bits[i]) bitmap.set(i, 1);
  return bitmap;
}

/** Runs of blocks that may be taken, found block by block. */
function freeRuns({ used, within }: Space): Extent[] {
  const found: { start: number; count: number }[] = [];
  let last: { start: number; count: number } | undefined;
  used.forEach((isUsed, block) => {
    if (isUsed || (within && !within[block])) {
      last = undefined;
    } else if (last) {
      last.count++;
    } else {
      found.push(last = { start: block, count: 1 });
    }
  });
  return found;
}

/** What the allocator promises, in the plainest words. */
function expectedExtents(given: Space, needed: number): Extent[] | undefined {
  if (needed === 0) return [];
  const free = freeRuns(given);
  const fitting = free.filter(({ count }) => count >= needed)
    .sort((a, b) => a.count - b.count || a.start - b.start);
  if (fitting[0]) return [{ start: fitting[0].start, count: needed }];
  const extents: Extent[] = [];
  let left = needed;
  const largest = free.sort((a, b) => b.count - a.count || a.start - b.start);
  for (const { start, count } of largest.slice(0, EXTENTS_MAX)) {
    extents.push({ start, count: Math.min(left, count) });
    left -= Math.min(left, count);
    if (left === 0) return extents;
  }
  return undefined;
}

test("findExtents() finds what a search block by block finds", () => {
  fc.assert(
    fc.property(space, fc.nat(120), (given, needed) => {
      const { length } = given.used;
      const found = findExtents(needed, {
        used: bitmapOf(given.used, length),
        within: given.within && bitmapOf(given.within, length),
      });
      assert.deepEqual(found, expectedExtents(given, needed));
    }),
    { numRuns: cases(1000) },
  );
});

test("findExtents() and a free list never give a block to two", () => {
  const step = fc.record({
    kind: fc.constantFrom("take", "take", "give"),
    amount: fc.integer({ min: 1, max: 30 }),
  });
  fc.assert(fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
    const used = new Bitmap(new Uint32Array(8), 250);
    const held: Extent[][] = [];
    for (const { kind, amount } of steps) {
      if (kind === "give") {
        const [extents] = held.splice(amount % Math.max(1, held.length), 1);
        for (const { start, count } of extents ?? []) used.clear(start, count);
        continue;
      }
      const extents = findExtents(amount, { used });
      if (!extents) {
        // It may refuse only if it is short of blocks, or of long enough runs.
        const free = 250 - used.count();
        assert.ok(free < amount || amount > 1);
        continue;
      }
      assert.ok(extents.length <= EXTENTS_MAX);
      assert.equal(extents.reduce((sum, e) => sum + e.count, 0), amount);
      for (const { start, count } of extents) {
        assert.equal(used.any(start, count), false, "a block was given twice");
        used.set(start, count);
      }
      held.push(extents);
    }
    const total = held.flat().reduce((sum, { count }) => sum + count, 0);
    assert.equal(used.count(), total);
  }));
});

// ---------------------------------------------------------------- key index

const CAPACITY = 12;
const geometry = planGeometry({ size_bytes: 2 ** 20, max_entries: CAPACITY });

const indexStep = fc.record({
  kind: fc.constantFrom("insert", "insert", "remove", "rebuild"),
  entry: fc.nat(CAPACITY - 1),
  bucket: fc.nat(3),
});

test("KeyIndex keeps the chains that lists keep", () => {
  fc.assert(fc.property(fc.array(indexStep, { maxLength: 60 }), (steps) => {
    const control = new Control(new ArrayBuffer(geometry.control_bytes));
    const links = new Links(control, geometry);
    const index = new KeyIndex(control, geometry, links);
    const word = (bucket: number) => bucket + 2 ** 31;
    const model = new Map<number, number[]>();
    const where = new Map<number, number>();
    let removed = 0;
    for (const { kind, entry, bucket } of steps) {
      if (kind === "insert" && !where.has(entry)) {
        index.insert(entry, word(bucket));
        model.set(bucket, [entry, ...(model.get(bucket) ?? [])]);
        where.set(entry, bucket);
      } else if (kind === "remove" && where.has(entry)) {
        const its = where.get(entry)!;
        index.remove(entry, word(its));
        model.set(its, model.get(its)!.filter((one) => one !== entry));
        where.delete(entry);
        removed++;
      } else if (kind === "rebuild") {
        index.clear();
        for (const [its, chain] of model) {
          for (const one of chain.toReversed()) index.insert(one, word(its));
        }
        index.settle();
        removed++;
      }
    }
    assert.equal(index.sequence(), 2 * removed);
    for (let bucket = 0; bucket < geometry.buckets; bucket++) {
      const chain: number[] = [];
      for (let at = index.first(word(bucket)); at !== -1;) {
        chain.push(at);
        assert.ok(chain.length <= CAPACITY, "the chain has no end");
        at = index.next(at);
      }
      assert.deepEqual(chain, model.get(bucket) ?? []);
    }
  }));
});

test("KeyIndex comes to an end whatever its words are", () => {
  const link = fc.oneof(
    fc.nat(CAPACITY + 3),
    fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  );
  fc.assert(fc.property(
    fc.array(link, { minLength: CAPACITY, maxLength: CAPACITY }),
    link,
    fc.nat(CAPACITY - 1),
    (hostile, head, entry) => {
      const control = new Control(new ArrayBuffer(geometry.control_bytes));
      const links = new Links(control, geometry);
      const index = new KeyIndex(control, geometry, links);
      hostile.forEach((link, at) => links.set(at, link));
      control.u32[geometry.buckets_offset >> 2] = head;
      const first = index.first(0);
      assert.ok(first >= -1 && first < CAPACITY);
      index.remove(entry, 0);
      for (let at = 0; at < CAPACITY; at++) {
        const next = index.next(at);
        assert.ok(next >= -1 && next < CAPACITY);
      }
    },
  ));
});

// -------------------------------------------------------------- entry table

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const real = fc.integer({ min: 0, max: 2 ** 53 - 1 });
const text = fc.string({ minLength: 1, maxLength: 400, unit: "grapheme" })
  .filter((key) => new TextEncoder().encode(key).length <= 1024);

test("EntryTable gives back what was written, whatever its neighbours hold", () => {
  const keys = new KeyEncoder("ns");
  const platform = hostPlatform();
  const entry = fc.record({
    at: fc.nat(CAPACITY - 1),
    key: text,
    parent: fc.option(text),
    meta: fc.uint8Array({ maxLength: 300 }),
    size_bytes: fc.nat(5 * 4096),
    tokens: u32,
    priority: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
    created_at: real,
    access_tick: real,
    access_count: u32,
    sequence: real,
    value_crc: fc.option(u32),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
      const control = new Control(new ArrayBuffer(geometry.control_bytes));
      const table = new EntryTable(control, geometry, platform);
      const model = new Map<number, typeof entries[number]>();
      for (const given of entries) {
        const key = encoded(keys, given.key);
        const parent = given.parent === null
          ? NO_PARENT
          : encoded(keys, given.parent);
        const whole = Uint8Array.from([
          ...key.bytes,
          ...parent.bytes,
          ...given.meta,
        ]);
        const blocks = table.blocksFor(given.size_bytes, whole.length);
        const extents = blocks === 0
          ? []
          : [{ start: geometry.system_blocks, count: blocks }];
        table.write(
          given.at,
          {
            ...given,
            key,
            parent,
            namespaceHash: keys.namespaceHash,
            last_access_at: given.created_at,
          },
          extents,
          whole,
        );
        if (given.value_crc !== null) {
          table.setFilled(given.at, given.value_crc);
        }
        table.setState(given.at, EntryState.SEALED);
        model.set(given.at, given);
      }
      for (const [at, given] of model) {
        assert.ok(table.isSound(at));
        assert.equal(table.size_bytes(at), given.size_bytes);
        assert.equal(table.word(at, "tokens"), given.tokens);
        assert.equal(table.priority(at), given.priority);
        assert.equal(table.real(at, "created_at"), given.created_at);
        assert.equal(table.real(at, "access_tick"), given.access_tick);
        assert.equal(table.word(at, "access_count"), given.access_count);
        assert.equal(table.real(at, "sequence"), given.sequence);
        assert.equal(table.valueCrc(at), given.value_crc ?? undefined);
        const { hash } = keys.encode(given.key);
        assert.ok(table.matches(at, hash, keys.namespaceHash));
        const encode = (text: string) => new TextEncoder().encode(text).length;
        assert.deepEqual(table.textLengths(at), {
          key_bytes: encode(given.key),
          parent_bytes: given.parent === null ? 0 : encode(given.parent),
          meta_bytes: given.meta.length,
        });
      }
    }),
    { numRuns: cases(60) },
  );
});

test("EntryTable believes no noise that leads out of the data region", () => {
  const platform = hostPlatform();
  fc.assert(fc.property(
    fc.uint8Array({ minLength: 512, maxLength: 512 }),
    fc.boolean(),
    (noise, plausible) => {
      const control = new Control(new ArrayBuffer(geometry.control_bytes));
      control.u8.set(noise, geometry.records_offset);
      if (plausible) {
        // Noise alone fails at the first look: get it past the lengths.
        const at = geometry.records_offset >> 2;
        control.u32.set([1 + noise[0]! % 9, 5, 0, 0], at + 34);
        control.u32[at + 15] = 0;
        control.u32.set([noise[1]! * 64, 0], at + 26);
        for (let i = 38; i < 54; i++) control.u32[at + i]! %= 300;
      }
      const table = new EntryTable(control, geometry, platform);
      const extents = table.extents(0);
      const { system_blocks, blocks, block_bytes } = geometry;
      let total = 0;
      for (const { start, count } of extents ?? []) {
        assert.ok(start >= system_blocks && start + count <= blocks);
        assert.ok(count > 0);
        total += count;
      }
      if (extents) {
        assert.ok(total * block_bytes >= table.size_bytes(0));
        for (const piece of pieces(geometry, extents, 0, table.size_bytes(0))) {
          assert.ok(piece.offset >= geometry.control_bytes);
          assert.ok(piece.offset + piece.length <= geometry.size_bytes);
        }
      }
    },
  ));
});

test("pieces() gives every byte of a value once, in order", () => {
  const extent = fc.record({
    start: fc.integer({
      min: geometry.system_blocks,
      max: geometry.blocks - 9,
    }),
    count: fc.integer({ min: 1, max: 8 }),
  });
  fc.assert(fc.property(
    fc.array(extent, { minLength: 1, maxLength: 8 }),
    fc.nat(),
    fc.nat(),
    (extents, a, b) => {
      const { block_bytes, data_offset } = geometry;
      const total = extents.reduce((sum, e) => sum + e.count, 0) * block_bytes;
      const from = a % total, length = b % (total - from + 1);
      // Where byte `at` of the value lies, worked out by itself.
      const place = (at: number) => {
        for (const { start, count } of extents) {
          if (at < count * block_bytes) {
            return data_offset + start * block_bytes + at;
          }
          at -= count * block_bytes;
        }
        return NaN;
      };
      let at = from;
      for (const piece of pieces(geometry, extents, from, length)) {
        assert.ok(piece.length > 0);
        assert.equal(piece.offset, place(at));
        assert.equal(
          piece.offset + piece.length - 1,
          place(at + piece.length - 1),
        );
        at += piece.length;
      }
      assert.equal(at, from + length);
    },
  ));
});

// --------------------------------------------------------------------- tick

test("nextTick() counts on from any value", () => {
  const near = fc.tuple(fc.nat(2 ** 20), fc.integer({ min: -5, max: 5 }))
    .map(([n, d]) => Math.max(0, n * 2 ** 31 + d));
  fc.assert(fc.property(near, fc.nat(12), (tick, steps) => {
    const words = new Uint32Array(1024);
    restoreTick(words, tick);
    assert.equal(currentTick(words), tick);
    for (let i = 1; i <= steps; i++) assert.equal(nextTick(words), tick + i);
    assert.equal(currentTick(words), tick + steps);
  }));
});
