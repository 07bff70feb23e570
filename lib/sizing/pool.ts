/**
 * The pool that holds so many sequences of a model.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { usableBlocks } from "../geometry.ts";
import { planGeometry } from "../pool_geometry.ts";
import { BLOCK_MAX_BYTES, BLOCK_MIN_BYTES } from "../layout.ts";
import { bytesPerSequence, bytesPerToken, type ModelCache } from "./model.ts";

/** What the pool is for. */
export interface Demand {
  readonly context_tokens: number;
  readonly sequences: number;
  readonly dtype: string;
  /** Tokens an entry. */
  readonly block_tokens: number;
  /** Pools like this that the host is to have: one a part of the model. */
  readonly pools?: number | undefined;
}

/** What to create. */
export interface PoolPlan {
  readonly bytes_per_token: number;
  readonly sequence_bytes: number;
  readonly total_bytes: number;
  readonly entry_bytes: number;
  readonly entries: number;
  readonly block_size_bytes: number;
  /** Of the segment, tables and all. */
  readonly size_bytes: number;
  /** What /dev/shm has to hold of all pools, with a little to spare. */
  readonly shm_bytes: number;
}

/** Of an entry's blocks, that may be left empty. */
const WASTE_MAX = 0.02;
/** Entries beyond those that are asked for, so that none is evicted for a record. */
const ENTRIES_SPARE = 1.05;
/** What /dev/shm should have beside the pool. */
const SHM_SPARE = 1.05;
/** Of the smallest pool: the tables and what an entry leaves empty stay small. */
const BLOCKS_MIN = 512;
const MIB = 2 ** 20, GIB = 2 ** 30;
/** From here on sizes are whole GiB. */
const LARGE_BYTES = 64 * GIB;

/**
 * @throws {UsageError} if no pool can be so large.
 */
export function planPool(model: ModelCache, demand: Demand): PoolPlan {
  const { context_tokens, sequences, dtype, block_tokens, pools = 1 } = demand;
  const bytes_per_token = bytesPerToken(model, dtype);
  const sequence_bytes = bytesPerSequence(model, dtype, context_tokens);
  if (sequence_bytes === 0) {
    throw new UsageError(
      "plan for",
      "that model",
      "it keeps no keys and values",
      "Give the config.json of a transformer, as Hugging Face has it",
    );
  }
  const entriesPerSequence = Math.ceil(context_tokens / block_tokens);
  const entry_bytes = Math.ceil(sequence_bytes / entriesPerSequence);
  const entries = entriesPerSequence * sequences;
  const block_size_bytes = blockSize(entry_bytes, entries);
  const blocks = Math.ceil(entry_bytes / block_size_bytes) * entries;
  const size_bytes = sizeFor(blocks, block_size_bytes, entries);
  return {
    bytes_per_token,
    sequence_bytes,
    total_bytes: sequence_bytes * sequences,
    entry_bytes,
    entries,
    block_size_bytes,
    size_bytes,
    shm_bytes: wholeUnits(pools * size_bytes * SHM_SPARE),
  };
}

/** The largest block that leaves hardly any of an entry, or of the pool, empty. */
function blockSize(entry_bytes: number, entries: number): number {
  const most_bytes = Math.min(
    BLOCK_MAX_BYTES,
    entry_bytes * entries / BLOCKS_MIN,
  );
  let block_bytes = BLOCK_MIN_BYTES;
  for (let tried = block_bytes; tried <= most_bytes; tried *= 2) {
    const taken = Math.ceil(entry_bytes / tried) * tried;
    if (1 - entry_bytes / taken <= WASTE_MAX) block_bytes = tried;
  }
  return block_bytes;
}

/** Rounds up to whole MiB, or GiB if it is much. */
export function wholeUnits(bytes: number): number {
  const unit = bytes < LARGE_BYTES ? MIB : GIB;
  return Math.ceil(bytes / unit) * unit;
}

/** The smallest pool of whole units that has so many blocks for entries. */
function sizeFor(blocks: number, block_bytes: number, entries: number): number {
  const max_entries = recordsFor(entries);
  let size_bytes = blocks * block_bytes;
  for (;;) {
    size_bytes = wholeUnits(size_bytes);
    const geometry = planGeometry({ size_bytes, block_bytes, max_entries });
    const missing = blocks - usableBlocks(geometry);
    if (missing <= 0) return size_bytes;
    size_bytes += missing * block_bytes;
  }
}

/** Records to ask for. */
export function recordsFor(entries: number): number {
  return Math.ceil(entries * ENTRIES_SPARE);
}
