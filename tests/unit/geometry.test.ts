import { test } from "node:test";
import assert from "node:assert/strict";
import { fc } from "../cases.ts";
import { UsageError } from "../../lib/errors.ts";
import {
  blockOffset,
  type Geometry,
  usableBlocks,
} from "../../lib/geometry.ts";
import { planGeometry } from "../../lib/pool_geometry.ts";
import {
  BLOCK_MAX_BYTES,
  BLOCK_MIN_BYTES,
  BLOCKS_PER_PAGE,
  CONTROL_MAX_BYTES,
  PAGE_BYTES,
  RECORD_BYTES,
  SLOT_BYTES,
  SLOTS,
} from "../../lib/layout.ts";
import { assertRefuses } from "../helpers.ts";

const KIB = 2 ** 10, MIB = 2 ** 20, GIB = 2 ** 30, TIB = 2 ** 40;

/** What must hold of every geometry, whatever was asked. */
function assertSound(geometry: Geometry): void {
  const g = geometry;
  const end = blockOffset(g, g.blocks);
  assert.ok(end <= g.size_bytes, "the data region ends inside the segment");
  assert.ok(g.size_bytes - end < g.block_bytes + PAGE_BYTES, "nothing is lost");
  assert.ok(g.blocks <= g.free_list_pages * BLOCKS_PER_PAGE, "all are mapped");
  assert.equal(g.data_offset, PAGE_BYTES * (1 + g.free_list_pages));
  assert.ok(usableBlocks(g) >= 1);
  assert.ok(g.control_bytes <= CONTROL_MAX_BYTES);
  assert.equal(g.control_bytes, blockOffset(g, g.system_blocks));
  assert.equal(Math.log2(g.buckets) % 1, 0, "buckets are a power of two");
  assert.ok(g.buckets >= g.max_entries);
  assert.ok(g.pin_row_bytes * 8 >= g.max_entries);
  assert.equal(g.slots, SLOTS);

  const tables: [string, number, number][] = [
    ["commit", g.commit_offset, g.free_list_pages * PAGE_BYTES],
    ["slots", g.slots_offset, SLOTS * SLOT_BYTES],
    ["pins", g.pins_offset, SLOTS * g.pin_row_bytes],
    ["buckets", g.buckets_offset, g.buckets * 4],
    ["links", g.links_offset, g.max_entries * 4],
    ["records", g.records_offset, g.max_entries * RECORD_BYTES],
  ];
  let from = g.data_offset;
  for (const [name, offset, bytes] of tables) {
    assert.ok(offset >= from, `${name} begins behind the table before`);
    assert.equal(offset % 64, 0, `${name} is aligned`);
    from = offset + bytes;
  }
  assert.ok(from <= g.control_bytes, "the tables lie in the system blocks");
}

test("planGeometry() lays out 16 GiB in blocks of 512 KiB", () => {
  const geometry = planGeometry({ size_bytes: 17179869184 });
  assert.equal(geometry.block_bytes, 524288);
  assert.equal(geometry.blocks, 32767);
  assert.equal(geometry.free_list_pages, 1);
  assert.equal(geometry.data_offset, 8192);
  assertSound(geometry);
});

test("planGeometry() lays out 1 TiB in blocks of 32 MiB", () => {
  const geometry = planGeometry({ size_bytes: 1099511627776 });
  assert.equal(geometry.block_bytes, 32 * MIB);
  assert.equal(geometry.blocks, 32767);
  assert.equal(geometry.free_list_pages, 1);
  assertSound(geometry);
});

test("planGeometry() lays out 1 TiB in blocks of 4 KiB and more pages", () => {
  const geometry = planGeometry({
    size_bytes: TIB,
    block_bytes: 4 * KIB,
    max_entries: 100_000,
  });
  // B blocks and ceil(B / 32768) pages of 4 KiB, with the header, fill 2^28 pages.
  assert.equal(geometry.blocks + geometry.free_list_pages + 1, 2 ** 28);
  assert.equal(
    geometry.free_list_pages,
    Math.ceil(geometry.blocks / BLOCKS_PER_PAGE),
  );
  assert.equal(geometry.free_list_pages, 8192);
  assertSound(geometry);
});

test("planGeometry() keeps one page of free list at the default block size", () => {
  for (let power = 18; power <= 43; power++) {
    for (const size_bytes of [2 ** power, 2 ** power + 12345, 3 * 2 ** power]) {
      const geometry = planGeometry({ size_bytes });
      assert.equal(geometry.free_list_pages, 1, `${size_bytes}`);
      const { block_bytes } = geometry;
      // The smallest power of two that does: half of it would not.
      if (block_bytes > BLOCK_MIN_BYTES) {
        const half = planGeometry({ size_bytes, block_bytes: block_bytes / 2 });
        assert.ok(half.free_list_pages > 1, `${size_bytes}`);
      }
      assertSound(geometry);
    }
  }
});

test("planGeometry() takes exactly 32,768 blocks before it doubles the block size", () => {
  const full = 2 * PAGE_BYTES + BLOCKS_PER_PAGE * BLOCK_MIN_BYTES;
  const at = planGeometry({ size_bytes: full });
  assert.equal(at.block_bytes, 4096);
  assert.equal(at.blocks, 32768);
  const under = planGeometry({ size_bytes: full - 1 });
  assert.equal(under.blocks, 32767);
  const over = planGeometry({ size_bytes: full + BLOCK_MIN_BYTES });
  assert.equal(over.block_bytes, 8192);
});

test("planGeometry() spends at most 1% of 128 MiB and more on its tables", () => {
  for (let power = 27; power <= 42; power++) {
    for (const factor of [1, 1.1, 1.3, 1.5, 1.7, 1.9]) {
      const size_bytes = Math.floor(2 ** power * factor);
      const g = planGeometry({ size_bytes });
      const system_bytes = g.system_blocks * g.block_bytes;
      assert.ok(
        system_bytes <= size_bytes * 0.01,
        `${size_bytes}: ${system_bytes} is ${100 * system_bytes / size_bytes}%`,
      );
    }
  }
});

test("planGeometry() leaves most of a small pool to entries", () => {
  for (const size_bytes of [256 * KIB, 512 * KIB, MIB, 4 * MIB, 64 * MIB]) {
    const geometry = planGeometry({ size_bytes });
    assert.ok(
      usableBlocks(geometry) * geometry.block_bytes >= size_bytes / 2,
      `${size_bytes}: ${usableBlocks(geometry)} of ${geometry.blocks} blocks`,
    );
    assert.ok(geometry.max_entries >= 16);
  }
});

test("planGeometry() gives room for as many entries as are asked for", () => {
  for (const max_entries of [1, 2, 15, 16, 17, 1000, 32768, 100_000]) {
    const geometry = planGeometry({ size_bytes: GIB, max_entries });
    assert.equal(geometry.max_entries, max_entries);
    assertSound(geometry);
  }
});

test("planGeometry() takes every power of two from 4 KiB to 1 GiB as block size", () => {
  for (
    let block_bytes = BLOCK_MIN_BYTES;
    block_bytes <= BLOCK_MAX_BYTES;
    block_bytes *= 2
  ) {
    const geometry = planGeometry({ size_bytes: 16 * GIB, block_bytes });
    assert.equal(geometry.block_bytes, block_bytes);
    assertSound(geometry);
  }
});

test("planGeometry() refuses a block size that is no power of two in range", () => {
  for (
    const block_bytes of [
      0,
      -4096,
      1,
      2048,
      4095,
      4097,
      6144,
      12288,
      2 ** 31,
      NaN,
      4096.5,
      Infinity,
      2 ** 30 + 1,
      2 ** 30 - 1,
    ]
  ) {
    assertRefuses(
      () => planGeometry({ size_bytes: 16 * GIB, block_bytes }),
      UsageError,
      /power of two/,
    );
  }
});

test("planGeometry() refuses a size that is no positive whole number", () => {
  for (const size_bytes of [0, -1, 1.5, NaN, Infinity, 2 ** 53]) {
    assertRefuses(() => planGeometry({ size_bytes }), UsageError, /whole/);
  }
});

test("planGeometry() refuses an entry limit that is no positive whole number", () => {
  for (const max_entries of [0, -1, 1.5, NaN, Infinity]) {
    assertRefuses(
      () => planGeometry({ size_bytes: GIB, max_entries }),
      UsageError,
      /entry limit/,
    );
  }
});

test("planGeometry() refuses a pool too small for its own tables", () => {
  for (const size_bytes of [1, 4095, 4096, 8192, 12288, 40_000]) {
    assertRefuses(() => planGeometry({ size_bytes }), UsageError, /too small/);
  }
  assertRefuses(
    () => planGeometry({ size_bytes: MIB, max_entries: 2048 }),
    UsageError,
    /too small/,
  );
  // What its hint promises is true.
  assertSound(planGeometry({ size_bytes: 256 * KIB }));
});

test("planGeometry() refuses tables that no runtime could map as one", () => {
  assertRefuses(
    () => planGeometry({ size_bytes: TIB, max_entries: 2 ** 23 }),
    UsageError,
    /2 GiB/,
  );
});

test("planGeometry() chooses no entry limit that it then refuses", () => {
  // The caller asked for no entry limit, so "ask for fewer" is no answer.
  for (const block_bytes of [4 * KIB, 64 * KIB, 256 * KIB, MIB]) {
    for (const size_bytes of [256 * GIB, 512 * GIB, TIB]) {
      assertSound(planGeometry({ size_bytes, block_bytes }));
    }
  }
});

test("planGeometry() gives a sound geometry for whatever it does not refuse", () => {
  fc.assert(fc.property(
    fc.double({ min: 12, max: 44, noNaN: true }),
    fc.option(fc.integer({ min: 12, max: 30 }), { nil: undefined }),
    fc.option(fc.integer({ min: 1, max: 200_000 }), { nil: undefined }),
    (sizeLog2, blockLog2, max_entries) => {
      const block_bytes = blockLog2 === undefined ? undefined : 2 ** blockLog2;
      const size_bytes = Math.floor(2 ** sizeLog2);
      let geometry: Geometry;
      try {
        geometry = planGeometry({ size_bytes, block_bytes, max_entries });
      } catch (error) {
        assert.ok(error instanceof UsageError);
        return;
      }
      assertSound(geometry);
      // Attaching works it out again from these three numbers.
      assert.deepEqual(
        planGeometry({
          size_bytes: geometry.size_bytes,
          block_bytes: geometry.block_bytes,
          max_entries: geometry.max_entries,
        }),
        geometry,
      );
    },
  ));
});
