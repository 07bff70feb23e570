/**
 * What is asked of a pool that is to be made or opened, checked and made ready.
 *
 * @module
 */
import type { Platform } from "../ffi/platform.ts";
import { bootIdOf } from "./epoch.ts";
import { UsageError } from "./errors.ts";
import { type Identity, newUuid, type Tier } from "./header.ts";
import { NAMESPACE_MAX_BYTES, TIER_IDS } from "./layout.ts";
import { DEFAULT_POLICY, isPolicyName, type PolicyName } from "./policy/mod.ts";
import { planGeometry } from "./pool_geometry.ts";
import { showPool } from "./segment.ts";
import type { CreateSegmentOptions } from "./segment_making.ts";
import { parseSize } from "./units.ts";

const LOCK_TIMEOUT_MS = 5000;
/** Fill, in percent, that a batch of evictions goes down to. */
const LOW_PERCENT = 98;

/** What every way to a pool may be told. */
export interface HandleOptions {
  /** How long to wait for the pool's lock; 5,000 by default. */
  readonly lockTimeout_ms?: number | undefined;
  /** The host; by default the one we run on. */
  readonly platform?: Platform | undefined;
}

/** What kind of pool {@linkcode Pool.create} makes. */
export interface CreateOptions extends HandleOptions {
  /** Of the whole segment: bytes, or text such as `"16G"`. */
  readonly size: number | string;
  /** A power of two; by default the smallest that gives 32,768 blocks or fewer. */
  readonly blockSize?: number | string | undefined;
  readonly maxEntries?: number | undefined;
  /** `"prefix"` by default. */
  readonly policy?: PolicyName | undefined;
  /**
   * Percent of the pool that evicting under pressure goes down to: 1 to 100, 98
   * by default. 100 evicts just what is needed. A put evicts up to 1,024 entries,
   * as others wait, and the next ones go on.
   */
  readonly low?: number | undefined;
  /** Note operations for `record` from the start. */
  readonly record?: boolean | undefined;
  /** `"cpu"` by default: shared memory. `"disk"` is a file, which stays. */
  readonly tier?: Tier | undefined;
  /** The file of a pool on disk. */
  readonly path?: string | undefined;
  /** What makes this cache incompatible with others: model, dtype, layout. */
  readonly namespace?: string | undefined;
  /** `0o600` by default. */
  readonly mode?: number | undefined;
  /** Back all of it with memory now. */
  readonly populate?: boolean | undefined;
  /** What a pool that comes back from a snapshot was. */
  readonly revived?: Revived | undefined;
}

/** What a pool keeps of its former life. */
export interface Revived {
  readonly uuid?: string | undefined;
  readonly created_at?: number | undefined;
  readonly low_percent?: number | undefined;
}

/** How long to wait for the pool's lock, in ms. */
export function lockTimeout({ lockTimeout_ms }: HandleOptions): number {
  const timeout_ms = lockTimeout_ms ?? LOCK_TIMEOUT_MS;
  if (timeout_ms >= 0 && timeout_ms < Infinity) return timeout_ms;
  throw new UsageError(
    "wait",
    `${timeout_ms} ms for a lock`,
    "it is not a number from 0 on",
  );
}

function asBytes(size: number | string, what: string): number {
  return typeof size === "string" ? parseSize(size, what) : size;
}

/** @throws {UsageError} if there is no such policy. */
export function checkPolicy(policy: string, verb: string): void {
  if (isPolicyName(policy)) return;
  throw new UsageError(
    verb,
    `policy ${JSON.stringify(policy)}`,
    "there is no such policy",
    "See the policies there are: cortex cache policies",
  );
}

function checkLow(percent: number): number {
  if (Number.isInteger(percent) && percent >= 1 && percent <= 100) {
    return percent;
  }
  throw new UsageError(
    "create",
    `a pool with a low watermark of ${percent} percent`,
    "it is not a whole number from 1 to 100",
    "100 evicts just what is needed; leave it out for 98",
  );
}

/** @throws {UsageError} if no pool can be like that. */
export function planIdentity(
  platform: Platform,
  options: CreateOptions,
): Identity {
  const { policy = DEFAULT_POLICY, tier = "cpu", namespace = "" } = options;
  checkPolicy(policy, "use");
  if (!Object.hasOwn(TIER_IDS, tier)) throw noSuchTier(tier);
  if (
    !namespace.isWellFormed() ||
    new TextEncoder().encode(namespace).length > NAMESPACE_MAX_BYTES
  ) {
    throw new UsageError(
      "create",
      "a pool with that namespace",
      `it is longer than ${NAMESPACE_MAX_BYTES} bytes, or not Unicode`,
      "Give a shorter one, such as a hash of it",
    );
  }
  const geometry = planGeometry({
    size_bytes: asBytes(options.size, "size"),
    block_bytes: options.blockSize === undefined
      ? undefined
      : asBytes(options.blockSize, "block size"),
    max_entries: options.maxEntries,
    policy,
  });
  const { revived } = options;
  return {
    uuid: revived?.uuid ?? newUuid(platform),
    geometry,
    policy,
    tier,
    low_percent: revived?.low_percent ?? checkLow(options.low ?? LOW_PERCENT),
    namespace,
    created_at: revived?.created_at ?? platform.now(),
  };
}

/**
 * How the segment is made.
 *
 * @throws {UsageError} if none can be like that.
 */
export function planSegment(
  platform: Platform,
  name: string,
  options: CreateOptions,
): CreateSegmentOptions {
  const mode = options.mode ?? 0o600;
  checkMode(name, mode);
  return {
    mode,
    populate: options.populate ?? false,
    loading: options.revived !== undefined,
    ...planFile(platform, name, options),
  };
}

/** Who may write a pool is trusted: that is never everybody. */
function checkMode(name: string, mode: number): void {
  if (Number.isInteger(mode) && mode >= 0 && mode <= 0o777 && !(mode & 0o2)) {
    return;
  }
  throw new UsageError(
    "create",
    showPool(name),
    mode & 0o2
      ? "with that mode any user could write to it"
      : "its mode is not from 0 to 0777",
    "Use 0600, or 0660 to share it with your group",
  );
}

/** Where a pool on disk is to be. */
function planFile(
  platform: Platform,
  name: string,
  { tier, path }: CreateOptions,
) {
  const refuse = (state: string, hint: string) =>
    new UsageError("create", showPool(name), state, hint);
  if (tier !== "disk") {
    if (path === undefined) return {};
    throw refuse("only tier disk has a path", "Add --tier disk");
  }
  if (path === undefined || path.endsWith("/")) {
    throw refuse("tier disk needs a file", "Add --path FILE");
  }
  const bootId = bootIdOf({ platform });
  return { file: platform.files.absolute(path), bootId };
}

function noSuchTier(tier: string): UsageError {
  const reason = tier === "gpu"
    ? "it would need a driver's memory interface, such as CUDA IPC"
    : "there is no such tier";
  return new UsageError(
    "create",
    `a pool on tier ${JSON.stringify(tier)}`,
    reason,
    "Use --tier cpu, or --tier disk",
  );
}
