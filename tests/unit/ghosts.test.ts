/** What is remembered of what has gone: first in, first out, and found by key. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { cases, fc } from "../cases.ts";
import { Ghosts } from "../../lib/policy/ghosts.ts";
import { Memory } from "../../lib/policy/memory.ts";

function ghostsOf(capacity: number): Ghosts {
  const size = Memory.measure();
  new Ghosts(size, capacity);
  return new Ghosts(Memory.over(new ArrayBuffer(size.used_bytes)), capacity);
}

/** Few keys in few buckets, so that chains grow long and places are used again. */
const KEY = fc.nat(11);
const low = (key: number) => (key % 3) * 4 + 1;
const STEP = fc.oneof(
  fc.record({ do: fc.constant("add" as const), key: KEY }),
  fc.record({ do: fc.constant("take" as const), key: KEY }),
  fc.record({ do: fc.constant("drop" as const), key: KEY }),
);

test("ghosts are what a list of them would be, whatever is added, taken and dropped", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 7 }),
      fc.array(STEP, { maxLength: 120 }),
      (capacity, steps) => {
        const ghosts = ghostsOf(capacity);
        /** Keys and when they were added, oldest first. */
        const model: { key: number; uses: number }[] = [];
        steps.forEach(({ do: what, key }, uses) => {
          const at = model.findIndex((one) => one.key === key);
          if (what === "add" && at === -1) {
            if (ghosts.isFull) {
              assert.equal(ghosts.dropOldest()?.high, model.shift()!.key);
            }
            ghosts.add(low(key), key, 1 + key, { uses, note: key });
            model.push({ key, uses });
          } else if (what === "take") {
            const taken = ghosts.take(low(key), key);
            assert.equal(taken?.uses, model[at]?.uses);
            if (at !== -1) model.splice(at, 1);
          } else if (what === "drop") {
            assert.equal(ghosts.dropOldest()?.high, model.shift()?.key);
          }
          assert.equal(ghosts.count, model.length);
          const weight = model.reduce((sum, one) => sum + 1 + one.key, 0);
          assert.equal(ghosts.weight, weight);
          for (let one = 0; one <= 11; one++) {
            const isThere = model.some((ghost) => ghost.key === one);
            assert.equal(ghosts.has(low(one), one), isThere, `key ${one}`);
          }
          assert.deepEqual(
            [...ghosts.all()].map(({ high, uses }) => ({ key: high, uses })),
            model,
          );
        });
      },
    ),
    { numRuns: cases(300) },
  );
});
