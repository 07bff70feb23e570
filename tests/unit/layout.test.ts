import { test } from "node:test";
import assert from "node:assert/strict";
import {
  BLOCKS_PER_PAGE,
  EntryState,
  EXTENTS_MAX,
  HEADER,
  IDENTITY,
  MAGIC,
  OPERATION,
  OPERATION_BYTES,
  OperationKind,
  PoolState,
  RECORD,
  RECORD_BYTES,
  RECORD_TEXT_BYTES,
  RecordFlag,
  SHARED,
  SLOT,
  SLOT_BYTES,
  SlotState,
  SNAPSHOT_MAGIC,
  VERSION,
} from "../../lib/layout.ts";

// These numbers are format v3. Whoever changes one changes the format, and has
// to give it another version: the pools of running hosts are laid out so.

test("format v3 begins with its magic and version", () => {
  assert.equal(String.fromCharCode(...MAGIC), "CORTEXKV");
  assert.equal(String.fromCharCode(...SNAPSHOT_MAGIC), "CORTEXSN");
  assert.equal(VERSION, 3);
  assert.equal(IDENTITY.magic, 0);
  assert.equal(IDENTITY.version, 8);
  assert.equal(IDENTITY.crc, 12);
  assert.equal(IDENTITY.uuid, 16);
});

test("format v3 has its header's fields where it has them", () => {
  assert.deepEqual(IDENTITY, {
    magic: 0,
    version: 8,
    crc: 12,
    uuid: 16,
    size_bytes: 32,
    data_offset: 40,
    block_bytes: 48,
    blocks: 52,
    free_list_pages: 56,
    system_blocks: 60,
    max_entries: 64,
    buckets: 68,
    slots: 72,
    policy: 76,
    tier: 80,
    low_percent: 84,
    created_at: 88,
    commit_offset: 96,
    slots_offset: 104,
    pins_offset: 112,
    buckets_offset: 120,
    links_offset: 128,
    records_offset: 136,
    policy_offset: 144,
    ring_offset: 152,
    ring_slots: 160,
    namespace_bytes: 164,
    namespace: 168,
    unused: 424,
  });
  assert.deepEqual(HEADER, {
    state: 512,
    dirty: 516,
    lock_holder: 520,
    free_record: 524,
    doomed_record: 528,
    entries: 532,
    reserved: 536,
    doomed: 540,
    used_blocks: 544,
    committed_blocks: 548,
    slot_limit: 552,
    loading: 556,
    modified_at: 560,
    last_persist_at: 568,
    next_sequence: 576,
    hits: 584,
    misses: 592,
    puts: 600,
    evictions: 608,
    deletes: 616,
    recoveries: 624,
    recording: 632,
    search_page: 636,
    boot_id: 640,
    epoch: 656,
    epoch_unused: 660,
    unused: 664,
  });
  assert.equal(SHARED.tick_low, 1024);
  assert.equal(SHARED.tick_halves, 1028);
  assert.equal(SHARED.index_sequence, 1088);
  assert.equal(SHARED.ring_cursor, 1152);
  assert.deepEqual(OPERATION, {
    stamp: 0,
    kind: 4,
    key: 8,
    parent: 16,
    size_bytes: 24,
    at: 32,
  });
  assert.equal(OPERATION_BYTES, 40);
  assert.deepEqual(OperationKind, { HIT: 1, MISS: 2, PUT: 3 });
});

test("format v3 has its records' fields where it has them", () => {
  assert.deepEqual(RECORD, {
    state: 0,
    generation: 4,
    last_access_at: 8,
    access_tick: 16,
    access_count: 24,
    owner_slot: 28,
    owner_incarnation: 32,
    verified_epoch: 36,
    expires_at: 40,
    crc: 48,
    value_crc: 52,
    text_crc: 56,
    flags: 60,
    key_hash: 64,
    parent_hash: 80,
    namespace_hash: 96,
    size_bytes: 104,
    created_at: 112,
    sequence: 120,
    tokens: 128,
    priority: 132,
    extent_count: 136,
    key_bytes: 140,
    parent_bytes: 144,
    meta_bytes: 148,
    extents: 152,
    text: 216,
  });
  assert.equal(RECORD_BYTES, 512);
  assert.equal(RECORD_TEXT_BYTES, 296);
  assert.equal(RECORD.text - RECORD.extents, EXTENTS_MAX * 8);
  assert.deepEqual(SLOT, {
    state: 0,
    pid: 4,
    incarnation: 8,
    reserved: 12,
    attached_at: 16,
    hits: 24,
    misses: 32,
    unused: 40,
  });
  assert.equal(SLOT_BYTES, 64);
});

test("format v3 numbers its states and flags", () => {
  assert.deepEqual(EntryState, { FREE: 0, RESERVED: 1, SEALED: 2, DOOMED: 3 });
  assert.deepEqual(PoolState, { BUILDING: 0, LIVE: 1, DESTROYED: 2 });
  assert.deepEqual(SlotState, { FREE: 0, USED: 1 });
  assert.deepEqual(RecordFlag, { SPILLED: 1, VALUE_CRC: 2, UNSUMMED: 4 });
});

test("format v3 maps 32,768 blocks with a page, and keeps hot words apart", () => {
  assert.equal(BLOCKS_PER_PAGE, 32768);
  // Readers of all processes write to both: not on one cache line.
  assert.ok(
    Math.floor(SHARED.tick_low / 64) !== Math.floor(SHARED.index_sequence / 64),
  );
});
