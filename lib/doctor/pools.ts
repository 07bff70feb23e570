/**
 * The pools and their snapshots.
 *
 * @module
 */
import { OsError, type Platform } from "../../ffi/platform.ts";
import type { PoolStatus } from "../describe.ts";
import { CortexError, stateOf } from "../errors.ts";
import { collectLitter } from "../litter/mod.ts";
import { snapshotDirectories } from "../litter/snapshots.ts";
import { isLost } from "../place.ts";
import { Pool } from "../pool.ts";
import { segmentOf } from "../segment.ts";
import { openSnapshotDirectory } from "../snapshot/directory.ts";
import { readCatalogue } from "../snapshot/generations.ts";
import { snapshotsDirectory } from "../snapshot/location.ts";
import { formatBytes } from "../units.ts";
import { attention, type Fact, fine } from "./fact.ts";

/** Somebody who holds a pool's lock for longer is a matter for attention. */
const LOCK_TIMEOUT_MS = 1000;

/** What the pools are like. */
export interface PoolFacts {
  readonly facts: readonly Fact[];
  /** What they may grow to, together. */
  readonly size_bytes: number;
  readonly used_bytes: number;
}

/** Checks the tables of every pool, not its values. */
export function poolFacts(platform: Platform): PoolFacts {
  const facts: Fact[] = [];
  let size_bytes = 0, used_bytes = 0;
  for (const name of Pool.list({ platform })) {
    try {
      using pool = Pool.open(name, {
        platform,
        lockTimeout_ms: LOCK_TIMEOUT_MS,
      });
      const status = pool.status();
      size_bytes += status.size_bytes;
      used_bytes += status.used_bytes;
      facts.push(health(pool, status));
    } catch (error) {
      if (!(error instanceof CortexError)) throw error;
      if (error.code === "NOT_FOUND" && !isLost(platform, name)) {
        continue; // it went away meanwhile
      }
      if (error.code === "FAILED" && isOthers(platform, name)) {
        facts.push(fine(`pool ${name}`, "of another user"));
        continue;
      }
      facts.push(attention(
        `pool ${name}`,
        stateOf(error),
        error.hint ?? `cortex cache check ${name}, or cortex cache gc`,
      ));
    }
  }
  if (facts.length === 0) facts.push(fine("pools", "there are none"));
  return { facts, size_bytes, used_bytes };
}

/** Whether it is another user's: what that one keeps to himself is no fault. */
function isOthers(platform: Platform, name: string): boolean {
  const stat = platform.files.stat(`/dev/shm/${segmentOf(name)}`);
  return stat !== undefined && stat.uid !== platform.uid && platform.uid !== 0;
}

function health(pool: Pool, status: PoolStatus): Fact {
  const topic = `pool ${pool.name}`;
  const { problems } = pool.check();
  if (problems.length > 0) {
    return attention(
      topic,
      problems.length === 1
        ? problems[0]!
        : `${problems.length} problems: ${problems[0]}`,
      `cortex cache check ${pool.name} --repair`,
    );
  }
  const used = `${formatBytes(status.used_bytes)} of ${
    formatBytes(status.data_bytes)
  } used`;
  const entries = status.entries === 1
    ? "1 entry"
    : `${status.entries} entries`;
  if (status.loading) return fine(topic, `a restore fills it, ${used}`);
  return fine(topic, `whole, ${entries}, ${used}`);
}

/** What crashes left. */
export function litterFact(platform: Platform): Fact {
  const { removed, freed_bytes } = collectLitter({ platform, dryRun: true });
  if (removed.length === 0) return fine("litter", "crashes left nothing");
  const things = removed.length === 1 ? "1 thing" : `${removed.length} things`;
  return attention(
    "litter",
    `crashes left ${things}, ${formatBytes(freed_bytes)}`,
    "cortex cache gc (with --dry-run it only says what)",
  );
}

/** Snapshots at the default place that cannot be read, or of which a manifest cannot. */
export function damagedSnapshotFacts(platform: Platform): Fact[] {
  const facts: Fact[] = [];
  for (const directory of snapshotDirectories(platform)) {
    const name = directory.slice(directory.lastIndexOf("/") + 1);
    const topic = `snapshot ${name}`;
    const remedy = `cortex cache persist ${name}, which saves it anew`;
    try {
      const { damaged } = readCatalogue(platform, directory, "read");
      if (damaged.length === 0) continue;
      const which = damaged.join(" and ");
      facts.push(attention(topic, `${which}: damaged (checksum)`, remedy));
    } catch (error) {
      if (!(error instanceof CortexError)) throw error;
      if (error.code === "NOT_FOUND") continue; // empty, or gone meanwhile
      const text = stateOf(error);
      facts.push(attention(topic, text, error.hint ?? remedy));
    }
  }
  return facts;
}

/** The default place of snapshots: who may write to it, and how much room it has. */
export function snapshotFact(platform: Platform, used_bytes: number): Fact {
  const topic = "snapshots";
  try {
    const place = snapshotsDirectory(platform);
    if (!platform.files.exists(place)) {
      return fine(topic, `${place}, which the first persist makes`);
    }
    platform.files.close(openSnapshotDirectory(platform, place, "use"));
    const { free_bytes } = platform.files.space(place);
    const room = `${place}, ${formatBytes(free_bytes)} free`;
    return free_bytes >= used_bytes ? fine(topic, room) : attention(
      topic,
      `${room}: less than the ${formatBytes(used_bytes)} that the pools hold`,
      "Make room there, or set CORTEX_HOME to a larger disk",
    );
  } catch (error) {
    if (error instanceof CortexError) {
      return attention(
        topic,
        error.message.replace(/^Cannot \w+ /, ""),
        error.hint ?? "Set CORTEX_HOME to a directory of your own",
      );
    }
    if (!(error instanceof OsError)) throw error;
    return attention(
      topic,
      `the place for them cannot be looked at (${error.code})`,
      "Set CORTEX_HOME to a directory of your own",
    );
  }
}
