/** One suite over every policy: what all of them keep, and what each promises. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { cases, fc } from "../cases.ts";
import { POLICY_IDS } from "../../lib/layout.ts";
import {
  isPolicyName,
  POLICIES,
  type PolicyName,
} from "../../lib/policy/mod.ts";
import { type HostFacts, Replacement } from "../../lib/policy/replacement.ts";

const NAMES = Object.keys(POLICIES) as PolicyName[];

/** Entries as a host would have them, and a policy that is told of them. */
class Host {
  readonly replacement: Replacement;
  readonly present = new Set<number>();
  /** How often somebody was told of an entry's uses. */
  told = 0;
  readonly #ticks = new Map<number, number>();
  readonly #uses = new Map<number, number>();
  readonly #orders = new Map<number, number>();
  readonly #given = new Map<number, Partial<Given>>();
  readonly #keys = new Map<number, number>();
  #tick = 0;

  constructor(policy: PolicyName, capacity = 64) {
    const facts: HostFacts = {
      weight: (entry) => this.#given.get(entry)?.weight ?? 1,
      keyLow: (entry) => this.#keys.get(entry)! * 2654435761 >>> 0,
      keyHigh: (entry) => this.#keys.get(entry)!,
      tick: (entry) => this.#ticks.get(entry)!,
      uses: (entry) => {
        this.told++;
        return this.#uses.get(entry)!;
      },
      order: (entry) => this.#orders.get(entry)!,
      priority: (entry) => this.#given.get(entry)?.priority ?? 0,
      expires_at: (entry) => this.#given.get(entry)?.expires_at ?? 0,
    };
    this.replacement = Replacement.fresh(policy, capacity, facts);
  }

  put(entry: number, given: Partial<Given> = {}, key = entry): this {
    this.#ticks.set(entry, ++this.#tick);
    this.#orders.set(entry, this.#tick);
    this.#uses.set(entry, given.uses ?? 1);
    this.#given.set(entry, given);
    this.#keys.set(entry, key);
    this.present.add(entry);
    this.replacement.tellUses();
    this.replacement.insert(entry, given.parent ?? -1);
    return this;
  }

  use(entry: number, times = 1): this {
    for (let i = 0; i < times; i++) {
      this.#ticks.set(entry, ++this.#tick);
      this.#uses.set(entry, this.#uses.get(entry)! + 1);
      this.replacement.noteUse(entry);
    }
    return this;
  }

  evict(mayGo: (entry: number) => boolean = () => true, now = 0): number {
    this.replacement.tellUses();
    this.replacement.pressed();
    const entry = this.replacement.victim(mayGo, now);
    if (entry !== -1) this.remove(entry, true);
    return entry;
  }

  remove(entry: number, evicted = false): void {
    this.replacement.remove(entry, evicted);
    this.present.delete(entry);
  }

  /** Evicts a batch, remembered all together as by a pool, or one by one. */
  evictBatch(most: number, together: boolean): number[] {
    this.replacement.tellUses();
    this.replacement.pressed();
    const gone: number[] = [];
    while (gone.length < most) {
      const entry = this.replacement.victim(() => true, 0);
      if (entry === -1) break;
      if (together) this.replacement.letGo(entry);
      else this.replacement.remove(entry, true);
      gone.push(entry);
    }
    this.replacement.remember();
    for (const entry of gone) this.present.delete(entry);
    return gone;
  }

  /** Everything, in the order in which it goes. */
  order(mayGo?: (entry: number) => boolean, now = 0): number[] {
    const gone: number[] = [];
    for (;;) {
      const entry = this.evict(mayGo, now);
      if (entry === -1) return gone;
      gone.push(entry);
    }
  }
}

interface Given {
  readonly weight: number;
  readonly uses: number;
  readonly priority: number;
  readonly expires_at: number;
  readonly parent: number;
}

for (const name of NAMES) {
  test(`${name} lets every entry go once, and only what may`, () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("put" as const), entry: fc.nat(31) }),
      fc.record({ do: fc.constant("use" as const), entry: fc.nat(31) }),
      fc.record({ do: fc.constant("evict" as const), entry: fc.nat(31) }),
      fc.record({ do: fc.constant("delete" as const), entry: fc.nat(31) }),
    );
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 200 }),
        fc.uniqueArray(fc.nat(31), { maxLength: 8 }),
        (steps, pins) => {
          const host = new Host(name, 32);
          const pinned = new Set(pins);
          for (const { do: what, entry } of steps) {
            if (what === "evict") {
              const gone = host.evict((one) => !pinned.has(one));
              assert.ok(!pinned.has(gone));
              const free = [...host.present].filter((one) => !pinned.has(one));
              assert.ok(gone !== -1 || free.length === 0, "it found none");
            } else if (what === "put" && !host.present.has(entry)) {
              const parent = entry > 0 && host.present.has(entry - 1)
                ? entry - 1
                : -1;
              host.put(entry, { parent, weight: 1 + entry % 3 });
            } else if (host.present.has(entry)) {
              if (what === "use") host.use(entry);
              else if (what === "delete") host.remove(entry);
            }
          }
          const left = [...host.present].sort((a, b) => a - b);
          assert.deepEqual(host.order().sort((a, b) => a - b), left);
        },
      ),
      { numRuns: cases(60) },
    );
  });

  test(`${name} lets many go together as it lets one go after the other`, () => {
    const put = fc.record({
      key: fc.nat(60),
      priority: fc.constantFrom(0, 0, 0, 1),
      uses: fc.nat(2),
      evicted: fc.nat(12),
    });
    fc.assert(
      fc.property(fc.array(put, { maxLength: 150 }), (puts) => {
        const one = new Host(name, 16), many = new Host(name, 16);
        for (const { key, priority, uses, evicted } of puts) {
          const count = one.present.size < 16 ? 0 : 1 + evicted;
          const gone = one.evictBatch(count, false);
          assert.deepEqual(many.evictBatch(count, true), gone);
          let entry = 0;
          while (one.present.has(entry)) entry++;
          const parent = one.present.has(entry - 1) ? entry - 1 : -1;
          for (const host of [one, many]) {
            host.put(entry, { priority, parent }, key).use(entry, uses);
          }
        }
        assert.deepEqual(many.replacement.save(), one.replacement.save());
        assert.deepEqual(many.order(), one.order());
      }),
      { numRuns: cases(60) },
    );
  });

  test(`${name} lets the lowest priority go first, whatever was used`, () => {
    const host = new Host(name);
    host.put(0, { priority: 5 }).put(1).put(2, { priority: -3 }).put(3);
    host.put(4, { priority: -3 }).put(5, { priority: 5 });
    host.use(2, 9).use(0);
    const order = host.order();
    // Of one priority other than 0, the one used the longest ago.
    assert.deepEqual(order.slice(0, 2), [4, 2]);
    assert.deepEqual(order.slice(2, 4).sort(), [1, 3]);
    assert.deepEqual(order.slice(4), [5, 0]);
  });

  test(`${name} lets go first what has expired, but nothing that may not go`, () => {
    const host = new Host(name);
    host.put(0).put(1, { expires_at: 500 }).put(2, { expires_at: 100 });
    host.put(3, { expires_at: 50, priority: 9 }).put(4);
    host.use(1, 5).use(2, 5);
    assert.equal(host.evict((entry) => entry !== 3, 200), 2);
    assert.equal(host.evict(() => true, 200), 3);
    // The other's time has not come.
    assert.notEqual(host.evict(() => true, 400), 1);
  });

  test(`${name} is not misled by a use of what has just gone`, () => {
    const host = new Host(name, 16);
    for (let i = 0; i < 16; i++) host.put(i);
    for (let i = 0; i < 16; i++) {
      const gone = host.evict();
      assert.notEqual(gone, -1);
      host.use(gone);
    }
    assert.equal(host.evict(), -1);
    host.put(3);
    assert.deepEqual(host.order(), [3]);
  });

  test(`${name} takes back what it saved, and nothing that cannot be right`, () => {
    const host = new Host(name, 8);
    for (let i = 0; i < 200; i++) {
      if (host.present.size === 8) host.evict();
      const entry = [0, 1, 2, 3, 4, 5, 6, 7].find((one) =>
        !host.present.has(one)
      )!;
      host.put(entry, {}, i % 23);
    }
    const saved = host.replacement.save();
    const other = new Host(name, 8);
    other.replacement.restore(saved);
    assert.deepEqual(other.replacement.save(), saved);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const third = new Host(name, 8);
        third.replacement.restore(bytes);
        third.put(1).put(2).use(1);
        assert.equal(third.order().length, 2);
      }),
      { numRuns: cases(50) },
    );
  });
}

test("lru evicts what was used the longest ago, however often it was used", () => {
  const host = new Host("lru").put(0).put(1).put(2).use(1, 9).use(0);
  assert.deepEqual(host.order(), [2, 1, 0]);
});

test("many uses are told some at a time, which costs no order", () => {
  const count = 4000;
  for (const policy of ["lru", "priority"] as const) {
    const host = new Host(policy, count);
    for (let entry = 0; entry < count; entry++) host.put(entry);
    const used = Array.from({ length: count }, (_, i) => i * 1567 % count);
    for (const entry of used) host.use(entry);
    host.told = 0;
    host.replacement.tellUses();
    assert.ok(host.told > 0 && host.told < 300, `${host.told} at once`);
    assert.deepEqual(host.order(), used);
  }
});

test("fifo evicts what was put in first, however lately it was used", () => {
  assert.deepEqual(new Host("fifo").put(2).put(0).put(1).use(2, 9).order(), [
    2,
    0,
    1,
  ]);
});

test("lfu evicts what is used least often", () => {
  const host = new Host("lfu").put(0).put(1).put(2).use(0, 50).use(2, 1);
  assert.deepEqual(host.order(), [1, 2, 0]);
});

test("lfu lets old fame fade", () => {
  const host = new Host("lfu").put(0).put(1).use(0, 500);
  host.replacement.tellUses();
  // Its half-life is 8 accesses an entry; ten of them outweigh 2^9.
  for (let i = 0; i < 200; i++) {
    host.use(1);
    host.replacement.tellUses();
  }
  host.put(2).use(2).use(2);
  assert.equal(host.evict(), 0);
});

test("priority evicts the lowest, and of equals the least recently used", () => {
  const host = new Host("priority");
  host.put(0, { priority: 5 }).put(1, { priority: -3 }).put(2).put(3);
  host.use(2);
  assert.deepEqual(host.order(), [1, 3, 2, 0]);
});

test("sieve spares once what was used since it came by", () => {
  const host = new Host("sieve").put(0).put(1).put(2).put(3).use(0).use(2);
  assert.deepEqual([host.evict(), host.evict()], [1, 3]);
  assert.deepEqual([host.evict(), host.evict()], [0, 2]);
});

test("s3fifo evicts one-off entries before those that were used", () => {
  const host = new Host("s3fifo", 16);
  for (let i = 0; i < 10; i++) host.put(i);
  host.use(0).use(1);
  const order = host.order();
  assert.deepEqual(order.slice(-2).sort(), [0, 1]);
});

test("s3fifo and arc keep what comes back after it was evicted", () => {
  for (const name of ["s3fifo", "arc"] as const) {
    const host = new Host(name, 8);
    for (let i = 0; i < 8; i++) host.put(i, {}, i);
    const gone = host.evict();
    host.put(gone, {}, gone); // the key comes back
    for (let key = 100; key < 107; key++) {
      const entry = host.evict();
      assert.notEqual(entry, gone, name);
      host.put(entry, {}, key);
    }
  }
});

/** Puts and uses after which a parent is on probation, and its children are not. */
const LONE_PARENT = (
  "p0 p0 p0 p0 p0 p0 p0 p0 p0 p0 p0 p0 p0 p0 p0 p1 p0 p0 p0 p0 p0 p0 " +
  "p0 p0 u0 p0 p2 p1 p1 p20 p1 u0 p0 u0 p1 p1 p1 p1 p1 p1 p0 p0 u34 " +
  "u17 p2 p0 p0 p2 p0 p0 p0 p1 p0"
).split(" ").map((step): [number, boolean] => [
  Number(step.slice(1)),
  step[0] === "u",
]);

test("prefix lets children go before their parents", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(40), fc.boolean()), { minLength: 30 }),
      (steps) => {
        const host = new Host("prefix", 16);
        const parents = new Map<number, number>();
        for (const [number, uses] of steps) {
          const present = [...host.present];
          const some = present[number % Math.max(1, present.length)];
          if (uses && some !== undefined) {
            host.use(some);
            continue;
          }
          if (host.present.size === 16) {
            const gone = host.evict();
            for (const child of host.present) {
              assert.notEqual(parents.get(child), gone, "it had a child");
            }
          }
          const free = Array.from({ length: 16 }, (_, i) => i)
            .find((one) => !host.present.has(one))!;
          const parent = some !== undefined && host.present.has(some)
            ? some
            : -1;
          parents.delete(free);
          for (const [child, of] of parents) {
            if (of === free) parents.delete(child);
          }
          parents.set(free, parent);
          host.put(free, { parent }, number * 1000 + parents.size);
        }
      },
    ),
    { numRuns: cases(100), examples: [[LONE_PARENT]] },
  );
});

test("every policy has a number in the layout, a name and a summary", () => {
  assert.deepEqual(NAMES, Object.keys(POLICY_IDS));
  for (const [name, policy] of Object.entries(POLICIES)) {
    assert.equal(policy.name, name);
    assert.match(policy.summary, /\w{5}/);
    assert.ok(isPolicyName(name));
  }
  // The format's numbers: they never change.
  assert.deepEqual(POLICY_IDS, {
    lru: 1,
    lfu: 2,
    fifo: 3,
    priority: 4,
    sieve: 5,
    s3fifo: 6,
    arc: 7,
    prefix: 8,
  });
});

test("isPolicyName() is not fooled by what every object has", () => {
  for (const name of ["toString", "__proto__", "constructor", "", "LRU"]) {
    assert.equal(isPolicyName(name), false, name);
  }
});

test("what is pinned is not passed over again and again", () => {
  for (const name of NAMES) {
    const host = new Host(name, 1200);
    for (let i = 0; i < 1000; i++) host.put(i, { priority: 5 });
    for (let i = 1000; i < 1200; i++) host.put(i);
    let asked = 0;
    const mayGo = (entry: number) => (asked++, entry >= 1000);
    for (let i = 0; i < 100; i++) assert.ok(host.evict(mayGo) >= 1000);
    assert.ok(asked < 2000, `${name}: ${asked}`);
  }
});

test("prefix passes over what is pinned once", () => {
  const host = new Host("prefix", 1200);
  for (let i = 0; i < 1200; i++) host.put(i);
  let asked = 0;
  const mayGo = (entry: number) => (asked++, entry >= 1000);
  for (let i = 0; i < 100; i++) assert.ok(host.evict(mayGo) >= 1000);
  assert.ok(asked < 2000, `${asked}`);
});
