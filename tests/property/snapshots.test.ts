/**
 * 1,000 random lives of a pool, saved again and again and restored: every entry
 * comes back equal in value, key, metadata, times, counts and parents.
 */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { test } from "node:test";
import { cases, fc } from "../cases.ts";
import { persist, Pool, restore, verifySnapshot } from "../../lib/mod.ts";
import { bytesOf } from "../helpers.ts";
import { contentsOf, TempSnapshot } from "../snapshots.ts";

const aKey = fc.oneof(
  fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h"),
  fc.string({ minLength: 1, maxLength: 60, unit: "binary" })
    .filter((key) => key.isWellFormed()),
);

const aStep = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      step: fc.constant("put" as const),
      key: aKey,
      // Around the sizes at which a value gets pages of its own, and more blocks.
      size_bytes: fc.oneof(
        fc.nat({ max: 9000 }),
        fc.integer({ min: 32_760, max: 33_000 }),
        fc.constantFrom(0, 4096, 32_768, 65_536, 120_001),
      ),
      parent: fc.option(aKey, { nil: undefined }),
      tokens: fc.nat(),
      priority: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
      meta: fc.option(fc.jsonValue({ maxDepth: 2 }), { nil: undefined }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ step: fc.constant("get" as const), key: aKey }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ step: fc.constant("delete" as const), key: aKey }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      step: fc.constant("persist" as const),
      full: fc.boolean(),
      compress: fc.boolean(),
      dead_percent: fc.constantFrom(0, 50, 100),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      step: fc.constant("evict" as const),
      percent: fc.nat({ max: 40 }),
    }),
  },
);

type Step = typeof aStep extends fc.Arbitrary<infer T> ? T : never;

function take(pool: Pool, step: Step, path: string): void {
  switch (step.step) {
    case "put": {
      const { key, size_bytes, parent, tokens, priority, meta } = step;
      const checksum = size_bytes % 3 === 0
        ? "persist" as const
        : "put" as const;
      const options = { parent, tokens, priority, meta, checksum };
      pool.put(key, bytesOf(key + tokens, size_bytes), options);
      return;
    }
    case "get":
      pool.get(step.key)?.release();
      return;
    case "delete":
      pool.delete(step.key);
      return;
    case "evict":
      pool.evict({ percent: step.percent });
      return;
    case "persist":
      persist(pool, { path, ...step });
  }
}

const COUNTS = [
  "uuid",
  "created_at",
  "policy",
  "namespace",
  "size_bytes",
  "max_entries",
  "entries",
  "used_bytes",
  "hits",
  "misses",
  "puts",
  "evictions",
  "deletes",
] as const;

test("1,000 lives of pools go to disk and come back as they were", () => {
  using place = new TempSnapshot();
  const { name } = place;
  let life = 0;
  fc.assert(
    fc.property(
      fc.array(aStep, { maxLength: 20 }),
      fc.constantFrom("lru", "lfu", "fifo", "priority"),
      fc.constantFrom("", "nämespace"),
      (steps, policy, namespace) => {
        const path = `${place.path}/${++life}`;
        try {
          let before: ReturnType<typeof contentsOf>, status;
          {
            using pool = Pool.create(name, {
              size: "1M",
              policy,
              namespace,
              maxEntries: 20,
            });
            for (const step of steps) take(pool, step, path);
            const report = persist(pool, { path });
            assert.equal(report.skipped + report.damaged, 0);
            status = pool.status();
            before = contentsOf(pool);
            assert.equal(report.entries, before.length);
          }
          place.destroy();
          const report = restore(name, { path });
          assert.equal(report.entries, before.length);
          assert.equal(report.damaged + report.left_out + report.present, 0);
          using pool = Pool.open(name);
          const after = pool.status();
          for (const field of COUNTS) {
            assert.deepEqual(after[field], status[field], field);
          }
          assert.deepEqual(contentsOf(pool), before);
          assert.deepEqual(pool.check({ values: true }).problems, []);
          if (life % 10 === 0) {
            assert.deepEqual(verifySnapshot(name, { path }).problems, []);
          }
        } finally {
          place.destroy();
          rmSync(path, { recursive: true, force: true });
        }
      },
    ),
    { numRuns: cases(1000) },
  );
});
