/**
 * Snapshots whose files are damaged: bits turned over, files cut short or
 * lengthened. What is whole must come back, and what is not must be told.
 *
 * @module
 */
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { Pool } from "../../lib/pool.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import { sameBytes, segmentExists, tempPool, uniqueName } from "../helpers.ts";
import { stampedValue } from "../multiprocess/stamped.ts";
import { Dice } from "./dice.ts";
import { Finding, Judge } from "./judge.ts";
import type { FuzzReport } from "./pools.ts";

const KEYS = Array.from({ length: 12 }, (_, i) => `key-${i}`);
const CUT_BYTES = 4096;
const KEYS_A_SAVE = 4;

const valueOf = (key: string) =>
  stampedValue(key, 1, 1, 600 + 1500 * KEYS.indexOf(key));

/** One file of the snapshot, and where in it the values lie. */
interface SnapshotFile {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** By key: offset of the value's first byte. */
  readonly values: ReadonlyMap<string, number>;
}

/** What a damage may cost, if it is known. */
interface Damage {
  readonly what: string;
  /** The one key whose value it hit. */
  readonly lost?: string;
  /** Of a file that says which others count. */
  readonly mayLoseAll: boolean;
  /** Records may be gone from the end of the file. */
  readonly isCut: boolean;
}

/** Damages a copy of a snapshot and restores it, again and again. */
export function fuzzSnapshots(
  seed: number,
  rounds: number,
  onRound: (done: number) => void = () => {},
): FuzzReport {
  const judge = new Judge();
  const root = mkdtempSync("/dev/shm/cortex-fuzz-");
  try {
    const whole = join(root, "whole"), damaged = join(root, "damaged");
    const files = makeSnapshot(whole);
    for (let round = 0; round < rounds; round++) {
      const dice = new Dice(seed + round);
      cpSync(whole, damaged, { recursive: true });
      const damage = damageOne(damaged, files, dice);
      try {
        expectTheRest(damaged, damage, dice, judge);
      } catch (error) {
        throw new Finding(
          `seed ${seed + round}, ${damage.what}: ${(error as Error).message}`,
          { cause: (error as Error).cause ?? error },
        );
      }
      rmSync(damaged, { recursive: true });
      onRound(round + 1);
    }
  } finally {
    rmSync(root, { recursive: true });
  }
  return { rounds, outcomes: judge.outcomes };
}

/** A base, and what came to it later. */
function makeSnapshot(directory: string): SnapshotFile[] {
  using temp = tempPool({ size: "512K", maxEntries: 32 });
  for (const [i, key] of KEYS.entries()) {
    temp.pool.put(key, valueOf(key), {
      parent: KEYS[i - 1],
      meta: i % 4 === 0 ? { text: "m".repeat(500) } : { i },
    });
    if (i % KEYS_A_SAVE === KEYS_A_SAVE - 1) {
      persist(temp.pool, { path: directory });
    }
  }
  return readdirSync(directory).sort().map((name) => {
    const bytes = new Uint8Array(readFileSync(join(directory, name)));
    const values = new Map<string, number>();
    for (const key of KEYS) {
      const at = Buffer.from(bytes.buffer).indexOf(valueOf(key));
      if (at !== -1) values.set(key, at);
    }
    return { name, bytes, values };
  }).filter(({ bytes }) => bytes.length > 0);
}

/** The value at an offset, if there is one. */
function keyAt({ values }: SnapshotFile, offset: number): string | undefined {
  for (const [key, at] of values) {
    if (offset >= at && offset < at + valueOf(key).length) return key;
  }
  return undefined;
}

function damageOne(
  directory: string,
  files: readonly SnapshotFile[],
  dice: Dice,
): Damage {
  const file = dice.pick(
    dice.oneIn(4) ? files : files.filter(({ values }) => values.size > 0),
  );
  const { name } = file;
  const bytes = file.bytes.slice();
  const mayLoseAll = file.values.size === 0;
  const write = (changed: Uint8Array) =>
    writeFileSync(join(directory, name), changed);
  if (dice.oneIn(5)) {
    const cuts = Math.ceil(bytes.length / CUT_BYTES);
    const length = dice.random(cuts) * CUT_BYTES;
    write(bytes.subarray(0, length));
    return {
      what: `${name} cut to ${length}`,
      mayLoseAll: mayLoseAll || length < FIRST_RECORDS_BYTES,
      isCut: true,
    };
  }
  const offset = dice.random(bytes.length), bit = dice.random(8);
  bytes[offset]! ^= 1 << bit;
  write(bytes);
  const lost = keyAt(file, offset);
  return {
    what: `bit ${bit} of byte ${offset} of ${name} turned`,
    mayLoseAll: mayLoseAll || offset < HEAD_BYTES,
    isCut: false,
    ...(lost === undefined ? {} : { lost }),
  };
}

/** The head of a file: without it, whose is the rest? */
const HEAD_BYTES = 64;
/** A file that is cut before this may have no whole record. */
const FIRST_RECORDS_BYTES = 24_000;

function expectTheRest(
  directory: string,
  damage: Damage,
  dice: Dice,
  judge: Judge,
): void {
  const name = uniqueName();
  try {
    const partial = dice.oneIn(2);
    const report = judge.try(
      partial ? "restore partial" : "restore",
      () => restore(name, { path: directory, partial }),
    );
    if (!report) {
      const mayRefuse = damage.mayLoseAll || (damage.isCut && !partial);
      if (!mayRefuse) throw new Finding("it was refused whole");
      if (segmentExists(name)) throw new Finding("a refusal left a pool");
      return;
    }
    using pool = Pool.open(name);
    const missing = KEYS.filter((key) => !isThere(pool, key));
    if (report.passed_over.length > 0) {
      expectFormer(missing, report.generation, damage);
    } else expectMissing(missing, report.damaged, damage);
    const { problems } = pool.check({ values: true });
    if (problems.length > 0) throw new Finding(`check says: ${problems[0]}`);
  } finally {
    if (segmentExists(name)) Pool.destroy(name);
  }
}

function isThere(pool: Pool, key: string): boolean {
  using hit = pool.get(key);
  if (!hit) return false;
  if (!sameBytes(hit.bytes, valueOf(key))) {
    throw new Finding(`${key} has bytes that nobody put`);
  }
  return true;
}

/** The generation before, whole, in place of one that is not. */
function expectFormer(
  missing: readonly string[],
  generation: number,
  { mayLoseAll, isCut }: Damage,
): void {
  if (!mayLoseAll && !isCut) throw new Finding("it was passed over for a bit");
  const since = KEYS.slice(generation * KEYS_A_SAVE);
  if (missing.join() !== since.join()) {
    throw new Finding(`generation ${generation} lacks ${missing.join(", ")}`);
  }
}

/** Exactly what was damaged is lost, and it is told how much that is. */
function expectMissing(
  missing: readonly string[],
  told: number,
  { lost, mayLoseAll, isCut }: Damage,
): void {
  if (lost !== undefined && !missing.includes(lost)) {
    throw new Finding(`${lost} is there, though its value was damaged`);
  }
  if (!mayLoseAll && !isCut && missing.length > 1) {
    throw new Finding(`one bit cost ${missing.join(", ")}`);
  }
  if (told !== missing.length && !mayLoseAll) {
    throw new Finding(`${missing.length} are lost, ${told} were told`);
  }
}
