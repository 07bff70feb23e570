import { test } from "node:test";
import assert from "node:assert/strict";
import { POLICY_IDS } from "../../lib/layout.ts";
import {
  type EntryFacts,
  isPolicyName,
  POLICIES,
  type PolicyName,
} from "../../lib/policy/mod.ts";
import { VictimQueue } from "../../lib/victims.ts";

type Named = Partial<EntryFacts> & { name: string };

/** Names in the order in which the policy lets them go. */
function order(policy: PolicyName, entries: readonly Named[], tick = 1000) {
  const candidates = entries.map((given, entry) => ({
    sequence: entry,
    access_tick: entry,
    access_count: 1,
    priority: 0,
    ...given,
    entry,
    blocks: 1,
  }));
  const queue = new VictimQueue(candidates, POLICIES[policy], {
    tick,
    entries: candidates.length,
  });
  const names: string[] = [];
  for (let next = queue.next(); next; next = queue.next()) {
    names.push(entries[next.entry]!.name);
  }
  assert.equal(queue.next(), undefined);
  return names;
}

test("lru evicts what was used the longest ago, however often it was used", () => {
  assert.deepEqual(
    order("lru", [
      { name: "new", access_tick: 9, access_count: 1, sequence: 9 },
      { name: "oldest use", access_tick: 2, access_count: 99, priority: 9 },
      { name: "old, used lately", access_tick: 8, sequence: 0 },
    ]),
    ["oldest use", "old, used lately", "new"],
  );
});

test("fifo evicts what was put in first, however lately it was used", () => {
  assert.deepEqual(
    order("fifo", [
      { name: "third", sequence: 3, access_tick: 1 },
      { name: "first", sequence: 1, access_tick: 99, access_count: 50 },
      { name: "second", sequence: 2, access_tick: 5 },
    ]),
    ["first", "second", "third"],
  );
});

test("lfu evicts what is used least often", () => {
  assert.deepEqual(
    order("lfu", [
      { name: "often", access_count: 50, access_tick: 90 },
      { name: "once", access_count: 1, access_tick: 92 },
      { name: "twice", access_count: 2, access_tick: 91 },
    ], 100),
    ["once", "twice", "often"],
  );
});

test("lfu lets old fame fade", () => {
  // Half-life: 8 accesses an entry. Ten half-lives of idleness outweigh 2^9.
  const entries: Named[] = [
    { name: "famous once", access_count: 512, access_tick: 1000 },
    {
      name: "used twice, now",
      access_count: 2,
      access_tick: 1000 + 8 * 2 * 10,
    },
  ];
  const later = 1000 + 8 * 2 * 10;
  assert.deepEqual(order("lfu", entries, later), [
    "famous once",
    "used twice, now",
  ]);
  // Just idle, it stays.
  assert.deepEqual(
    order("lfu", [
      { name: "famous", access_count: 512, access_tick: 1000 },
      { name: "used twice, now", access_count: 2, access_tick: 1010 },
    ], 1010),
    ["used twice, now", "famous"],
  );
});

test("lfu halves a count for each half-life of idleness", () => {
  const rank = (access_count: number, idle: number) =>
    POLICIES.lfu.rank({
      sequence: 1,
      access_tick: 10_000 - idle,
      access_count,
      priority: 0,
    }, { tick: 10_000, entries: 10 });
  assert.equal(rank(8, 80), rank(4, 0));
  assert.equal(rank(64, 160), rank(16, 0));
  assert.ok(rank(8, 79) > rank(4, 0));
});

test("priority evicts the lowest, and of equals the least recently used", () => {
  assert.deepEqual(
    order("priority", [
      { name: "high", priority: 5, access_tick: 1 },
      { name: "low, used", priority: -3, access_tick: 9 },
      { name: "low, idle", priority: -3, access_tick: 2 },
      { name: "none", priority: 0, access_tick: 3, access_count: 9 },
    ]),
    ["low, idle", "low, used", "none", "high"],
  );
});

test("every policy breaks ties by recency, then by age", () => {
  for (const name of Object.keys(POLICIES) as PolicyName[]) {
    const equal = { access_tick: 5, access_count: 1, priority: 0 };
    assert.deepEqual(
      order(name, [
        { name: "younger", sequence: 2, ...equal },
        { name: "older", sequence: 1, ...equal },
      ]),
      ["older", "younger"],
      name,
    );
  }
});

test("every policy ranks the largest values that a record holds", () => {
  const extremes: EntryFacts[] = [0, 2 ** 53 - 1].flatMap((big) =>
    [0, 2 ** 32 - 1].flatMap((access_count) =>
      [-(2 ** 31), 2 ** 31 - 1].map((priority) => ({
        sequence: big,
        access_tick: big,
        access_count,
        priority,
      }))
    )
  );
  for (const policy of Object.values(POLICIES)) {
    for (const facts of extremes) {
      for (const tick of [0, 2 ** 53 - 1]) {
        for (const entries of [0, 1, 2 ** 22]) {
          const rank = policy.rank(facts, { tick, entries });
          assert.ok(Number.isFinite(rank), `${policy.name}: ${rank}`);
        }
      }
    }
  }
});

test("every policy has a number in the layout, a name and a summary", () => {
  assert.deepEqual(Object.keys(POLICIES), Object.keys(POLICY_IDS));
  for (const [name, policy] of Object.entries(POLICIES)) {
    assert.equal(policy.name, name);
    assert.match(policy.summary, /^evicts /);
    assert.ok(isPolicyName(name));
  }
  // The format's numbers: they never change.
  assert.deepEqual(POLICY_IDS, { lru: 1, lfu: 2, fifo: 3, priority: 4 });
});

test("isPolicyName() is not fooled by what every object has", () => {
  for (const name of ["toString", "__proto__", "constructor", "", "LRU"]) {
    assert.equal(isPolicyName(name), false, name);
  }
});
