import { test } from "node:test";
import assert from "node:assert/strict";
import { hostPlatform } from "../../ffi/mod.ts";
import type { Extent } from "../../lib/allocator.ts";
import { pieces } from "../../lib/contents.ts";
import { Control } from "../../lib/control.ts";
import { type EntryFields, NO_PARENT } from "../../lib/entry_fields.ts";
import { EntryTable } from "../../lib/entry_table.ts";
import { planGeometry } from "../../lib/pool_geometry.ts";
import { KeyEncoder } from "../../lib/key.ts";
import { spillOffset, storedBytes } from "../../lib/stored.ts";
import { EntryState, RECORD, RECORD_BYTES } from "../../lib/layout.ts";
import { encoded } from "../helpers.ts";

const platform = hostPlatform();
const geometry = planGeometry({ size_bytes: 2 ** 20, max_entries: 8 });
const first = geometry.system_blocks;
const keys = new KeyEncoder("ns");

function table() {
  const control = new Control(new ArrayBuffer(geometry.control_bytes));
  return { control, table: new EntryTable(control, geometry, platform) };
}

function fields(over: Partial<EntryFields> = {}): EntryFields {
  return {
    key: encoded(keys, "doc-1"),
    parent: NO_PARENT,
    meta: new Uint8Array(),
    namespaceHash: keys.namespaceHash,
    size_bytes: 5000,
    tokens: 0xffff_ffff,
    priority: -(2 ** 31),
    created_at: 1,
    last_access_at: 2,
    access_tick: 3,
    access_count: 4,
    sequence: 5,
    ...over,
  };
}

const TWO: Extent[] = [{ start: first, count: 2 }];
const text = (given: EntryFields) =>
  Uint8Array.from([
    ...given.key.bytes,
    ...given.parent.bytes,
    ...given.meta,
  ]);

function put(entry: number, given = fields(), extents = TWO) {
  const made = table();
  made.table.write(entry, given, extents, text(given));
  made.table.setState(entry, EntryState.SEALED);
  return made;
}

const word = (control: Control, entry: number, field: keyof typeof RECORD) => {
  const at = geometry.records_offset + entry * RECORD_BYTES + RECORD[field];
  return {
    set: (value: number) => control.u32[at >> 2] = value,
    get: () => control.u32[at >> 2]!,
  };
};

test("EntryTable.write() writes what it is given, into its own record only", () => {
  const { control, table } = put(3);
  assert.equal(table.isSound(3), true);
  assert.equal(table.size_bytes(3), 5000);
  assert.equal(table.word(3, "tokens"), 0xffff_ffff);
  assert.equal(table.priority(3), -(2 ** 31));
  assert.equal(table.real(3, "created_at"), 1);
  assert.equal(table.real(3, "last_access_at"), 2);
  assert.equal(table.real(3, "access_tick"), 3);
  assert.equal(table.word(3, "access_count"), 4);
  assert.equal(table.real(3, "sequence"), 5);
  assert.deepEqual(table.extents(3), TWO);
  assert.equal(table.blocks(3), 2);
  assert.equal(table.isSpilled(3), false);
  assert.equal(
    new TextDecoder().decode(table.inlineText(3, 5)),
    "doc-1",
  );
  const { hash } = keys.encode("doc-1");
  assert.ok(table.matches(3, hash, keys.namespaceHash));
  assert.equal(table.matches(3, hash, new Uint32Array(2)), false);
  for (const entry of [2, 4]) {
    const from = geometry.records_offset + entry * RECORD_BYTES;
    assert.ok(
      control.u8.subarray(from, from + RECORD_BYTES).every((byte) =>
        byte === 0
      ),
    );
  }
});

test("EntryTable.write() keeps state and generation, and nothing else of before", () => {
  const { table } = put(0, fields({ priority: 7, tokens: 9 }));
  table.doom(0);
  table.setState(0, EntryState.FREE);
  const small = fields({ size_bytes: 1, tokens: 0, priority: 0 });
  table.write(0, small, [{ start: first, count: 1 }], text(small));
  assert.equal(table.state(0), EntryState.FREE);
  assert.equal(table.generation(0), 1);
  assert.equal(table.valueCrc(0), undefined);
  assert.equal(table.priority(0), 0);
  assert.equal(table.blocks(0), 1);
});

test("EntryTable.matches() compares all 128 bits of the hash", () => {
  const { table } = put(0);
  const { hash } = encoded(keys, "doc-1");
  for (let i = 0; i < 4; i++) {
    const other = hash.slice();
    other[i]! ^= 1;
    assert.equal(table.matches(0, other, keys.namespaceHash), false);
  }
});

test("EntryTable.isSound() sees a flipped bit in all that the checksum covers", () => {
  for (let at: number = RECORD.crc; at < RECORD_BYTES; at++) {
    const { control, table } = put(1);
    control.u8[geometry.records_offset + RECORD_BYTES + at]! ^= 0x10;
    assert.equal(table.isSound(1), false, `byte ${at}`);
  }
});

test("EntryTable.isSound() does not mind the words that change while it lives", () => {
  const { table } = put(1);
  table.touch(1, 99, 100);
  table.setOwner(1, 3, 4);
  assert.equal(table.isSound(1), true);
  assert.equal(table.real(1, "access_tick"), 99);
  assert.equal(table.real(1, "last_access_at"), 100);
  assert.equal(table.word(1, "access_count"), 5);
  table.setFilled(1, 0xdead_beef);
  assert.equal(table.isSound(1), true);
  assert.equal(table.valueCrc(1), 0xdead_beef);
});

test("EntryTable.touch() stops counting before the count could wrap", () => {
  const { control, table } = put(0);
  word(control, 0, "access_count").set(0xffff_ffff);
  table.touch(0, 1, 1);
  assert.equal(table.word(0, "access_count"), 0xffff_ffff);
  word(control, 0, "access_count").set(0xffff_0000);
  for (let i = 0; i < 10; i++) table.touch(0, 1, 1);
  assert.equal(table.word(0, "access_count"), 0xffff_0000);
});

test("EntryTable.doom() raises the generation every time", () => {
  const { table } = put(0);
  assert.equal(table.generation(0), 0);
  table.doom(0);
  assert.equal(table.state(0), EntryState.DOOMED);
  assert.equal(table.generation(0), 1);
  table.doom(0);
  assert.equal(table.generation(0), 2);
});

test("EntryTable.extents() believes nothing that leaves the data region", () => {
  const { blocks } = geometry;
  const wrong: Extent[][] = [
    [{ start: 0, count: 2 }],
    [{ start: first - 1, count: 2 }],
    [{ start: blocks - 1, count: 2 }],
    [{ start: blocks, count: 2 }],
    [{ start: 0xffff_ffff, count: 2 }],
    [{ start: first, count: 1 }],
    [{ start: first, count: 3 }],
    [{ start: first, count: 0 }, { start: first, count: 2 }],
    [{ start: first, count: 0xffff_ffff }, { start: first, count: 3 }],
    [],
  ];
  for (const extents of wrong) {
    // write() makes the checksum right: only the bounds can tell.
    const { table } = put(0, fields(), extents);
    assert.equal(table.extents(0), undefined, JSON.stringify(extents));
    assert.equal(table.isSound(0), false);
    assert.equal(table.blocks(0), 0);
  }
  const right = [{ start: blocks - 2, count: 2 }];
  assert.deepEqual(put(0, fields(), right).table.extents(0), right);
});

test("EntryTable.extents() believes no count of extents that a record cannot hold", () => {
  for (const count of [0, 9, 0xffff_ffff]) {
    const { control, table } = put(0);
    word(control, 0, "extent_count").set(count);
    assert.equal(table.extents(0), undefined);
  }
});

test("EntryTable.extents() believes no size that its blocks do not hold", () => {
  for (const size of [0, 4096, 8193, 2 ** 32 - 1]) {
    const { control, table } = put(0);
    word(control, 0, "size_bytes").set(size);
    assert.equal(table.extents(0), undefined, `${size}`);
  }
  const { control, table } = put(0);
  control.setU64(geometry.records_offset + RECORD.size_bytes, 2 ** 52);
  assert.equal(table.extents(0), undefined);
});

test("EntryTable.textLengths() believes no text that no entry has", () => {
  const wrong: [keyof typeof RECORD, number][] = [
    ["key_bytes", 0],
    ["key_bytes", 1025],
    ["key_bytes", 0xffff_ffff],
    ["parent_bytes", 1025],
    ["meta_bytes", 4097],
    // Would have to be spilled, and is not.
    ["meta_bytes", 296],
  ];
  for (const [field, value] of wrong) {
    const { control, table } = put(0);
    word(control, 0, field).set(value);
    assert.equal(table.textLengths(0), undefined, `${field} ${value}`);
    assert.equal(table.extents(0), undefined);
  }
  // And the other way round: said to be spilled, and need not be.
  const { control, table } = put(0);
  word(control, 0, "flags").set(1);
  assert.equal(table.textLengths(0), undefined);
});

test("storedBytes() puts text behind the value only if the record cannot hold it", () => {
  assert.deepEqual(storedBytes(4096, 296), { bytes: 4096, spilled: false });
  assert.deepEqual(storedBytes(4096, 297), { bytes: 4393, spilled: true });
  assert.deepEqual(storedBytes(4089, 300), { bytes: 4396, spilled: true });
  assert.deepEqual(storedBytes(0, 0), { bytes: 0, spilled: false });
  assert.equal(spillOffset(0), 0);
  assert.equal(spillOffset(1), 8);
  assert.equal(spillOffset(8), 8);
});

test("EntryTable.blocksFor() gives n blocks to a value of exactly n blocks", () => {
  const { table } = put(0);
  assert.equal(table.blocksFor(0, 100), 0);
  assert.equal(table.blocksFor(1, 100), 1);
  assert.equal(table.blocksFor(4096, 296), 1);
  assert.equal(table.blocksFor(4097, 296), 2);
  assert.equal(table.blocksFor(8192, 100), 2);
  // Spilled text is not free.
  assert.equal(table.blocksFor(4096, 297), 2);
  assert.equal(table.blocksFor(0, 297), 1);
});

test("pieces() cuts a range of a value where its extents end", () => {
  const block = geometry.block_bytes;
  const at = (n: number) => geometry.data_offset + n * block;
  const extents = [
    { start: 50, count: 2 },
    { start: 40, count: 1 },
    { start: 60, count: 3 },
  ];
  assert.deepEqual(pieces(geometry, extents, 0, 6 * block), [
    { offset: at(50), length: 2 * block },
    { offset: at(40), length: block },
    { offset: at(60), length: 3 * block },
  ]);
  assert.deepEqual(pieces(geometry, extents, 10, 20), [
    { offset: at(50) + 10, length: 20 },
  ]);
  assert.deepEqual(pieces(geometry, extents, 2 * block - 1, 2), [
    { offset: at(51) + block - 1, length: 1 },
    { offset: at(40), length: 1 },
  ]);
  assert.deepEqual(pieces(geometry, extents, 3 * block + 5, 7), [
    { offset: at(60) + 5, length: 7 },
  ]);
  assert.deepEqual(pieces(geometry, extents, 2 * block, block), [
    { offset: at(40), length: block },
  ]);
  assert.deepEqual(pieces(geometry, extents, 0, 0), []);
  assert.deepEqual(pieces(geometry, [], 0, 0), []);
});
