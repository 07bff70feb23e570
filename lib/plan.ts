/**
 * What is asked of a put, checked and made ready, before any lock is taken.
 *
 * @module
 */
import type { Core } from "./core.ts";
import { type EntryFields, NO_PARENT } from "./entry_table.ts";
import { UsageError } from "./errors.ts";
import { META_MAX_BYTES } from "./layout.ts";
import { nextTick } from "./tick.ts";

/** What a caller may say of an entry. */
export interface PutOptions {
  /** Key of the entry that this one extends. */
  readonly parent?: string | undefined;
  /** Tokens that the value covers: 0 to 2^32 - 1. */
  readonly tokens?: number | undefined;
  /** From -2^31 to 2^31 - 1; higher stays longer under the policy `priority`. */
  readonly priority?: number | undefined;
  /** Any JSON value, up to 4 KiB as text. */
  readonly meta?: unknown;
}

/** Counts and times of an entry that is put back, as from a snapshot. */
export type History = Pick<
  EntryFields,
  | "created_at"
  | "last_access_at"
  | "access_tick"
  | "access_count"
  | "sequence"
>;

/** An entry about to be. */
export interface Plan {
  readonly key: string;
  readonly fields: (sequence: number) => EntryFields;
  readonly text: Uint8Array;
  readonly blocks: number;
  /** What is put back makes no room for itself: what is there is worth more. */
  readonly mayEvict: boolean;
}

const encoder = new TextEncoder();

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
  );
}

function encodeMeta(meta: unknown): Uint8Array {
  if (meta === undefined) return new Uint8Array();
  let text: string | undefined;
  try {
    text = JSON.stringify(meta);
  } catch {
    // Said below.
  }
  if (text === undefined) {
    throw new UsageError("put", "the metadata", "it cannot be told in JSON");
  }
  const bytes = encoder.encode(text);
  if (bytes.length <= META_MAX_BYTES) return bytes;
  throw new UsageError(
    "put",
    "the metadata",
    `it is longer than ${META_MAX_BYTES} bytes as JSON`,
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
  const { keys, platform, table } = core;
  wholeNumber(size_bytes, "a value of size", 0, Number.MAX_SAFE_INTEGER);
  const meta = encodeMeta(options.meta);
  const tokens = wholeNumber(options.tokens, "token count", 0, 2 ** 32 - 1);
  const priority = wholeNumber(
    options.priority,
    "priority",
    -(2 ** 31),
    2 ** 31 - 1,
  );
  const parent = options.parent === undefined
    ? NO_PARENT
    : keys.encodeCopy(options.parent, "put");
  const encoded = keys.encodeCopy(key, "put");
  const text = concat(encoded.bytes, parent.bytes, meta);
  const now = platform.now();
  return {
    key,
    text,
    blocks: table.blocksFor(size_bytes, text.length),
    mayEvict: history === undefined,
    fields: (sequence) => ({
      key: encoded,
      parent,
      meta,
      namespaceHash: keys.namespaceHash,
      size_bytes,
      tokens,
      priority,
      created_at: now,
      last_access_at: now,
      access_tick: nextTick(core.control.u32),
      access_count: 1,
      sequence,
      ...history,
    }),
  };
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((sum, part) => sum + part.length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
