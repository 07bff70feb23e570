/**
 * The header: who a pool is, and how it is used.
 *
 * A header read from shared memory is bytes until {@linkcode readIdentity} has
 * checked magic, then version, then checksum, then that its geometry is the one
 * that follows from its size and the room for its policy's state. That this is
 * the room that the policy takes is seen to by whoever lets the policy work.
 *
 * @module
 */
import type { Platform } from "../ffi/platform.ts";
import type { Control } from "./control.ts";
import { CorruptError } from "./errors.ts";
import { type Geometry, layOut } from "./geometry.ts";
import { fromHex, toHex } from "./hex.ts";
import {
  HEADER,
  IDENTITY,
  IDENTITY_END,
  MAGIC,
  NAMESPACE_MAX_BYTES,
  PAGE_BYTES,
  POLICY_IDS,
  SLOTS,
  TIER_IDS,
  VERSION,
} from "./layout.ts";
import type { PolicyName } from "./policy/mod.ts";

/** Where a pool's bytes live. */
export type Tier = keyof typeof TIER_IDS;

/** The part of the header that never changes. */
export interface Identity {
  /** 32 hexadecimal digits. */
  readonly uuid: string;
  readonly geometry: Geometry;
  readonly policy: PolicyName;
  readonly tier: Tier;
  /** Fill, in percent, that an eviction under pressure goes down to. */
  readonly low_percent: number;
  readonly namespace: string;
  /** Milliseconds since 1970. */
  readonly created_at: number;
}

type Crc = Pick<Platform, "crc32">;

/** A fresh uuid for a pool. */
export function newUuid(platform: Pick<Platform, "randomBytes">): string {
  return toHex(platform.randomBytes(16));
}

const GEOMETRY_U32 = [
  ["block_bytes", IDENTITY.block_bytes],
  ["blocks", IDENTITY.blocks],
  ["free_list_pages", IDENTITY.free_list_pages],
  ["system_blocks", IDENTITY.system_blocks],
  ["max_entries", IDENTITY.max_entries],
  ["buckets", IDENTITY.buckets],
  ["slots", IDENTITY.slots],
  ["ring_slots", IDENTITY.ring_slots],
] as const;

const GEOMETRY_U64 = [
  ["size_bytes", IDENTITY.size_bytes],
  ["data_offset", IDENTITY.data_offset],
  ["commit_offset", IDENTITY.commit_offset],
  ["slots_offset", IDENTITY.slots_offset],
  ["pins_offset", IDENTITY.pins_offset],
  ["buckets_offset", IDENTITY.buckets_offset],
  ["links_offset", IDENTITY.links_offset],
  ["records_offset", IDENTITY.records_offset],
  ["policy_offset", IDENTITY.policy_offset],
  ["ring_offset", IDENTITY.ring_offset],
] as const;

/** Writes the part of the header that never changes, checksum last. */
export function writeIdentity(
  control: Control,
  identity: Identity,
  platform: Crc,
): void {
  const { u8, u32, f64 } = control;
  u8.set(MAGIC, IDENTITY.magic);
  u32[IDENTITY.version >> 2] = VERSION;
  u8.set(fromHex(identity.uuid), IDENTITY.uuid);
  for (const [name, at] of GEOMETRY_U32) u32[at >> 2] = identity.geometry[name];
  for (const [name, at] of GEOMETRY_U64) {
    control.setU64(at, identity.geometry[name]);
  }
  u32[IDENTITY.policy >> 2] = POLICY_IDS[identity.policy];
  u32[IDENTITY.tier >> 2] = TIER_IDS[identity.tier];
  u32[IDENTITY.low_percent >> 2] = identity.low_percent;
  f64[IDENTITY.created_at >> 3] = identity.created_at;
  const namespace = new TextEncoder().encode(identity.namespace);
  u32[IDENTITY.namespace_bytes >> 2] = namespace.length;
  u8.set(namespace, IDENTITY.namespace);
  u32[IDENTITY.crc >> 2] = identityCrc(u8, platform);
}

/** Whether the part of the header that never changes has its checksum. */
function isIdentityWhole(page: Control, platform: Crc): boolean {
  return page.u32[IDENTITY.crc >> 2] === identityCrc(page.u8, platform);
}

/** Whether a segment is whole and as long as it was made, by whatever build. */
export function isWellMade(
  page: Control,
  size_bytes: number,
  platform: Crc,
): boolean {
  return isIdentityWhole(page, platform) &&
    page.getU64(IDENTITY.size_bytes) === size_bytes;
}

function identityCrc(u8: Uint8Array, platform: Crc): number {
  return platform.crc32(u8.subarray(IDENTITY.uuid, IDENTITY_END));
}

function idName<Name extends string>(
  ids: Readonly<Record<Name, number>>,
  id: number,
): Name | undefined {
  return (Object.keys(ids) as Name[]).find((name) => ids[name] === id);
}

/** The format version that a header names; `undefined` if it is none of ours. */
export function claimedVersion({ u8, u32 }: Control): number | undefined {
  if (MAGIC.some((byte, at) => u8[at] !== byte)) return undefined;
  return u32[IDENTITY.version >> 2];
}

/**
 * Reads and checks the header of a segment.
 *
 * @param page the first 4 KiB.
 * @param size_bytes what the kernel says the segment's size is.
 * @throws {CorruptError} if it is not a whole pool of this version.
 */
export function readIdentity(
  page: Control,
  size_bytes: number,
  platform: Crc,
  pool: string,
): Identity {
  const refuse = (state: string, hint?: string) => damaged(pool, state, hint);
  const { u32, f64 } = page;
  const version = claimedVersion(page);
  if (size_bytes < PAGE_BYTES || version === undefined) {
    throw refuse("it is not a cortex pool", "Remove it by hand");
  }
  if (version !== VERSION) {
    throw refuse(
      `it has format version ${version}, this cortex speaks version ${VERSION}`,
      version < VERSION
        ? "Persist it with the cortex that made it, destroy it, and restore it with this one"
        : "Use the cortex that made it",
    );
  }
  if (!isIdentityWhole(page, platform)) {
    throw refuse("its header is damaged (checksum)");
  }
  const policy = idName(POLICY_IDS, u32[IDENTITY.policy >> 2]!);
  const geometry = readGeometry(page, size_bytes);
  const tier = idName(TIER_IDS, u32[IDENTITY.tier >> 2]!);
  const low_percent = u32[IDENTITY.low_percent >> 2]!;
  const namespace = readNamespace(page);
  if (
    !geometry || !policy || !tier || namespace === undefined ||
    low_percent > 100
  ) {
    throw damagedGeometry(pool);
  }
  return {
    uuid: toHex(page.bytes(IDENTITY.uuid, 16)),
    geometry,
    policy,
    tier,
    low_percent,
    namespace,
    created_at: f64[IDENTITY.created_at >> 3]!,
  };
}

function damaged(
  pool: string,
  state: string,
  hint = "Destroy it, and restore its snapshot",
): CorruptError {
  return new CorruptError("open", pool, state, hint);
}

/** What to say where a header's checksum holds, and its numbers do not. */
export function damagedGeometry(pool: string): CorruptError {
  return damaged(pool, "its header is damaged (geometry)");
}

function readNamespace(page: Control): string | undefined {
  const length = page.u32[IDENTITY.namespace_bytes >> 2]!;
  if (length > NAMESPACE_MAX_BYTES) return undefined;
  if (length === 0) return "";
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
      .decode(page.bytes(IDENTITY.namespace, length));
  } catch {
    return undefined;
  }
}

/** The geometry, if it is the one that its own numbers call for. */
function readGeometry(
  page: Control,
  size_bytes: number,
): Geometry | undefined {
  if (page.u32[IDENTITY.slots >> 2] !== SLOTS) return undefined;
  if (page.getU64(IDENTITY.size_bytes) !== size_bytes) return undefined;
  const policy_bytes = page.getU64(IDENTITY.ring_offset) -
    page.getU64(IDENTITY.policy_offset);
  if (policy_bytes < 0) return undefined;
  let planned: Geometry;
  try {
    planned = layOut({
      size_bytes,
      block_bytes: page.u32[IDENTITY.block_bytes >> 2]!,
      max_entries: page.u32[IDENTITY.max_entries >> 2]!,
      policyBytes: () => policy_bytes,
    });
  } catch {
    return undefined;
  }
  const same =
    GEOMETRY_U32.every(([name, at]) => page.u32[at >> 2] === planned[name]) &&
    GEOMETRY_U64.every(([name, at]) => page.getU64(at) === planned[name]);
  return same ? planned : undefined;
}

type WordName =
  | "state"
  | "dirty"
  | "lock_holder"
  | "free_record"
  | "doomed_record"
  | "entries"
  | "reserved"
  | "doomed"
  | "used_blocks"
  | "committed_blocks"
  | "slot_limit"
  | "loading"
  | "epoch"
  | "recording"
  | "search_page";
type StatName =
  | "modified_at"
  | "last_persist_at"
  | "next_sequence"
  | "hits"
  | "misses"
  | "puts"
  | "evictions"
  | "deletes"
  | "recoveries";

/** The part of the header that changes. */
export class Header {
  readonly #u8: Uint8Array;
  readonly #u32: Uint32Array;
  readonly #f64: Float64Array;

  constructor(control: Control) {
    this.#u8 = control.u8;
    this.#u32 = control.u32;
    this.#f64 = control.f64;
  }

  /** A plain load: these words change under the lock, which orders them. */
  get(name: WordName): number {
    return this.#u32[HEADER[name] >> 2]!;
  }

  /** A plain store, of what a rebuild works out again after a change cut short. */
  set(name: WordName, value: number): void {
    this.#u32[HEADER[name] >> 2] = value;
  }

  /** The store of a word that others act on: they see all that was before it. */
  publish(name: WordName, value: number): void {
    Atomics.store(this.#u32, HEADER[name] >> 2, value);
  }

  /** The host's run in which a pool on disk was opened last, as hexadecimal digits. */
  get bootId(): string {
    return toHex(this.#u8.subarray(HEADER.boot_id, HEADER.epoch));
  }

  setBootId(bootId: string | undefined): void {
    if (bootId !== undefined) this.#u8.set(fromHex(bootId), HEADER.boot_id);
  }

  /** For a count under the lock; it never goes below 0, which recovery relies on. */
  add(name: WordName, delta: number): void {
    this.set(name, Math.max(0, this.get(name) + delta));
  }

  stat(name: StatName): number {
    const value = this.#f64[HEADER[name] >> 3]!;
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  }

  setStat(name: StatName, value: number): void {
    this.#f64[HEADER[name] >> 3] = value;
  }

  addStat(name: StatName, delta: number): void {
    this.setStat(name, this.stat(name) + delta);
  }
}
