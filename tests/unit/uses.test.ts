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
    const isLast = found.length + some.length === CAPACITY;
    assert.ok(some.length >= 3000 || isLast, `${some.length}`);
    assert.ok(some.length < 3000 + 32, `${some.length}`);
    found.push(...some);
    assert.ok(times < CAPACITY / 3000 + 1);
  }
  assert.deepEqual(found, Array.from({ length: CAPACITY }, (_, i) => i));
});

test("each has its turn, however often the first of them are used again", () => {
  const uses = usesOf(CAPACITY);
  const waiting = new Set<number>();
  for (let entry = 0; entry < CAPACITY; entry++) {
    uses.note(entry);
    waiting.add(entry);
  }
  for (let times = 0; waiting.size > 0; times++) {
    for (const entry of uses.takeAll(100)) waiting.delete(entry);
    for (let entry = 0; entry < 2000; entry++) uses.note(entry);
    assert.ok(times <= CAPACITY / 100);
  }
});

test("what is noted while others take is taken then or later", () => {
  const entry = fc.nat(3000);
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          used: fc.array(entry, { maxLength: 60 }),
          most: fc.nat(70),
        }),
      ),
      (rounds) => {
        const uses = usesOf(3001);
        const waiting = new Set<number>();
        for (const { used, most } of rounds) {
          for (const one of used) {
            uses.note(one);
            waiting.add(one);
          }
          for (const one of uses.takeAll(most)) {
            assert.ok(waiting.delete(one), "it was not used");
          }
        }
        const left = uses.takeAll(Infinity).sort((a, b) => a - b);
        assert.deepEqual(left, [...waiting].sort((a, b) => a - b));
        assert.deepEqual(uses.takeAll(Infinity), []);
      },
    ),
    { numRuns: cases(100) },
  );
});
