/**
 * What is asked of a put, checked and made ready, before any lock is taken.
 *
 * @module
 */
import type { Core } from "./core.ts";
import { type EntryFields, NO_PARENT } from "./entry_fields.ts";
import { UsageError } from "./errors.ts";
import { META_MAX_BYTES } from "./layout.ts";
import { nextTick } from "./tick.ts";

/** What a caller may say of an entry. */
export interface PutOptions {
  /** Key of the entry that this one extends. */
  readonly parent?: string | undefined;
  /** Tokens that the value covers: 0 to 2^32 - 1. */
  readonly tokens?: number | undefined;
  /** From -2^31 to 2^31 - 1; higher stays longer, under every policy. */
  readonly priority?: number | undefined;
  /** Milliseconds until it expires: a miss from then on, and the first to go. */
  readonly ttl_ms?: number | undefined;
  /** Any JSON value, up to 4 KiB as text. */
  readonly meta?: unknown;
  /**
   * When the value's checksum is worked out: with the `"put"`; or, which puts
   * faster, by `"persist"`, for the snapshot alone: nothing can tell that the
   * value in the pool is damaged. On tier disk always with the put: a crash of
   * the host must show.
   */
  readonly checksum?: "put" | "persist" | undefined;
}

/** Counts and times of an entry that is put back, as from a snapshot. */
export type History = Pick<
  EntryFields,
  | "created_at"
  | "last_access_at"
  | "access_tick"
  | "access_count"
  | "sequence"
  | "expires_at"
>;

/** An entry about to be; holds until the handle's next one. */
export interface Plan {
  readonly key: string;
  readonly fields: (sequence: number) => EntryFields;
  readonly text: Uint8Array;
  readonly blocks: number;
  /** What is put back makes no room for itself: what is there is worth more. */
  readonly mayEvict: boolean;
  /** Whether the value's checksum is worked out with the put. */
  readonly isSummed: boolean;
}

const encoder = new TextEncoder();
const NOTHING = new Uint8Array();

function wholeNumber(
  value: number | undefined,
  what: string,
  min: number,
  max: number,
): number {
  if (value === undefined) return 0;
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw new UsageError(
    "put",
    `${what} ${value}`,
    `it is not a whole number from ${min} to ${max}`,
    "Give one in that range, or leave it out",
  );
}

const TTL_MAX_MS = 2 ** 52;

function positive(ttl_ms: number): number {
  if (ttl_ms > 0 && ttl_ms <= TTL_MAX_MS) return Math.ceil(ttl_ms);
  throw new UsageError(
    "put",
    `a time to live of ${ttl_ms} ms`,
    "it is not a number above 0",
    "Give one above 0, or leave it out",
  );
}

function sumsAtOnce(core: Core, checksum: PutOptions["checksum"]): boolean {
  if (checksum === undefined || checksum === "put") return true;
  if (checksum === "persist") return core.identity.tier === "disk";
  throw new UsageError(
    "put",
    `a checksum at ${JSON.stringify(checksum)}`,
    "there is no such moment",
    'Give "put" or "persist", or leave it out',
  );
}

function encodeMeta(meta: unknown): Uint8Array {
  if (meta === undefined) return NOTHING;
  let text: string | undefined;
  try {
    text = JSON.stringify(meta);
  } catch {
    // Said below.
  }
  if (text === undefined) {
    throw new UsageError(
      "put",
      "the metadata",
      "it cannot be told in JSON",
      "Give plain objects, lists, text and numbers",
    );
  }
  const bytes = encoder.encode(text);
  if (bytes.length <= META_MAX_BYTES) return bytes;
  throw new UsageError(
    "put",
    "the metadata",
    `it is longer than ${META_MAX_BYTES} bytes as JSON`,
    "Keep it in the value, or elsewhere under the key",
  );
}

/**
 * Checks what is asked of a put.
 *
 * @throws {UsageError} if no pool can hold such an entry.
 */
export function planEntry(
  core: Core,
  key: string,
  size_bytes: number,
  options: PutOptions,
  history: History | undefined,
): Plan {
  const { planned, platform, table } = core;
  wholeNumber(size_bytes, "a value of size", 0, Number.MAX_SAFE_INTEGER);
  const meta = encodeMeta(options.meta);
  const tokens = wholeNumber(options.tokens, "token count", 0, 2 ** 32 - 1);
  const priority = wholeNumber(
    options.priority,
    "priority",
    -(2 ** 31),
    2 ** 31 - 1,
  );
  const now = platform.now();
  const expires_at = options.ttl_ms === undefined
    ? 0
    : now + positive(options.ttl_ms);
  const isSummed = sumsAtOnce(core, options.checksum);
  const ofParent = options.parent;
  // From here on nothing of the caller's runs: these are the handle's own.
  const parent = ofParent === undefined
    ? NO_PARENT
    : planned.parent.encode(ofParent, "put");
  const encoded = planned.key.encode(key, "put");
  const text = joined(encoded.bytes, parent.bytes, meta);
  return {
    key,
    text,
    blocks: table.blocksFor(size_bytes, text.length),
    mayEvict: history === undefined,
    isSummed,
    fields: (sequence) => ({
      key: encoded,
      parent,
      meta,
      namespaceHash: planned.key.namespaceHash,
      size_bytes,
      tokens,
      priority,
      created_at: now,
      last_access_at: now,
      access_tick: history?.access_tick ?? nextTick(core.control.u32),
      access_count: 1,
      sequence,
      expires_at,
      ...history,
    }),
  };
}

/** The parts in one piece: most entries have no more than a key. */
function joined(
  key: Uint8Array,
  parent: Uint8Array,
  meta: Uint8Array,
): Uint8Array {
  if (parent.length + meta.length === 0) return key;
  const whole = new Uint8Array(key.length + parent.length + meta.length);
  whole.set(key);
  whole.set(parent, key.length);
  whole.set(meta, key.length + parent.length);
  return whole;
}
