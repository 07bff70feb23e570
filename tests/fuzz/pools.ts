/**
 * Pools whose header and tables are changed under them, with their checksums
 * made right again or not. Whatever they say: an error of ours or a smaller
 * truth, and after a repair nothing but truth.
 *
 * @module
 */
import { Pool } from "../../lib/pool.ts";
import type { Core } from "../../lib/core.ts";
import {
  IDENTITY,
  IDENTITY_END,
  PAGE_BYTES,
  RECORD,
  RECORD_BYTES,
} from "../../lib/layout.ts";
import { sameBytes, tempPool } from "../helpers.ts";
import { stampedValue } from "../multiprocess/stamped.ts";
import { Dice } from "./dice.ts";
import { Finding, Judge } from "./judge.ts";

const KEYS = Array.from({ length: 10 }, (_, i) => `key-${i}`);
const IMPATIENT_MS = 20;

/** What a run of mutations found. Anything wrong is thrown. */
export interface FuzzReport {
  readonly rounds: number;
  readonly outcomes: ReadonlyMap<string, number>;
}

/** Changes a pool, looks what comes of it, and sets it right, again and again. */
export function fuzzPools(
  seed: number,
  rounds: number,
  onRound: (done: number) => void = () => {},
): FuzzReport {
  const judge = new Judge();
  using temp = tempPool({ size: "192K", maxEntries: 20 });
  fill(temp.pool);
  // Somebody holds an entry, others that are gone by now, and is writing one.
  for (const key of ["key-0", "gone-1", "gone-2"]) temp.pool.get(key);
  temp.pool.delete("gone-1");
  temp.pool.delete("gone-2");
  const writing = temp.pool.reserve("writing", 5000);
  using witness = new Witness(temp.name);
  for (let round = 0; round < rounds; round++) {
    const dice = new Dice(seed + round);
    witness.reset();
    witness.mutate(dice);
    try {
      useDamaged(temp.name, dice, judge);
      useRepaired(temp.name, judge);
    } catch (error) {
      throw new Finding(
        `seed ${seed + round}: ${
          (error as Error).message
        }; again: deno task fuzz --what pools --seed ${
          seed + round
        } --rounds 1`,
        { cause: (error as Error).cause ?? error },
      );
    }
    onRound(round + 1);
  }
  witness.reset();
  writing.abort();
  return { rounds, outcomes: judge.outcomes };
}

/** Version 1 is what the pool has before, 2 what is put into the damage. */
function valueOf(key: string, version: number): Uint8Array<ArrayBuffer> {
  const size_bytes = 3000 + 1700 * KEYS.indexOf(key) + 2500 * version;
  return stampedValue(key, 1, version, size_bytes);
}

/** Entries of every kind: in one piece and in several, with short and long text. */
function fill(pool: Pool): void {
  for (const [i, key] of KEYS.entries()) {
    pool.put(key, valueOf(key, 1), {
      tokens: i,
      parent: KEYS[i - 1],
      meta: i % 3 === 0 ? { text: "m".repeat(500) } : { i },
    });
    if (i % 3 === 2) pool.delete(KEYS[i - 1]!);
  }
  for (const key of KEYS) if (!pool.has(key)) pool.put(key, valueOf(key, 1));
  for (const key of ["gone-1", "gone-2"]) pool.put(key, valueOf(key, 1));
}

/** Works on the pool's bytes from beside the library. */
class Witness implements Disposable {
  readonly #core: Core;
  readonly #pool: Pool;
  readonly #whole: Uint8Array;
  readonly #before: Uint8Array;

  constructor(name: string) {
    this.#pool = Pool.open(name, { observe: true });
    this.#core = this.#pool.core;
    const { mapping } = this.#core;
    this.#whole = new Uint8Array(mapping.window(0, mapping.size_bytes));
    this.#before = this.#whole.slice();
  }

  reset(): void {
    this.#whole.set(this.#before);
  }

  mutate(dice: Dice): void {
    const changes = 1 + dice.random(dice.oneIn(3) ? 12 : 2);
    for (let i = 0; i < changes; i++) this.#change(dice);
    if (dice.oneIn(2)) this.#makeChecksumsRight();
    if (dice.oneIn(3)) this.#core.header.set("dirty", 1);
  }

  #change(dice: Dice): void {
    const { u32, u8 } = this.#core.control;
    const [from, to] = this.#area(dice);
    if (dice.oneIn(2)) {
      u32[(from + dice.random(to - from)) >> 2] = dice.word();
    } else {
      u8[from + dice.random(to - from)]! ^= 1 << dice.random(8);
    }
  }

  /** One of the pool's parts, small ones as often as large ones. */
  #area(dice: Dice): readonly [number, number] {
    const { geometry: g } = this.#core;
    const record = g.records_offset + dice.random(g.max_entries) * RECORD_BYTES;
    return dice.pick(
      [
        [0, IDENTITY_END],
        [IDENTITY_END, 1152],
        [PAGE_BYTES, PAGE_BYTES + g.blocks / 8],
        [g.commit_offset, g.commit_offset + g.blocks / 8],
        [g.slots_offset, g.slots_offset + 256],
        [g.pins_offset, g.pins_offset + 4 * g.pin_row_bytes],
        [g.buckets_offset, g.buckets_offset + 4 * g.buckets],
        [g.links_offset, g.links_offset + 4 * g.max_entries],
        [record, record + RECORD.text],
        [record, record + RECORD.text],
        [record + RECORD.text, record + RECORD_BYTES],
      ] as const,
    );
  }

  #makeChecksumsRight(): void {
    const { control: { u8, u32 }, platform, geometry } = this.#core;
    u32[IDENTITY.crc >> 2] = platform.crc32(
      u8.subarray(IDENTITY.uuid, IDENTITY_END),
    );
    for (let entry = 0; entry < geometry.max_entries; entry++) {
      const at = geometry.records_offset + entry * RECORD_BYTES;
      u32[(at + RECORD.crc) >> 2] = platform.crc32(
        u8.subarray(at + RECORD.crc + 4, at + RECORD_BYTES),
      );
    }
  }

  [Symbol.dispose](): void {
    this.#core.close();
  }
}

/** Everything that one can do with a pool. */
function useDamaged(name: string, dice: Dice, judge: Judge): void {
  using seen = judge.try("observe", () => Pool.open(name, { observe: true }));
  if (seen) {
    judge.try("status", () => seen.status());
    judge.try("entries", () => [...seen.entries()].length);
    judge.try("match", () => seen.match(KEYS));
  }
  using pool = judge.try(
    "open",
    () => Pool.open(name, { lockTimeout_ms: IMPATIENT_MS }),
  );
  if (!pool) return;
  for (const key of KEYS) judge.try("get", () => readChecked(pool, key, judge));
  const key = dice.pick(KEYS);
  const work = [
    () => judge.try("put", () => pool.put("new", valueOf("new", 2))),
    () => judge.try("replace", () => pool.put(key, valueOf(key, 2))),
    () => judge.try("delete", () => pool.delete(key)),
    () => judge.try("evict", () => pool.evict({ percent: dice.random(101) })),
    () => judge.try("check", () => pool.check({ values: true })),
  ];
  for (let i = 0; i < 3; i++) dice.pick(work)();
}

/** A value that is not what was put must not pass for it. */
function readChecked(pool: Pool, key: string, judge: Judge): void {
  using hit = pool.get(key);
  if (!hit) return;
  void hit.parent, void hit.tokens, void hit.views;
  // Made up with its checksum, it may be no JSON.
  judge.try("meta", () => hit.meta);
  hit.verify();
  const isOurs = [1, 2].some((version) =>
    sameBytes(hit.bytes, valueOf(key, version))
  );
  if (!isOurs) throw new Finding(`${key} has bytes that nobody put`);
}

/** After a repair there is nothing wrong, and nothing but what was put. */
function useRepaired(name: string, judge: Judge): void {
  using pool = judge.try(
    "open again",
    () => Pool.open(name, { lockTimeout_ms: IMPATIENT_MS }),
  );
  if (!pool) return;
  judge.try("repair", () => pool.repair({ values: true }));
  const { problems } = pool.check({ values: true });
  if (problems.length > 0) {
    throw new Finding(`after a repair: ${problems.slice(0, 3).join("; ")}`);
  }
  for (const { key } of pool.entries()) readChecked(pool, key, judge);
  judge.try("put after", () => pool.put("after", valueOf("after", 2)));
  const after = pool.check().problems;
  if (after.length > 0) throw new Finding(`after a put: ${after[0]}`);
}
