/**
 * Restoring: a snapshot to a pool. Entries can be used as they come, the most
 * recently used first.
 *
 * A damaged record costs that record. A generation whose manifest is damaged or
 * whose files are not whole is passed over for the one before it, unless the
 * caller asks for what is whole of it.
 *
 * While a pool is being filled it is marked, and not to be saved: a save would
 * take what has not come yet for gone. The mark of a restore that was killed
 * stays, and the next one goes on where it ended.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import {
  BusyError,
  CorruptError,
  CortexError,
  ExistsError,
  FailedError,
  NotFoundError,
  UsageError,
} from "../errors.ts";
import type { Tier } from "../header.ts";
import { EntryState } from "../layout.ts";
import { doomEntry } from "../lifecycle.ts";
import { isPolicyName } from "../policy/mod.ts";
import { exportPolicyState } from "../replacing.ts";
import { type HandleOptions, Pool } from "../pool.ts";
import { showPool } from "../segment.ts";
import { advanceTick, currentTick, restoreTick } from "../tick.ts";
import { layDown, takeOn } from "./exclusive.ts";
import { showSnapshot } from "./directory.ts";
import type { Line } from "./lines.ts";
import { listLive, matchSaved, nameOf } from "./live.ts";
import { Loader, totalBytes } from "./loader.ts";
import type { Manifest, PoolRecord } from "./manifest.ts";
import { givePolicyState } from "./policy_state.ts";
import type { Progress } from "../progress.ts";
import { inLoadOrder, selectFitting } from "./select.ts";
import { Source, type SourceOptions } from "./source.ts";

/** How {@linkcode restoreSteps} restores. */
export interface RestoreOptions extends SourceOptions, HandleOptions {
  /** Into a pool that has entries: those stay, and keep their keys. */
  readonly merge?: boolean | undefined;
  /** Into a pool that has entries: those go first. */
  readonly replace?: boolean | undefined;
  /** Refuse a snapshot of another namespace than this. */
  readonly namespace?: string | undefined;
}

/** What a restore did. */
export interface RestoreReport {
  readonly path: string;
  readonly generation: number;
  /** Whether the pool was made for it. */
  readonly created: boolean;
  /** Loaded. */
  readonly entries: number;
  /** Of their values. */
  readonly value_bytes: number;
  /** Entries that the snapshot should have, but has no more. */
  readonly damaged: number;
  /** Which those are, as far as that can be told; the first 100. */
  readonly damaged_entries: readonly string[];
  /** Entries for which there was no room: those that are worth least. */
  readonly left_out: number;
  /** Entries whose key the pool had already. */
  readonly present: number;
  /** Why newer generations were passed over, a sentence each. */
  readonly passed_over: readonly string[];
}

/**
 * Restores a snapshot, step by step: each step loads one entry. If it fails or is
 * ended early, a pool that it made is destroyed again.
 *
 * @throws {ExistsError} if the pool has entries, and is neither to be merged nor replaced.
 * @throws {NotFoundError} if there is no snapshot.
 * @throws {CorruptError} if it is damaged, of another version, or not one of ours.
 * @throws {FailedError} if it is of another namespace.
 * @throws {BusyError} if another restore fills the pool.
 */
export function* restoreSteps(
  platform: Platform,
  name: string,
  directory: string,
  options: RestoreOptions = {},
): Generator<Progress, RestoreReport> {
  expectOneWay(name, options);
  using source = Source.open(platform, directory, "restore", options);
  expectNamespace(directory, source.manifest, options.namespace);
  if (options.replace) expectReadable(platform, source, directory);
  const target = openTarget(
    platform,
    name,
    directory,
    source.manifest,
    options,
  );
  const { pool } = target;
  let whole = false, useless = false;
  try {
    const report = yield* fill(target, source, directory);
    whole = true;
    return report;
  } catch (error) {
    useless = error instanceof CorruptError;
    throw error;
  } finally {
    if (!whole) giveUp(target, useless);
    if (pool.core.isOpen) layDown(pool.core, "loading");
    pool.close();
  }
}

/**
 * What a restore that failed, or was ended early, leaves.
 *
 * @param useless the snapshot is no good: to go on with it would not help.
 */
function giveUp({ pool, origin }: Target, useless: boolean): void {
  try {
    if (origin === "created") pool.destroy();
    // One in use is as good as it was, or better. One that was emptied stays
    // marked, so that no save takes it for all there is.
    else if (origin === "used" || useless) {
      pool.core.change("restore", () => pool.core.header.publish("loading", 0));
    }
  } catch (error) {
    // Somebody else destroyed it already, or has its lock.
    if (!(error instanceof CortexError)) throw error;
  }
}

function expectOneWay(name: string, { merge, replace }: RestoreOptions): void {
  if (!(merge && replace)) return;
  throw new UsageError(
    "restore",
    showPool(name),
    "it cannot be merged and replaced at once",
    "Give --merge or --replace",
  );
}

/** How many entries are tried, the smallest, before others are dropped. */
const TRIED_MAX = 16;

/** Before anything is dropped for it: is there an entry that is whole? */
function expectReadable(
  platform: Platform,
  { lines, readers }: Source,
  directory: string,
): void {
  const smallest = lines.toSorted((a, b) => a.size_bytes - b.size_bytes)
    .slice(0, TRIED_MAX);
  const isWhole = (line: Line) => {
    const reader = readers[line.file];
    const found = reader?.recordOf(line);
    if (!reader || !found) return false;
    const value = new Uint8Array(line.size_bytes);
    return reader.readValue(found.record, [value]) &&
      platform.crc32(value) === line.value_crc;
  };
  if (lines.length === 0 || smallest.some(isWhole)) return;
  throw new CorruptError(
    "restore",
    showSnapshot(directory),
    `the ${smallest.length} smallest of its ${lines.length} entries cannot be read whole`,
    "Add --merge to keep what the pool has, and take what is whole",
  );
}

function expectNamespace(
  directory: string,
  { pool }: Manifest,
  wanted: string | undefined,
): void {
  if (wanted === undefined || wanted === pool.namespace) return;
  const show = (text: string) => text === "" ? "none" : JSON.stringify(text);
  throw new FailedError(
    "restore",
    showSnapshot(directory),
    `its namespace is ${show(pool.namespace)}, not ${show(wanted)}`,
    "What was computed by another model, or in another layout, is of no use",
  );
}

/** The pool that is filled; its loading is ours alone. */
interface Target {
  readonly pool: Pool;
  /** Made for it; in use before; or empty before, by `replace` or by itself. */
  readonly origin: "created" | "used" | "emptied";
}

function openTarget(
  platform: Platform,
  name: string,
  directory: string,
  manifest: Manifest,
  options: RestoreOptions,
): Target {
  const existing = openExisting(platform, name, options);
  if (!existing) {
    const pool = createLike(platform, name, manifest, directory);
    return { pool, origin: "created" };
  }
  try {
    const origin = prepareExisting(existing, directory, manifest, options);
    return { pool: existing, origin };
  } catch (error) {
    existing.close();
    throw error;
  }
}

function openExisting(
  platform: Platform,
  name: string,
  { lockTimeout_ms }: RestoreOptions,
): Pool | undefined {
  try {
    return Pool.open(name, { platform, lockTimeout_ms });
  } catch (error) {
    if (error instanceof NotFoundError) return undefined;
    throw error;
  }
}

/** An empty pool with the snapshot's geometry, policy and counts. */
function createLike(
  platform: Platform,
  name: string,
  manifest: Manifest,
  directory: string,
): Pool {
  const { pool: was } = manifest;
  const { policy } = was;
  if (!isPolicyName(policy)) {
    throw new CorruptError(
      "restore",
      showSnapshot(directory),
      `this cortex has no policy ${JSON.stringify(policy)}`,
      "Use the cortex that made it",
    );
  }
  const pool = asMade(directory, () =>
    Pool.create(name, {
      platform,
      mode: was.mode ?? 0o600,
      size: was.size_bytes,
      blockSize: was.block_size_bytes,
      maxEntries: was.max_entries,
      policy,
      tier: "cpu" satisfies Tier,
      namespace: was.namespace,
      revived: {
        // Under its own name it is the pool that it was.
        uuid: name === was.name ? was.uuid : undefined,
        created_at: was.created_at,
        low_percent: was.low_percent,
      },
    }));
  try {
    beginLoading(pool);
    pool.core.change("restore", () => revive(pool, was));
    return pool;
  } catch (error) {
    pool.close(); // another restore found it, and goes on with it
    throw error;
  }
}

/** The counts of a pool that nobody has used yet. */
function revive({ core }: Pool, was: PoolRecord): void {
  const { header } = core;
  restoreTick(core.control.u32, was.tick);
  header.setStat("next_sequence", Math.max(1, was.next_sequence));
  for (
    const name of ["hits", "misses", "puts", "evictions", "deletes"] as const
  ) header.setStat(name, was[name]);
  header.setStat("recoveries", was.recoveries ?? 0);
}

/** What no pool can be like was not one: the manifest is wrong, not the user. */
function asMade<T>(directory: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new CorruptError(
      "restore",
      showSnapshot(directory),
      "its manifest tells of a pool that cannot be",
      error.message,
    );
  }
}

function beginLoading(pool: Pool): void {
  if (takeOn(pool.core, "loading", 0)) return;
  throw new BusyError(
    "restore",
    showPool(pool.name),
    "another process is restoring it",
    "Its entries can be used as they come",
  );
}

/** Makes a pool that is there ready to be filled. */
function prepareExisting(
  pool: Pool,
  directory: string,
  manifest: Manifest,
  options: RestoreOptions,
): Target["origin"] {
  const { core, name } = pool;
  expectNamespace(directory, manifest, core.identity.namespace);
  beginLoading(pool);
  const { header } = core;
  // Marked, and the work was ours to take: a restore was killed. Go on with it.
  const unfinished = header.get("loading") !== 0;
  const used = header.get("entries") > 0;
  if (used && !unfinished && !options.merge && !options.replace) {
    throw new ExistsError(
      "restore",
      showPool(name),
      "it exists already, and has entries",
      "Add --merge to keep them, or --replace to drop them",
    );
  }
  core.change("restore", () => {
    // Killed before it had even told the pool what it was?
    if (unfinished && header.stat("next_sequence") === 1) {
      revive(pool, manifest.pool);
    }
    header.publish("loading", 1);
    if (options.replace) dropAll(pool);
    yieldOrder(pool, manifest);
  });
  return used && !unfinished && !options.replace ? "used" : "emptied";
}

function dropAll({ core }: Pool): void {
  const { table } = core;
  for (let entry = 0; entry < table.count; entry++) {
    if (table.state(entry) === EntryState.SEALED) doomEntry(core, entry);
  }
}

/**
 * Makes what is there count as used after all that comes, and what is put from
 * now on as made after it.
 */
function yieldOrder({ core }: Pool, { pool: was }: Manifest): void {
  const { table, header, control, identity } = core;
  const now = currentTick(control.u32);
  const isSame = identity.uuid === was.uuid;
  const by = isSame ? Math.max(0, was.tick - now) : was.tick;
  if (!isSame) {
    for (let entry = 0; entry < table.count; entry++) {
      if (table.state(entry) === EntryState.SEALED) table.addToTick(entry, by);
    }
  }
  advanceTick(control.u32, by);
  header.setStat(
    "next_sequence",
    Math.max(header.stat("next_sequence"), was.next_sequence),
  );
}

function* fill(
  { pool, origin }: Target,
  source: Source,
  directory: string,
): Generator<Progress, RestoreReport> {
  const { core } = pool;
  const { manifest, passedOver } = source;
  const created = origin === "created";
  const { wanted, present } = missingFrom(pool, source.lines);
  const { chosen, left_out } = selectFitting(core, wanted);
  const total_bytes = totalBytes(chosen);
  using loader = new Loader(pool, source.readers, total_bytes);
  yield { done_bytes: 0, total_bytes };
  yield* loader.load(inLoadOrder(chosen));
  const damaged = loader.damaged + source.lost;
  if (damaged > 0 && loader.damaged === source.lines.length) {
    throw new CorruptError(
      "restore",
      showSnapshot(directory),
      `none of its ${damaged} entries can be read whole`,
      "Take a former generation (--generation N), or another copy of it",
    );
  }
  settle(pool, manifest, loader.entries, origin);
  return {
    path: directory,
    generation: manifest.generation,
    created,
    entries: loader.entries,
    value_bytes: loader.value_bytes,
    damaged,
    damaged_entries: loader.damagedNames,
    left_out: left_out + loader.left_out,
    present: present + loader.present,
    passed_over: passedOver,
  };
}

/** Lines whose very entries the pool does not have yet; of a key, the youngest. */
function missingFrom({ core }: Pool, lines: readonly Line[]) {
  const there = new Set(
    matchSaved(listLive(core), lines).saved.map(({ line }) => nameOf(line)),
  );
  const now = core.platform.now();
  const isExpired = ({ expires_at }: Line) =>
    expires_at > 0 && now >= expires_at;
  const valid = lines.filter((line) => !isExpired(line));
  const wanted = valid.filter((line) => !there.has(nameOf(line)));
  return { wanted, present: valid.length - wanted.length };
}

/** Its loading is no putting, and it may be saved again. */
function settle(
  { core }: Pool,
  manifest: Manifest,
  loaded: number,
  origin: Target["origin"],
): void {
  const { header, identity } = core;
  core.change("restore", () => {
    header.publish("loading", 0);
    header.setStat("puts", Math.max(0, header.stat("puts") - loaded));
    // Entries came in another order than they were used. A pool in use goes on
    // with what its own policy has learned.
    givePolicyState(
      core,
      origin === "used" ? exportPolicyState(core) : manifest.policyState,
    );
    if (identity.uuid === manifest.pool.uuid && origin !== "used") {
      header.setStat("last_persist_at", manifest.created_at);
    }
  });
}
