/**
 * From the size of a segment to the place of everything in it. A geometry
 * follows from three numbers and the room that the policy's state takes, so a
 * header is checked by working it out again.
 *
 * @module
 */
import { UsageError } from "./errors.ts";
import {
  BLOCK_MAX_BYTES,
  BLOCK_MIN_BYTES,
  BLOCKS_MAX,
  BLOCKS_PER_PAGE,
  CONTROL_MAX_BYTES,
  OPERATION_BYTES,
  PAGE_BYTES,
  RECORD_BYTES,
  SLOT_BYTES,
  SLOTS,
  TABLE_ALIGN_BYTES,
} from "./layout.ts";

/** Where everything is. Offsets are bytes from the start of the segment. */
export interface Geometry {
  readonly size_bytes: number;
  readonly block_bytes: number;
  /** Blocks of the data region, system blocks included. */
  readonly blocks: number;
  readonly free_list_pages: number;
  readonly data_offset: number;
  /** Blocks at the head of the data region that hold the tables. */
  readonly system_blocks: number;
  readonly max_entries: number;
  /** Heads of the key index's chains: a power of two. */
  readonly buckets: number;
  readonly slots: number;
  readonly commit_offset: number;
  readonly slots_offset: number;
  readonly pins_offset: number;
  /** Bytes from one slot's pins to the next one's. */
  readonly pin_row_bytes: number;
  readonly buckets_offset: number;
  readonly links_offset: number;
  readonly records_offset: number;
  /** State of the eviction policy. */
  readonly policy_offset: number;
  /** Whole cache lines. */
  readonly policy_bytes: number;
  /** Ring of recent operations. */
  readonly ring_offset: number;
  /** Operations that it holds: a power of two. */
  readonly ring_slots: number;
  /** End of the header, free list and system blocks. */
  readonly control_bytes: number;
}

/** What a geometry follows from. */
export interface LayoutOptions {
  /** Of the whole segment. */
  readonly size_bytes: number;
  /** A power of two; by default the smallest that one page can map. */
  readonly block_bytes?: number | undefined;
  readonly max_entries?: number | undefined;
  /** Bytes that the policy's state takes for so many entries. */
  readonly policyBytes: PolicyBytes;
}

type PolicyBytes = (entries: number) => number;

/** Share of the pool that its tables may take, unless more entries are asked. */
const TABLES_SHARE = 0.01;
/** Below this size a pool's tables may take as much as they would at it. */
const TABLES_FULL_SHARE_BYTES = 128 * 2 ** 20;
/** But never more than this share of a small pool... */
const TABLES_SMALL_SHARE = 0.125;
/** ...unless it is so small that it would then have hardly an entry. */
const TABLES_TINY_SHARE = 0.25;
const TABLES_TINY_BYTES = 256 * 1024;

/** Every pool has room for some entries, whatever their tables take. */
const ENTRIES_MIN = 16;

const align = (value: number, to: number) => Math.ceil(value / to) * to;

function powerOfTwoFrom(value: number): number {
  return 2 ** Math.ceil(Math.log2(Math.max(1, value)));
}

/** Blocks, and the pages of the free list that map them. */
function countBlocks(size_bytes: number, block_bytes: number) {
  let pages = 1;
  for (;;) {
    const room_bytes = size_bytes - PAGE_BYTES * (1 + pages);
    const blocks = Math.max(0, Math.floor(room_bytes / block_bytes));
    const needed = Math.max(1, Math.ceil(blocks / BLOCKS_PER_PAGE));
    if (needed <= pages) return { blocks, free_list_pages: pages };
    pages = needed;
  }
}

function defaultBlockBytes(size_bytes: number): number {
  let block_bytes = BLOCK_MIN_BYTES;
  while (
    Math.floor((size_bytes - 2 * PAGE_BYTES) / block_bytes) > BLOCKS_PER_PAGE
  ) block_bytes *= 2;
  return block_bytes;
}

/** Share of the pool for the ring of recent operations, within these numbers. */
const RING_SHARE = 0.0005;
const RING_SLOTS_MIN = 64, RING_SLOTS_MAX = 65_536;

function ringSlots(size_bytes: number): number {
  const affordable = Math.floor(size_bytes * RING_SHARE / OPERATION_BYTES);
  const slots = Math.min(
    RING_SLOTS_MAX,
    Math.max(RING_SLOTS_MIN, affordable),
  );
  return 2 ** Math.floor(Math.log2(slots));
}

/** What the tables take that grow with the entries, at most. */
function entriesBytes(entries: number, policyBytes: PolicyBytes): number {
  const pins = SLOTS / 8, links = 4, buckets = 8; // buckets: at most 2 a record
  return entries * (RECORD_BYTES + pins + links + buckets) +
    policyBytes(entries);
}

function defaultMaxEntries(
  size_bytes: number,
  block_bytes: number,
  pages: number,
  blocks: number,
  policyBytes: PolicyBytes,
) {
  // Tables and rows of pins are aligned, and all together take whole blocks.
  const rounding = (8 + SLOTS) * TABLE_ALIGN_BYTES + block_bytes;
  const fixed = pages * PAGE_BYTES + SLOTS * SLOT_BYTES +
    ringSlots(size_bytes) * OPERATION_BYTES + rounding;
  const room = CONTROL_MAX_BYTES - (1 + pages) * PAGE_BYTES - block_bytes;
  const budget = size_bytes >= TABLES_FULL_SHARE_BYTES
    ? size_bytes * TABLES_SHARE
    : Math.min(
      TABLES_FULL_SHARE_BYTES * TABLES_SHARE,
      Math.max(
        size_bytes * TABLES_SMALL_SHARE,
        Math.min(size_bytes * TABLES_TINY_SHARE, TABLES_TINY_BYTES),
      ),
    );
  const entries_bytes = Math.min(budget, room) - fixed;
  let affordable = ENTRIES_MIN, tooMany = Math.max(ENTRIES_MIN, blocks) + 1;
  while (affordable + 1 < tooMany) {
    const entries = Math.floor((affordable + tooMany) / 2);
    if (entriesBytes(entries, policyBytes) <= entries_bytes) {
      affordable = entries;
    } else tooMany = entries;
  }
  return affordable;
}

/**
 * Works out the geometry of a pool.
 *
 * @throws {UsageError} if no pool can have these numbers.
 *
 * @example
 * ```ts
 * import { layOut } from "./geometry.ts";
 * import assert from "node:assert/strict";
 *
 * const geometry = layOut({
 *   size_bytes: 16 * 2 ** 30,
 *   policyBytes: (entries) => 64 * entries,
 * });
 * assert.equal(geometry.block_bytes, 512 * 1024);
 * assert.equal(geometry.blocks, 32767);
 * ```
 */
export function layOut(options: LayoutOptions): Geometry {
  const { size_bytes, policyBytes } = options;
  const refuse = (state: string, hint?: string) =>
    new UsageError(
      "lay out",
      `a pool of ${String(size_bytes)} bytes`,
      state,
      hint,
    );

  if (!Number.isSafeInteger(size_bytes) || size_bytes < 1) {
    throw refuse(
      "the size is not a positive whole number of bytes",
      "Ask for one such as 64M or 16G",
    );
  }
  const block_bytes = options.block_bytes ?? defaultBlockBytes(size_bytes);
  if (options.block_bytes === undefined && block_bytes > BLOCK_MAX_BYTES) {
    throw refuse("that is larger than any pool can be", "Ask for at most 32T");
  }
  if (
    !Number.isSafeInteger(block_bytes) || block_bytes < BLOCK_MIN_BYTES ||
    block_bytes > BLOCK_MAX_BYTES || powerOfTwoFrom(block_bytes) !== block_bytes
  ) {
    throw refuse(
      `its block size of ${block_bytes} is not a power of two from 4 KiB to 1 GiB`,
      "Ask for one such as 4K, 64K or 2M, or for none",
    );
  }
  const { blocks, free_list_pages } = countBlocks(size_bytes, block_bytes);
  if (blocks > BLOCKS_MAX) {
    throw refuse("it would have too many blocks", "Ask for larger blocks");
  }
  const max_entries = options.max_entries ??
    defaultMaxEntries(
      size_bytes,
      block_bytes,
      free_list_pages,
      blocks,
      policyBytes,
    );
  if (!Number.isSafeInteger(max_entries) || max_entries < 1) {
    throw refuse(
      "its entry limit is not a positive whole number",
      "Ask for one such as 1000, or for none",
    );
  }
  const geometry = placeTables({
    size_bytes,
    block_bytes,
    blocks,
    free_list_pages,
    max_entries,
  }, policyBytes);
  if (geometry.control_bytes > CONTROL_MAX_BYTES) {
    throw refuse(
      "its tables would pass 2 GiB",
      "Ask for fewer entries or larger blocks",
    );
  }
  if (geometry.system_blocks >= blocks) {
    throw refuse(
      "it is too small to hold its own tables and a block of data",
      "Ask for a larger pool, smaller blocks or fewer entries",
    );
  }
  return geometry;
}

function placeTables(
  base: Pick<
    Geometry,
    "size_bytes" | "block_bytes" | "blocks" | "free_list_pages" | "max_entries"
  >,
  policyBytes: PolicyBytes,
): Geometry {
  const { block_bytes, free_list_pages, max_entries } = base;
  const data_offset = PAGE_BYTES * (1 + free_list_pages);
  const buckets = powerOfTwoFrom(max_entries);
  const pin_row_bytes = align(Math.ceil(max_entries / 8), TABLE_ALIGN_BYTES);

  let at = data_offset;
  const table = (bytes: number) => {
    const offset = at;
    at = align(at + bytes, TABLE_ALIGN_BYTES);
    return offset;
  };
  const commit_offset = table(free_list_pages * PAGE_BYTES);
  const slots_offset = table(SLOTS * SLOT_BYTES);
  const pins_offset = table(SLOTS * pin_row_bytes);
  const buckets_offset = table(buckets * 4);
  const links_offset = table(max_entries * 4);
  const records_offset = table(max_entries * RECORD_BYTES);
  const policy_bytes = align(policyBytes(max_entries), TABLE_ALIGN_BYTES);
  const policy_offset = table(policy_bytes);
  const ring_slots = ringSlots(base.size_bytes);
  const ring_offset = table(ring_slots * OPERATION_BYTES);
  const system_blocks = Math.ceil((at - data_offset) / block_bytes);
  return {
    ...base,
    data_offset,
    system_blocks,
    buckets,
    slots: SLOTS,
    commit_offset,
    slots_offset,
    pins_offset,
    pin_row_bytes,
    buckets_offset,
    links_offset,
    records_offset,
    policy_offset,
    policy_bytes,
    ring_offset,
    ring_slots,
    control_bytes: data_offset + system_blocks * block_bytes,
  };
}

/** Blocks that entries can use. */
export function usableBlocks(geometry: Geometry): number {
  return geometry.blocks - geometry.system_blocks;
}

/** Byte offset of a block in the segment. */
export function blockOffset(geometry: Geometry, block: number): number {
  return geometry.data_offset + block * geometry.block_bytes;
}
