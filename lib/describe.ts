/**
 * What a pool and its entries look like from outside.
 *
 * @module
 */
import type { Platform } from "../ffi/platform.ts";
import { Control } from "./control.ts";
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import { onHost } from "./errors.ts";
import { usableBlocks } from "./geometry.ts";
import { Header, type Tier } from "./header.ts";
import { VERSION } from "./layout.ts";
import { isExpired, readSealed } from "./lookup.ts";
import type { PolicyName } from "./policy/mod.ts";
import { OperationRing } from "./ring.ts";
import { openSegment, showPool } from "./segment.ts";
import { Slots } from "./slots.ts";

/** A pool, seen from outside. Times are milliseconds since 1970. */
export interface PoolStatus {
  readonly name: string;
  readonly uuid: string;
  /** Format version. */
  readonly version: number;
  readonly tier: Tier;
  /** The file of a pool on disk. */
  readonly file: string | null;
  readonly policy: PolicyName;
  /** Fill, in percent, that evicting under pressure goes down to. */
  readonly low_percent: number;
  /** Whether operations are noted for `record`. */
  readonly recording: boolean;
  readonly namespace: string;
  /** Of the whole segment. */
  readonly size_bytes: number;
  /** Room for entries: `used_bytes + free_bytes`. */
  readonly data_bytes: number;
  /** Blocks that entries take, in bytes. */
  readonly used_bytes: number;
  readonly free_bytes: number;
  /** Memory that the host has given so far, as the kernel counts it. */
  readonly committed_bytes: number;
  readonly block_size_bytes: number;
  /** Room for entries, in blocks. */
  readonly blocks: number;
  readonly free_blocks: number;
  /** Blocks that the pool's own tables take. */
  readonly system_blocks: number;
  readonly entries: number;
  readonly max_entries: number;
  /** Handles that are attached and alive. */
  readonly attached: number;
  readonly hits: number;
  readonly misses: number;
  /** From 0 to 1; `null` before the first look-up. */
  readonly hit_rate: number | null;
  readonly puts: number;
  readonly evictions: number;
  readonly deletes: number;
  /** Whether a restore fills it, or was killed before its end. */
  readonly loading: boolean;
  /** Times that a process died in the midst of a change and another set it right. */
  readonly recoveries: number;
  readonly created_at: number;
  readonly modified_at: number;
  /** `null` if it never was. */
  readonly last_persist_at: number | null;
}

/** An entry, seen from outside. Times are milliseconds since 1970. */
export interface EntryInfo {
  readonly key: string;
  readonly size_bytes: number;
  readonly tokens: number;
  readonly priority: number;
  readonly parent: string | null;
  readonly created_at: number;
  readonly last_access_at: number;
  readonly access_count: number;
  /** Milliseconds since 1970; not there if it never does. */
  readonly expires_at?: number;
  readonly meta: unknown;
}

/**
 * Looks at a pool and leaves it as it is: what `Pool.open` with `observe` and
 * `status` would say, without the parts of a pool that change one.
 */
export function observePool(platform: Platform, name: string): PoolStatus {
  const segment = openSegment(platform, name);
  const { fd, mapping, identity: { geometry } } = segment;
  try {
    // Header and slots lie before the pins. A view of all the tables is so large
    // that some runtimes would collect garbage for it.
    const control = new Control(mapping.window(0, geometry.pins_offset));
    const header = new Header(control);
    return describePool({
      ...segment,
      platform,
      geometry,
      header,
      slots: new Slots(platform, fd, control, geometry, header),
      ring: new OperationRing(control, geometry),
      attachment: undefined,
    });
  } finally {
    mapping.close();
    platform.close(fd);
  }
}

/** What of a pool its status is told from. */
type Observed = Pick<
  Core,
  | "platform"
  | "name"
  | "fd"
  | "place"
  | "identity"
  | "geometry"
  | "header"
  | "slots"
  | "ring"
  | "attachment"
>;

/** A pool's status, as a handle sees it. */
export function describePool(core: Observed): PoolStatus {
  const { identity, geometry, header } = core;
  const { block_bytes } = geometry;
  const blocks = usableBlocks(geometry);
  const used_blocks = Math.min(blocks, header.get("used_blocks"));
  const { attached, hits, misses, committed_bytes } = onHost(
    "read",
    showPool(core.name),
    () => ({
      ...countSlots(core),
      committed_bytes: core.platform.stat(core.fd).allocated_bytes,
    }),
  );
  const last_persist_at = header.stat("last_persist_at");
  return {
    name: core.name,
    uuid: identity.uuid,
    version: VERSION,
    tier: identity.tier,
    file: core.place.file ?? null,
    policy: identity.policy,
    low_percent: identity.low_percent,
    recording: core.ring.isOn,
    namespace: identity.namespace,
    size_bytes: geometry.size_bytes,
    data_bytes: blocks * block_bytes,
    used_bytes: used_blocks * block_bytes,
    free_bytes: (blocks - used_blocks) * block_bytes,
    committed_bytes,
    block_size_bytes: block_bytes,
    blocks,
    free_blocks: blocks - used_blocks,
    system_blocks: geometry.system_blocks,
    entries: header.get("entries"),
    max_entries: geometry.max_entries,
    attached,
    hits,
    misses,
    hit_rate: hits + misses === 0 ? null : hits / (hits + misses),
    puts: header.stat("puts"),
    evictions: header.stat("evictions"),
    deletes: header.stat("deletes"),
    loading: header.get("loading") !== 0,
    recoveries: header.stat("recoveries"),
    created_at: identity.created_at,
    modified_at: header.stat("modified_at"),
    last_persist_at: last_persist_at === 0 ? null : last_persist_at,
  };
}

/** Live handles, and look-ups of those that have gone and those that live. */
function countSlots(core: Observed) {
  const { slots, header, attachment } = core;
  let attached = 0;
  let hits = header.stat("hits"), misses = header.stat("misses");
  for (let slot = 0; slot < slots.limit; slot++) {
    if (!slots.isUsed(slot)) continue;
    hits += slots.real(slot, "hits");
    misses += slots.real(slot, "misses");
    if (slot === attachment?.slot || slots.isHeldElsewhere(slot)) attached++;
  }
  return { attached, hits, misses };
}

/** A sealed entry, or `undefined` if the record holds none just now. */
export function describeEntry(
  core: Core,
  entry: EntryNumber,
): EntryInfo | undefined {
  const { table, contents } = core;
  return readSealed(core, entry, () => {
    const text = contents.read(entry);
    if (!text || isExpired(core, entry)) return undefined;
    const expires_at = table.real(entry, "expires_at");
    return {
      ...(expires_at > 0 ? { expires_at } : {}),
      key: text.key,
      size_bytes: table.size_bytes(entry),
      tokens: table.word(entry, "tokens"),
      priority: table.priority(entry),
      parent: text.parent ?? null,
      created_at: table.real(entry, "created_at"),
      last_access_at: table.real(entry, "last_access_at"),
      access_count: table.word(entry, "access_count"),
      meta: parseMeta(text.meta),
    };
  });
}

/** Metadata; `null` for none, and for what a torn read made unreadable. */
function parseMeta(text: string | undefined): unknown {
  if (text === undefined) return null;
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
