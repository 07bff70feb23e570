import { test } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { POLICIES, type PolicyName } from "../../lib/policy/mod.ts";
import { type Candidate, VictimQueue } from "../../lib/victims.ts";

const candidate = fc.record({
  access_tick: fc.nat(20),
  access_count: fc.integer({ min: 1, max: 9 }),
  priority: fc.integer({ min: -2, max: 2 }),
  blocks: fc.nat(9),
});

test("VictimQueue gives candidates in the order a full sort would", () => {
  fc.assert(fc.property(
    fc.array(candidate, { maxLength: 60 }),
    fc.constantFrom<PolicyName>("lru", "lfu", "fifo", "priority"),
    (given, name) => {
      const policy = POLICIES[name];
      const candidates: Candidate[] = given.map((one, entry) => ({
        ...one,
        entry,
        sequence: entry,
      }));
      const context = { tick: 30, entries: candidates.length };
      const sorted = [...candidates].sort((a, b) =>
        policy.rank(a, context) - policy.rank(b, context) ||
        a.access_tick - b.access_tick || a.sequence - b.sequence
      );
      const queue = new VictimQueue(candidates, policy, context);
      assert.deepEqual(
        candidates.map(() => queue.next()?.entry),
        sorted.map(({ entry }) => entry),
      );
      assert.equal(queue.next(), undefined);
    },
  ));
});

test("VictimQueue gives nothing from nothing", () => {
  const queue = new VictimQueue([], POLICIES.lru, { tick: 0, entries: 0 });
  assert.equal(queue.next(), undefined);
});
