import { test } from "node:test";
import assert from "node:assert/strict";
import { cases, fc } from "../cases.ts";
import { NoSpaceError } from "../../lib/errors.ts";
import type { Hit } from "../../lib/hit.ts";
import type { PolicyName } from "../../lib/policy/mod.ts";
import type { Reservation } from "../../lib/reservation.ts";
import {
  assertBytes,
  assertWhole,
  bytesOf,
  keysOf,
  type Pool,
  tempPool,
} from "../helpers.ts";

// By default it makes ten elements where a hundred are allowed.
fc.configureGlobal({ defaultSizeToMaxWhenMaxSpecified: true });

/** Few keys, so that sequences meet the same ones again. */
const KEYS = Array.from({ length: 12 }, (_, i) => `key-${i}`);
// Text too long for its record goes into blocks: one key and one parent are.
KEYS.push("long-" + "k".repeat(400));

interface Value {
  readonly bytes: Uint8Array;
  readonly tokens: number;
  readonly priority: number;
  readonly parent: string | null;
  readonly meta: unknown;
}

const value = fc.record({
  seed: fc.nat(),
  // Empty, less than a block, exactly blocks, many blocks.
  size: fc.oneof(
    fc.constantFrom(0, 1, 4095, 4096, 4097, 8192),
    fc.nat(20_000),
    fc.nat(60_000),
    fc.nat(150_000),
  ),
  tokens: fc.nat(1000),
  priority: fc.integer({ min: -3, max: 3 }),
  parent: fc.option(fc.constantFrom(...KEYS)),
  meta: fc.option(fc.jsonValue({ maxDepth: 2 }), { nil: undefined }),
}).map(({ seed, size, ...rest }): Value => ({
  bytes: bytesOf(seed, size),
  ...rest,
}));

const key = fc.constantFrom(...KEYS);
type Op =
  | { do: "put"; key: string; value: Value; other: boolean }
  | { do: "get"; key: string; hold: boolean; other: boolean }
  | { do: "release"; at: number }
  | { do: "delete"; key: string; other: boolean }
  | { do: "evict"; percent: number; dryRun: boolean }
  | { do: "reserve"; key: string; value: Value }
  | { do: "seal"; at: number }
  | { do: "abort"; at: number }
  | { do: "match"; keys: string[] }
  | { do: "reopen" }
  | { do: "repair" };

const op: fc.Arbitrary<Op> = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant("put" as const),
      key,
      value,
      other: fc.boolean(),
    }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("get" as const),
      key,
      hold: fc.boolean(),
      other: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ do: fc.constant("release" as const), at: fc.nat() }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constant("delete" as const),
      key,
      other: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("evict" as const),
      percent: fc.integer({ min: 0, max: 100 }),
      dryRun: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("reserve" as const), key, value }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant("seal" as const), at: fc.nat() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant("abort" as const), at: fc.nat() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("match" as const),
      keys: fc.array(key, { maxLength: 6 }),
    }),
  },
  { weight: 1, arbitrary: fc.constant({ do: "reopen" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "repair" as const }) },
);

interface Held {
  readonly hit: Hit;
  readonly value: Value;
}
interface Open {
  readonly slot: Reservation;
  readonly key: string;
  readonly value: Value;
}

/**
 * A pool beside a Map. Which entries an eviction takes is the policy's affair:
 * here the model follows the pool, but only from what may go, and only when
 * room was short.
 */
class Pair implements Disposable {
  readonly #temp;
  readonly #pool: Pool;
  #other: Pool;
  readonly #model = new Map<string, Value>();
  readonly #held: Held[] = [];
  readonly #open: Open[] = [];

  constructor(policy: PolicyName, maxEntries: number | undefined) {
    this.#temp = tempPool({ size: "384K", policy, maxEntries });
    this.#pool = this.#temp.pool;
    this.#other = this.#temp.open();
  }

  [Symbol.dispose](): void {
    this.#temp[Symbol.dispose]();
  }

  run(op: Op): void {
    switch (op.do) {
      case "put":
        return this.#put(op.other ? this.#other : this.#pool, op.key, op.value);
      case "get":
        return this.#get(op.other ? this.#other : this.#pool, op.key, op.hold);
      case "release":
        return this.#take(this.#held, op.at)?.hit.release();
      case "delete":
        return this.#delete(op.other ? this.#other : this.#pool, op.key);
      case "evict":
        return this.#evict(op.percent, op.dryRun);
      case "reserve":
        return this.#reserve(op.key, op.value);
      case "seal":
        return this.#seal(this.#take(this.#open, op.at));
      case "abort":
        return this.#take(this.#open, op.at)?.slot.abort();
      case "match":
        return this.#match(op.keys);
      case "reopen":
        return this.#reopen();
      case "repair":
        assert.deepEqual(this.#pool.repair({ values: true }), []);
    }
  }

  /** Everything that can be said of the pool is what the model says. */
  compare(): void {
    assertWhole(this.#pool);
    assert.deepEqual(keysOf(this.#pool), [...this.#model.keys()].sort());
    for (const key of KEYS) {
      const expected = this.#model.get(key);
      assert.equal(this.#other.has(key), expected !== undefined, key);
      const info = this.#pool.info(key);
      if (!expected) {
        assert.equal(info, undefined);
        continue;
      }
      assert.equal(info?.size_bytes, expected.bytes.length);
      assert.equal(info.tokens, expected.tokens);
      assert.equal(info.priority, expected.priority);
      assert.equal(info.parent, expected.parent);
      assert.deepEqual(info.meta, asJson(expected.meta) ?? null);
    }
    const { entries, used_bytes, block_size_bytes } = this.#pool.status();
    assert.equal(entries, this.#model.size);
    // Sealed entries, and those that are written or were replaced while held.
    const least = [...this.#model.values()].reduce(
      (sum, { bytes }) => sum + Math.ceil(bytes.length / block_size_bytes),
      0,
    );
    assert.ok(used_bytes >= least * block_size_bytes);
    for (const { hit, value } of this.#held) {
      assertBytes(hit.bytes, value.bytes);
    }
  }

  /** With nothing held and nothing there, nothing is used. */
  drain(): void {
    for (const { hit } of this.#held.splice(0)) hit.release();
    for (const { slot } of this.#open.splice(0)) slot.abort();
    for (const [key, { bytes }] of this.#model) {
      using hit = this.#other.get(key);
      assertBytes(hit?.bytes, bytes, key);
    }
    for (const key of this.#model.keys()) assert.ok(this.#pool.delete(key));
    const { used_bytes, entries } = this.#pool.status();
    assert.equal(entries, 0);
    assert.equal(used_bytes, 0);
    assertWhole(this.#pool);
  }

  #put(pool: Pool, key: string, value: Value): void {
    this.#makingRoom(key, () => {
      const { bytes, parent, ...options } = value;
      pool.put(key, bytes, { ...options, parent: parent ?? undefined });
    }, () => this.#model.set(key, value));
  }

  #reserve(key: string, value: Value): void {
    this.#makingRoom(undefined, () => {
      const { bytes, parent, ...options } = value;
      const slot = this.#pool.reserve(key, bytes.length, {
        ...options,
        parent: parent ?? undefined,
      });
      this.#open.push({ slot, key, value });
    }, () => {});
  }

  #seal(open: Open | undefined): void {
    if (!open) return;
    const { slot, key, value } = open;
    if (value.tokens % 2 === 0) slot.bytes.set(value.bytes);
    else slot.write(value.bytes);
    slot.seal();
    this.#model.set(key, value);
  }

  /** Runs what may evict, and lets the model lose what may have gone. */
  #makingRoom(own: string | undefined, run: () => void, done: () => void) {
    const { evictions } = this.#pool.status();
    const pinned = new Set(this.#held.map(({ value }) => value));
    let refused = false;
    try {
      run();
    } catch (error) {
      assert.ok(error instanceof NoSpaceError, String(error));
      refused = true;
    }
    let gone = 0;
    for (const [key, value] of this.#model) {
      if (key === own && !refused) continue;
      if (this.#pool.has(key)) continue;
      assert.ok(!pinned.has(value), `${key} was pinned, and is gone`);
      this.#model.delete(key);
      gone++;
    }
    const evicted = this.#pool.status().evictions - evictions;
    // The old value of the key itself may have been the one that had to go.
    assert.ok(evicted === gone || (evicted === gone + 1 && own !== undefined));
    if (!refused) done();
  }

  #get(pool: Pool, key: string, hold: boolean): void {
    const value = this.#model.get(key);
    const hit = pool.get(key);
    assert.equal(hit !== undefined, value !== undefined, key);
    if (!hit || !value) return;
    assertBytes(hit.bytes, value.bytes, key);
    assert.equal(hit.parent ?? null, value.parent);
    assert.deepEqual(hit.meta, asJson(value.meta));
    hit.verify();
    // The other handle is closed now and then, and its hits end with it.
    if (hold && pool === this.#pool) this.#held.push({ hit, value });
    else hit.release();
  }

  #delete(pool: Pool, key: string): void {
    assert.equal(pool.delete(key), this.#model.delete(key));
  }

  #evict(percent: number, dryRun: boolean): void {
    const before = this.#pool.status();
    const pinned = new Set(this.#held.map(({ value }) => value));
    const report = this.#pool.evict({ percent, dryRun });
    const after = this.#pool.status();
    let gone = 0;
    for (const [key, value] of this.#model) {
      if (this.#pool.has(key)) continue;
      assert.ok(!dryRun && !pinned.has(value));
      this.#model.delete(key);
      gone++;
    }
    assert.equal(
      after.used_bytes,
      before.used_bytes - (dryRun ? 0 : report.freed_bytes),
    );
    if (dryRun) return;
    assert.equal(report.evicted_entries, gone);
    const unpinned = [...this.#model.values()].some((v) => !pinned.has(v));
    if (unpinned) {
      assert.ok(report.freed_bytes >= before.used_bytes * percent / 100);
    }
  }

  #match(keys: string[]): void {
    const missing = keys.findIndex((key) => !this.#model.has(key));
    assert.equal(
      this.#pool.match(keys),
      missing === -1 ? keys.length : missing,
    );
    assert.equal(
      this.#other.deepest(keys),
      keys.findLast((key) => this.#model.has(key)),
    );
  }

  #reopen(): void {
    this.#other.close();
    this.#other = this.#temp.open();
  }

  #take<T>(from: T[], at: number): T | undefined {
    return from.splice(at % Math.max(1, from.length), 1)[0];
  }
}

/** What is left of a value after JSON: -0 and the like are not. */
function asJson(value: unknown): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

for (const policy of ["prefix", "lru", "lfu", "fifo", "priority"] as const) {
  test(
    `a pool with policy ${policy} does what a Map does, but for what it evicts`,
    {
      timeout: 60_000,
    },
    () => {
      fc.assert(
        fc.property(
          fc.array(op, { minLength: 30, maxLength: 150 }),
          fc.constantFrom(undefined, 6),
          (ops, maxEntries) => {
            using pair = new Pair(policy, maxEntries);
            ops.forEach((op, i) => {
              pair.run(op);
              if (i % 4 === 3) pair.compare();
            });
            pair.compare();
            pair.drain();
          },
        ),
        { numRuns: cases(150) },
      );
    },
  );
}
