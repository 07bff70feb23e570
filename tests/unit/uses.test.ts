/** Which entries were used: noted without a lock, taken under it. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { cases, fc } from "../cases.ts";
import { Memory } from "../../lib/policy/memory.ts";
import { Uses } from "../../lib/policy/uses.ts";

const CAPACITY = 70_000; // several words of every map

function usesOf(capacity: number): Uses {
  const size = Memory.measure();
  new Uses(size, capacity);
  return new Uses(Memory.over(new ArrayBuffer(size.used_bytes)), capacity);
}

test("every use that was noted is taken once, in the order of entries", () => {
  const entry = fc.nat(CAPACITY - 1);
  fc.assert(
    fc.property(
      fc.array(fc.uniqueArray(entry, { maxLength: 40 }), { maxLength: 5 }),
      fc.nat(39),
      (rounds, taken) => {
        const uses = usesOf(CAPACITY);
        for (const used of rounds) {
          for (const one of used) uses.note(one);
          const first = used[taken];
          if (first !== undefined) {
            assert.ok(uses.take(first));
            assert.ok(!uses.take(first));
          }
          const left = used.filter((one) => one !== first);
          assert.deepEqual(
            uses.takeAll(Infinity),
            left.sort((a, b) => a - b),
          );
        }
        assert.deepEqual(uses.takeAll(Infinity), []);
      },
    ),
    { numRuns: cases(50) },
  );
});

test("what is too much for one time is left for another, and none is lost", () => {
  const uses = usesOf(CAPACITY);
  for (let entry = 0; entry < CAPACITY; entry++) uses.note(entry);
  const found: number[] = [];
  for (let times = 0; found.length < CAPACITY; times++) {
    const some = uses.takeAll(3000);
    assert.ok(some.length > 0 && some.length < 3000 + 1024, `${some.length}`);
    found.push(...some);
    assert.ok(times < CAPACITY / 3000 + 1);
  }
  assert.deepEqual(found, Array.from({ length: CAPACITY }, (_, i) => i));
});
