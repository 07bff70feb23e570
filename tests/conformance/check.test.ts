import { test } from "node:test";
import assert from "node:assert/strict";
import { checkSteps } from "../../lib/check.ts";
import type { Core } from "../../lib/core.ts";
import { EntryState, NONE, RecordFlag } from "../../lib/layout.ts";
import {
  assertBytes,
  assertWhole,
  bytesOf,
  flipByte,
  keysOf,
  type Pool,
  recordOf,
  recordOffset,
  resealRecord,
  type TempPool,
  tempPool,
  valueOf,
} from "../helpers.ts";

/** One way in which a pool can be damaged, and how check puts it. */
interface Damage {
  readonly what: string;
  readonly says: RegExp;
  readonly values?: boolean;
  /** Keys that repair cannot keep. */
  readonly lost?: readonly string[];
  do(core: Core, temp: TempPool): void;
}

const LONG = "long-" + "k".repeat(500);
const KEYS = ["a", "b", "c", LONG];

/** A pool with all there is: entries, a doomed one that is held, a reservation. */
function furnished() {
  const temp = tempPool({ size: "1M", maxEntries: 64 });
  for (const key of KEYS) temp.pool.put(key, bytesOf(key, 9000), { meta: key });
  const other = temp.open();
  temp.pool.put("doomed", bytesOf("doomed", 5000));
  other.get("doomed");
  temp.pool.delete("doomed");
  other.reserve("reserved", 5000);
  return temp;
}

const word = (
  core: Core,
  entry: number,
  field: Parameters<typeof recordOffset>[2],
  value: number,
) => core.control.u32[recordOffset(core, entry, field) >> 2] = value;

const inState = (core: Core, state: number) => {
  for (let entry = 0; entry < core.table.count; entry++) {
    if (core.table.state(entry) === state) return entry;
  }
  assert.fail(`no record is in state ${state}`);
};

const DAMAGES: readonly Damage[] = [
  {
    what: "a record's checksum",
    says: /record \d+ is damaged \(checksum or bounds\)/,
    lost: ["b"],
    do: (core, temp) =>
      flipByte(temp.name, recordOffset(core, recordOf(core, "b"), "tokens")),
  },
  {
    what: "a record's bounds, under a right checksum",
    says: /record \d+ is damaged \(checksum or bounds\)/,
    lost: ["b"],
    do: (core) => {
      const entry = recordOf(core, "b");
      word(core, entry, "extents", core.geometry.blocks);
      resealRecord(core, entry);
    },
  },
  {
    what: "two records with one block",
    says: /record \d+ claims a block that another owns/,
    lost: ["a", "b"],
    do: (core) => {
      const [a, b] = [recordOf(core, "a"), recordOf(core, "b")];
      word(core, b, "extents", core.table.extents(a)![0]!.start);
      resealRecord(core, b);
    },
  },
  {
    what: "an entry in blocks that were never backed with memory",
    says: /record \d+ lies in blocks that have no memory/,
    do: (core) => {
      const { start } = core.table.extents(recordOf(core, "b"))![0]!;
      core.committed.clear(start, 1);
    },
  },
  {
    what: "an owned block that is free in the free list",
    says: /block \d+ is owned, but free in the free list/,
    do: (core) => {
      const { start } = core.table.extents(recordOf(core, "b"))![0]!;
      core.freeList.clear(start, 1);
    },
  },
  {
    what: "a system block that is free in the free list",
    says: /block 0 is owned, but free in the free list/,
    do: (core) => core.freeList.clear(0, 1),
  },
  {
    what: "a used block that nobody owns",
    says: /block \d+ is used in the free list, but nobody owns it/,
    do: (core) => core.freeList.set(core.geometry.blocks - 1, 1),
  },
  {
    what: "a free record in the index",
    says: /record \d+ is in the index, but holds no entry/,
    do: (core) => {
      const free = inState(core, EntryState.FREE);
      core.links.set(recordOf(core, "a"), free + 1);
    },
  },
  {
    what: "an entry in another key's chain",
    says: /record \d+ is in another key's chain/,
    do: (core) => {
      const entry = recordOf(core, "a");
      const word = core.table.keyWord(entry, 0);
      core.index.remove(entry, word);
      core.index.insert(entry, word ^ 1);
    },
  },
  {
    what: "a used record among the free ones",
    says: /record \d+ is wrongly among the free records/,
    do: (core) => {
      const entry = recordOf(core, "a");
      core.index.remove(entry, core.table.keyWord(entry, 0));
      core.links.set(entry, core.header.get("free_record"));
      core.header.set("free_record", entry + 1);
    },
  },
  {
    what: "a sealed record among the doomed ones",
    // Sweeping them may already have thrown it out of their chain.
    says: /record \d+ is (wrongly among the doomed records|in no chain)/,
    do: (core) => {
      // A doomed chain is swept before a check: hold the entry, or it is freed.
      const entry = recordOf(core, "a");
      core.attachment!.pins.pin(entry);
      core.index.remove(entry, core.table.keyWord(entry, 0));
      core.links.set(entry, core.header.get("doomed_record"));
      core.header.set("doomed_record", entry + 1);
    },
  },
  {
    what: "an entry that is in no chain",
    says: /record \d+ is in no chain/,
    do: (core) => {
      const entry = recordOf(core, "a");
      core.index.remove(entry, core.table.keyWord(entry, 0));
    },
  },
  {
    what: "free records that are in no chain",
    says: /record \d+ is in no chain/,
    do: (core) => core.header.set("free_record", NONE),
  },
  {
    what: "a record in two chains",
    says: /record \d+ is in two chains/,
    do: (core) => {
      const entry = recordOf(core, "a");
      core.links.set(entry, entry + 1);
    },
  },
  {
    what: "a chain that leads out of the table",
    says: /a chain leads to no record/,
    do: (core) => core.header.set("free_record", core.table.count + 1),
  },
  {
    what: "a link that leads out of the table",
    says: /record \d+ is in no chain/,
    do: (core) => {
      const free = core.header.get("free_record") - 1;
      core.links.set(free, core.table.count + 1);
    },
  },
  // Not of the doomed: they are counted anew whenever they are swept.
  ...([
    "entries",
    "reserved",
    "used_blocks",
    "committed_blocks",
  ] as const)
    .map((field): Damage => ({
      what: `a wrong total of ${field}`,
      says: new RegExp(`the header says \\d+ ${field}, not \\d+`),
      do: (core) => core.header.set(field, core.header.get(field) + 3),
    })),
  {
    what: "pins of nobody",
    says: /slot \d+ is nobody's, but pins entries/,
    do: (core) => {
      const slot = core.slots.limit;
      core.header.set("slot_limit", slot + 1);
      core.slots.pins(slot).set(recordOf(core, "a"), 1);
    },
  },
  {
    what: "a wrong count of reservations",
    says: /slot \d+ says 7 reserved, not 0/,
    do: (core) => core.slots.setReserved(core.attachment!.slot, 7),
  },
  {
    what: "a reservation of nobody",
    says: /record \d+ is reserved by nobody/,
    do: (core) =>
      core.table.setOwner(inState(core, EntryState.RESERVED), 120, 1),
  },
  {
    what: "a record in a state that there is not",
    says: /record \d+ is in no known state/,
    lost: ["a"],
    do: (core) => core.table.setState(recordOf(core, "a"), 77),
  },
  {
    what: "spilled text",
    says: /the text of record \d+ is damaged \(checksum\)/,
    lost: [LONG],
    do: (core, temp) => {
      const { geometry } = core;
      const { start } = core.table.extents(recordOf(core, LONG))![0]!;
      flipByte(
        temp.name,
        geometry.data_offset + start * geometry.block_bytes + 9000 + 400,
      );
    },
  },
  {
    what: "an entry with another key's hash",
    says: /entry "c" has another key's hash/,
    lost: ["c"],
    do: (core) => {
      const entry = recordOf(core, "c");
      core.table.keyHash(entry)[3]! ^= 1;
      resealRecord(core, entry);
    },
  },
  {
    what: "a value",
    says: /the value of entry "b" is damaged \(checksum\)/,
    values: true,
    lost: ["b"],
    do: (core, temp) => {
      const { geometry } = core;
      const { start } = core.table.extents(recordOf(core, "b"))![0]!;
      flipByte(
        temp.name,
        geometry.data_offset + start * geometry.block_bytes + 5000,
      );
    },
  },
  {
    what: "two sealed entries with one key",
    says: /key/,
    do: (core) => {
      // As if the older of two had not been doomed: the younger one counts.
      const [a, b] = [recordOf(core, "a"), recordOf(core, "b")];
      core.index.remove(b, core.table.keyWord(b, 0));
      const text = recordOffset(core, b, "text");
      core.control.u8[text] = "a".charCodeAt(0);
      core.table.keyHash(b).set(core.table.keyHash(a));
      resealRecord(core, b);
      core.index.insert(b, core.table.keyWord(b, 0));
    },
    lost: ["b"],
  },
];

function problemsOf(pool: Pool, values?: boolean): string[] {
  const { ok, problems } = pool.check({ values });
  assert.equal(ok, problems.length === 0);
  return problems;
}

test("Pool.check() finds nothing in a pool that is whole", () => {
  using temp = furnished();
  assertWhole(temp.pool);
  assert.deepEqual(problemsOf(temp.pool), []);
  using empty = tempPool();
  assertWhole(empty.pool);
});

for (const damage of DAMAGES) {
  test(`Pool.check() finds ${damage.what}`, () => {
    using temp = furnished();
    damage.do(temp.pool.core, temp);
    const problems = problemsOf(temp.pool, damage.values);
    assert.ok(
      problems.some((problem) => damage.says.test(problem)),
      `it said: ${problems.join("; ") || "nothing"}`,
    );
    // Looking changes nothing.
    assert.deepEqual(problemsOf(temp.pool, damage.values), problems);
  });

  test(`Pool.repair() mends ${damage.what}`, () => {
    using temp = furnished();
    damage.do(temp.pool.core, temp);
    temp.pool.repair({ values: damage.values });
    assertWhole(temp.pool);
    const lost = damage.lost ?? [];
    assert.deepEqual(
      keysOf(temp.pool),
      KEYS.filter((key) => !lost.includes(key)).sort(),
    );
    for (const key of KEYS.filter((key) => !lost.includes(key))) {
      if (damage.what === "two sealed entries with one key" && key === "a") {
        assertBytes(valueOf(temp.pool, "a"), bytesOf("b", 9000));
      } else {
        assertBytes(valueOf(temp.pool, key), bytesOf(key, 9000), key);
      }
    }
    // And the pool goes on.
    temp.pool.put("after", bytesOf("after", 20_000));
    assertBytes(valueOf(temp.pool, "after"), bytesOf("after", 20_000));
    assertWhole(temp.pool);
  });
}

test("Pool.check() reads values only when asked to", () => {
  using temp = furnished();
  const damage = DAMAGES.find(({ what }) => what === "a value")!;
  damage.do(temp.pool.core, temp);
  assert.deepEqual(problemsOf(temp.pool), []);
  assert.equal(problemsOf(temp.pool, true).length, 1);
});

test("a sealed entry without a checksum is damaged, and not to be read", () => {
  using temp = furnished();
  const { core } = temp.pool;
  const entry = recordOf(core, "b");
  const flags = core.table.word(entry, "flags");
  word(core, entry, "flags", flags & ~RecordFlag.VALUE_CRC);
  resealRecord(core, entry);
  assert.match(problemsOf(temp.pool)[0]!, /^record \d+ is damaged/);
  {
    using hit = temp.pool.get("b");
    assert.throws(() => hit?.bytes, { code: "CORRUPT" });
  }
  assert.equal(temp.pool.repair().length, 1);
  assertWhole(temp.pool);
});

test("Pool.repair() says what it dropped, and why", () => {
  using temp = furnished();
  assert.deepEqual(temp.pool.repair({ values: true }), []);
  const { core } = temp.pool;
  const a = recordOf(core, "a"), c = recordOf(core, "c");
  flipByte(temp.name, recordOffset(core, a, "text"));
  const { start } = core.table.extents(recordOf(core, "b"))![0]!;
  flipByte(temp.name, core.geometry.data_offset + start * 4096);
  core.table.setState(c, 99);
  const dropped = temp.pool.repair({ values: true });
  dropped.sort((x, y) => x.reason < y.reason ? -1 : 1);
  assert.deepEqual(dropped, [
    {
      key: null, // its text is what was damaged
      size_bytes: null,
      reason: `record ${a} is damaged (checksum or bounds)`,
    },
    {
      key: "c",
      size_bytes: 9000,
      reason: `record ${c} is in the index, but holds no entry`,
    },
    {
      key: "b",
      size_bytes: 9000,
      reason: 'the value of entry "b" is damaged (checksum)',
    },
  ]);
  assert.deepEqual(keysOf(temp.pool), [LONG]);
  assertWhole(temp.pool);
});

test("Pool.repair() reads values that it may touch only once the tables are right", () => {
  using temp = tempPool();
  temp.pool.put("key", bytesOf("key", 9000));
  const { core } = temp.pool;
  const entry = recordOf(core, "key");
  for (const { start, count } of core.table.extents(entry)!) {
    core.committed.clear(start, count);
  }
  // The checksum of nothing at all.
  core.control.u32[recordOffset(core, entry, "value_crc") >> 2] = 0;
  resealRecord(core, entry);
  const dropped = temp.pool.repair({ values: true });
  assert.deepEqual(dropped.map(({ key }) => key), ["key"]);
  assertWhole(temp.pool);
});

test("Pool.check() of values lets others write meanwhile, and sees what they do", () => {
  using temp = tempPool({ size: "4M", maxEntries: 64 });
  for (let i = 0; i < 20; i++) temp.pool.put(`k${i}`, bytesOf(i, 50_000));
  const other = temp.open({ lockTimeout_ms: 0 });
  const steps = checkSteps(temp.pool.core, { values: true });
  let step = steps.next();
  for (let i = 0; !step.done; i++, step = steps.next()) {
    // With a lock that is to be had at once, or this throws.
    other.put(`new${i}`, bytesOf(i, 10_000));
    other.delete(`k${i + 3}`);
  }
  assert.deepEqual(step.value, { ok: true, problems: [] });
  assert.equal(temp.pool.core.slots.allPins().count(), 0);
  assertWhole(temp.pool);
});

test("Pool.check() tells of a run of blocks once", () => {
  using temp = furnished();
  const { core } = temp.pool;
  const { blocks } = core.geometry;
  core.freeList.set(blocks - 40, 40);
  assert.deepEqual(problemsOf(temp.pool), [
    `blocks ${blocks - 40} to ${
      blocks - 1
    } are used in the free list, but nobody owns them`,
  ]);
});

test("Pool.repair() keeps what others hold and write", () => {
  using temp = tempPool({ size: "1M", maxEntries: 64 });
  const other = temp.open();
  temp.pool.put("held", bytesOf("held", 5000));
  const hit = other.get("held")!;
  temp.pool.delete("held");
  const slot = other.reserve("written", 5000);
  slot.bytes.set(bytesOf("written", 5000));
  assert.deepEqual(temp.pool.repair({ values: true }), []);
  temp.pool.put("new", bytesOf("new", 300_000));
  assertBytes(hit.bytes, bytesOf("held", 5000));
  slot.seal();
  assertBytes(valueOf(temp.pool, "written"), bytesOf("written", 5000));
  hit.release();
  assertWhole(temp.pool);
});
