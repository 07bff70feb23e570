/**
 * Format v3: every byte of a pool and of a snapshot. This is the only file with
 * numeric offsets; `docs/FORMAT.md` says the same in prose, and changes with it.
 *
 * Little-endian throughout. Sizes and offsets are u64. Times, ticks and
 * statistics are IEEE-754 doubles that hold integers, because one aligned
 * store publishes a double whole, and it is exact up to 2^53: at a million
 * events a second that is 285 years, so nothing that orders anything wraps.
 *
 * @module
 */

/** Bytes of a field's type; `bytes:N` is a byte string. */
type FieldType = "u32" | "i32" | "u64" | "f64" | `bytes:${number}`;

const WIDTHS: Readonly<Record<string, number>> = {
  u32: 4,
  i32: 4,
  u64: 8,
  f64: 8,
};

/**
 * Lays fields one behind the other from `start`, each offset derived from the
 * one before, and written over the type that it had: no start of a program waits
 * for a second object of every struct. Throws at load if one is not aligned to
 * its width, or if the end is not `end`.
 */
function struct<Name extends string>(
  start: number,
  end: number,
  fields: Record<Name, FieldType>,
): Readonly<Record<Name, number>> {
  const offsets = fields as Record<Name, unknown> as Record<Name, number>;
  let at = start;
  for (const name of Object.keys(fields) as Name[]) {
    const type = fields[name];
    const word = WIDTHS[type];
    if (word !== undefined && at % word !== 0) {
      throw new Error(`layout: ${name} at ${at} is not aligned to ${word}`);
    }
    offsets[name] = at;
    at += word ?? Number(type.slice("bytes:".length));
  }
  if (at !== end) throw new Error(`layout: ends at ${at}, not at ${end}`);
  return offsets;
}

/** `CORTEXKV` */
export const MAGIC = [0x43, 0x4f, 0x52, 0x54, 0x45, 0x58, 0x4b, 0x56] as const;
export const VERSION = 3;

/** Header, and each page of the free list. */
export const PAGE_BYTES = 4096;
/** Blocks that one page of the free list maps. */
export const BLOCKS_PER_PAGE = PAGE_BYTES * 8;
export const BLOCK_MIN_BYTES = 4096;
export const BLOCK_MAX_BYTES = 2 ** 30;

/** Block numbers are u32, and bit operations on them are of 32 bits. */
export const BLOCKS_MAX = 2 ** 31;
/** Header and system blocks together: one window in every runtime. */
export const CONTROL_MAX_BYTES = 2 ** 31;
/** Processes attached at once. */
export const SLOTS = 128;
export const KEY_MAX_BYTES = 1024;
export const META_MAX_BYTES = 4096;
export const NAMESPACE_MAX_BYTES = 256;
/** Runs of blocks that one value may be made of. */
export const EXTENTS_MAX = 8;
/** Alignment of every table in the system blocks. */
export const TABLE_ALIGN_BYTES = 64;

/** The part of the header that never changes; its CRC covers what follows it. */
export const IDENTITY = struct(0, 512, {
  magic: "bytes:8",
  version: "u32",
  crc: "u32", // of [uuid, end of this part)
  uuid: "bytes:16",
  size_bytes: "u64",
  data_offset: "u64",
  block_bytes: "u32",
  blocks: "u32",
  free_list_pages: "u32",
  system_blocks: "u32",
  max_entries: "u32",
  buckets: "u32",
  slots: "u32",
  policy: "u32",
  tier: "u32",
  low_percent: "u32",
  created_at: "f64", // ms since 1970
  commit_offset: "u64",
  slots_offset: "u64",
  pins_offset: "u64",
  buckets_offset: "u64",
  links_offset: "u64",
  records_offset: "u64",
  policy_offset: "u64",
  ring_offset: "u64",
  ring_slots: "u32",
  namespace_bytes: "u32",
  namespace: "bytes:256",
  unused: "bytes:88",
});
export const IDENTITY_END = 512;

/** The part of the header that changes under the lock. */
export const HEADER = struct(512, 1024, {
  state: "u32", // PoolState
  dirty: "u32", // 1 while a change is being made
  lock_holder: "u32", // pid of the last to take the lock
  free_record: "u32", // first of the chain of free records
  doomed_record: "u32", // first of the chain of doomed records
  entries: "u32", // sealed
  reserved: "u32",
  doomed: "u32",
  used_blocks: "u32", // system blocks not counted
  committed_blocks: "u32", // blocks that the host has backed with memory
  slot_limit: "u32", // slots from here on were never used
  loading: "u32", // 1 while a restore fills the pool
  modified_at: "f64", // ms since 1970
  last_persist_at: "f64", // ms since 1970, or 0
  next_sequence: "f64", // of the next entry
  hits: "f64", // of handles that have gone; each live one has its own
  misses: "f64",
  puts: "f64",
  evictions: "f64",
  deletes: "f64",
  recoveries: "f64",
  recording: "u32", // 1 while operations are noted in the ring
  search_page: "u32", // page of the free list where to look for room first
  boot_id: "bytes:16", // of the host's run in which it was opened last; tier disk
  epoch: "u32", // of that run: a number made of its boot_id; tier disk
  epoch_unused: "u32",
  unused: "bytes:360",
});

/**
 * The words that lock-free readers touch, each on a cache line of its own.
 * They are followed by zeros to the end of the header's page.
 */
export const SHARED = struct(1024, 1216, {
  tick_low: "u32", // counts accesses
  tick_halves: "u32", // how often its top bit has flipped
  tick_unused: "bytes:56",
  index_sequence: "u32", // odd while an entry is being taken out of the index
  index_unused: "bytes:60",
  ring_cursor: "u32", // operations noted in the ring, modulo 2^32
  ring_unused: "bytes:60",
});

export const PoolState = { BUILDING: 0, LIVE: 1, DESTROYED: 2 } as const;

/** A row of the table of attached processes. */
export const SLOT = struct(0, 64, {
  state: "u32", // SlotState
  pid: "u32",
  incarnation: "u32", // goes up whenever the slot is taken
  reserved: "u32", // reservations that its owner has open
  attached_at: "f64", // ms since 1970
  hits: "f64",
  misses: "f64",
  unused: "bytes:24",
});
export const SLOT_BYTES = 64;
export const SlotState = { FREE: 0, USED: 1 } as const;

/**
 * A row of the entry table. The record CRC covers all from the field behind it
 * to the end; what stands before it changes while the entry lives.
 */
export const RECORD = struct(0, 512, {
  state: "u32", // EntryState
  generation: "u32", // goes up whenever the record's entry is doomed
  last_access_at: "f64", // ms since 1970
  access_tick: "f64",
  access_count: "u32", // stops at its largest value
  owner_slot: "u32", // of a reservation
  owner_incarnation: "u32",
  verified_epoch: "u32", // in which the value was seen to have its checksum
  expires_at: "f64", // ms since 1970, or 0: never
  crc: "u32",
  value_crc: "u32",
  text_crc: "u32", // of spilled text, else 0
  flags: "u32", // RecordFlag
  key_hash: "bytes:16",
  parent_hash: "bytes:16", // zeros: no parent
  namespace_hash: "bytes:8",
  size_bytes: "u64",
  created_at: "f64", // ms since 1970
  sequence: "f64", // orders entries by their making
  tokens: "u32",
  priority: "i32",
  extent_count: "u32",
  key_bytes: "u32",
  parent_bytes: "u32",
  meta_bytes: "u32",
  extents: "bytes:64", // EXTENTS_MAX pairs of u32: first block, blocks
  text: "bytes:296", // key, parent's key, metadata: if they fit
});
export const RECORD_BYTES = 512;
export const RECORD_TEXT_BYTES = RECORD_BYTES - RECORD.text;
/** Spilled text lies behind the value, from the next multiple of this. */
export const SPILL_ALIGN_BYTES = 8;

export const EntryState = {
  FREE: 0,
  RESERVED: 1,
  SEALED: 2,
  DOOMED: 3,
} as const;

/** A sealed entry has VALUE_CRC, or UNSUMMED: its checksum is left to persist. */
export const RecordFlag = { SPILLED: 1, VALUE_CRC: 2, UNSUMMED: 4 } as const;

/** A slot of the ring of recent operations. */
export const OPERATION = struct(0, 40, {
  stamp: "u32", // the cursor when it was noted, plus one; written last
  kind: "u32", // OperationKind
  key: "bytes:8", // first 64 bits of the key's hash
  parent: "bytes:8", // of the parent's key; zeros: none
  size_bytes: "f64",
  at: "f64", // ms since 1970
});
export const OPERATION_BYTES = 40;
export const OperationKind = { HIT: 1, MISS: 2, PUT: 3 } as const;

/** Chains hold an entry's number plus one, so that zeroed memory is an empty chain. */
export const NONE = 0;

/** Policies and tiers, as the header numbers them. Numbers are never reused. */
export const POLICY_IDS = {
  lru: 1,
  lfu: 2,
  fifo: 3,
  priority: 4,
  sieve: 5,
  s3fifo: 6,
  arc: 7,
  prefix: 8,
} as const;
export const TIER_IDS = { cpu: 1, disk: 2 } as const;

// ---------------------------------------------------------------- snapshots

/** `CORTEXSN` */
export const SNAPSHOT_MAGIC = [
  0x43,
  0x4f,
  0x52,
  0x54,
  0x45,
  0x58,
  0x53,
  0x4e,
] as const;
/** What is written, and the versions that are read. */
export const SNAPSHOT_VERSION = 2;
export const SNAPSHOT_VERSION_FIRST = 1;

/** Head of a snapshot's data file. */
export const SNAPSHOT_HEAD = struct(0, 64, {
  magic: "bytes:8",
  version: "u32",
  crc: "u32", // of [nonce, end)
  nonce: "bytes:16", // random: marks this file's records
  created_at: "f64",
  unused: "bytes:24",
});
export const SNAPSHOT_HEAD_BYTES = 64;

/**
 * Head of one record; its text follows, then zeros to a multiple of 8. In version
 * 1 the last three fields are zeros, and the value follows the text.
 */
export const SNAPSHOT_RECORD = struct(0, 112, {
  nonce: "bytes:16",
  crc: "u32", // of [value_crc, end of the text)
  value_crc: "u32", // of the value
  size_bytes: "u64",
  created_at: "f64",
  last_access_at: "f64",
  access_tick: "f64",
  sequence: "f64",
  access_count: "u32",
  tokens: "u32",
  priority: "i32",
  key_bytes: "u32",
  parent_bytes: "u32",
  meta_bytes: "u32",
  namespace_hash: "bytes:8",
  value_position: "u64", // in the file
  unused: "u32",
  codec: "u32", // SnapshotCodec
});
export const SNAPSHOT_RECORD_BYTES = 112;
export const SNAPSHOT_ALIGN_BYTES = 8;
/** What a value is stored as. */
export const SnapshotCodec = { PLAIN: 0, ZSTD: 1 } as const;
/** Files are made of whole pages, and a large value begins on one. */
export const SNAPSHOT_PAGE_BYTES = 4096;
/** A value of this size begins on a page of its own. */
export const SNAPSHOT_LARGE_BYTES = 32 * 1024;

/** A line of a generation's index: an entry that it has. */
export const SNAPSHOT_LINE = struct(0, 88, {
  position: "u64", // of the record's head
  value_position: "u64",
  size_bytes: "u64",
  sequence: "f64",
  created_at: "f64",
  last_access_at: "f64",
  access_tick: "f64",
  expires_at: "f64", // ms since 1970, or 0: never
  value_crc: "u32",
  priority: "i32",
  access_count: "u32",
  file: "u32", // number of its file in the manifest
  key_check: "u32", // first word of the key's hash
  parent_check: "u32", // of the parent's key, or 0
});
export const SNAPSHOT_LINE_BYTES = 88;

/** A compressed value is pieces: each is this head, and a frame of zstd. */
export const SNAPSHOT_PIECE = struct(0, 16, {
  stored_bytes: "u32", // of the frame
  size_bytes: "u32", // of what is in it
  crc: "u32", // of the frame
  unused: "u32",
});
export const SNAPSHOT_PIECE_BYTES = 16;
