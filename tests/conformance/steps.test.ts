/** Changes one step after the other: a writer dies, or a reader comes, at any of them. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { NONE } from "../../lib/layout.ts";
import {
  assertBytes,
  assertWhole,
  bytesOf,
  markDirty,
  Pool,
  tempPool,
  valueOf,
} from "../helpers.ts";
import { runUntilWrite, runWithinRead } from "../steps.ts";

const BLOCK = 4096;

// --------------------------------------------------- killed at every write

/** Somebody does something, and is killed before his n-th write. */
interface Deed {
  readonly what: string;
  /** Keys, and what each may hold afterwards; `undefined` is absent. */
  readonly may: Readonly<Record<string, readonly (string | undefined)[]>>;
  /** Look-ups may miss until somebody has worked the index out again. */
  readonly blind?: boolean;
  readonly size?: number;
  /** What is so already when he comes. */
  before?(pool: Pool): void;
  do(victim: Pool, name: string): void;
}

const LONG = "long-" + "k".repeat(400);
const BEFORE: Record<string, string> = {
  a: "a",
  b: "b",
  c: "c",
  d: "d",
  [LONG]: "long",
};
const SIZE = 5000;

const DEEDS: readonly Deed[] = [
  {
    what: "putting a new entry",
    may: { n: [undefined, "n"] },
    do: (victim) => victim.put("n", bytesOf("n", SIZE)),
  },
  {
    what: "putting an entry with spilled text",
    may: { n: [undefined, "n"] },
    do: (victim) =>
      victim.put("n", bytesOf("n", SIZE), { meta: "m".repeat(2000) }),
  },
  {
    what: "replacing an entry",
    may: { a: ["a", "new"] },
    do: (victim) => victim.put("a", bytesOf("new", SIZE)),
  },
  {
    what: "replacing an entry that is held",
    may: { b: ["b", "new"] },
    do: (victim) => victim.put("b", bytesOf("new", SIZE)),
  },
  {
    what: "deleting an entry",
    may: { a: ["a", undefined] },
    do: (victim) => victim.delete("a"),
  },
  {
    what: "deleting an entry that is held",
    may: { b: ["b", undefined] },
    do: (victim) => victim.delete("b"),
  },
  {
    what: "evicting",
    may: { a: ["a", undefined], c: ["c", undefined], d: ["d", undefined] },
    do: (victim) => victim.evict({ percent: 60 }),
  },
  {
    what: "putting under pressure",
    may: {
      a: ["a", undefined],
      c: ["c", undefined],
      d: ["d", undefined],
      n: ["n", undefined],
    },
    size: 35 * BLOCK,
    do: (victim) => victim.put("n", bytesOf("n", 35 * BLOCK)),
  },
  {
    what: "reserving and giving back",
    may: {},
    do: (victim) => {
      victim.reserve("n", SIZE).abort();
    },
  },
  {
    what: "reserving twice and sealing the older",
    may: { a: ["a", "new"] },
    do: (victim) => {
      const older = victim.reserve("a", SIZE);
      victim.reserve("a", SIZE);
      older.write(bytesOf("new", SIZE));
      older.seal();
    },
  },
  {
    what: "letting a deleted entry go",
    may: { a: ["a", undefined] },
    do: (victim) => {
      const hit = victim.get("a")!;
      victim.delete("a");
      hit.release();
    },
  },
  {
    what: "opening",
    may: {},
    do: (_, name) => Pool.open(name).close(),
  },
  {
    what: "closing with pins and reservations",
    may: {},
    do: (victim) => {
      victim.get("a");
      victim.reserve("n", SIZE);
      victim.close();
    },
  },
  {
    what: "checking",
    may: {},
    do: (victim) => victim.check({ values: true }),
  },
  {
    what: "repairing",
    may: {},
    blind: true,
    do: (victim) => victim.repair({ values: true }),
  },
  {
    what: "working out what another left",
    may: { n: [undefined, "n"] },
    blind: true,
    before: ({ core }) => {
      core.freeList.set(core.geometry.blocks - 3, 2);
      core.header.set("free_record", NONE);
      markDirty(core);
    },
    do: (victim) => {
      victim.put("n", bytesOf("n", SIZE));
      victim.delete("n");
    },
  },
];

/** What a key holds, by the seed of its bytes. */
function seedOf(
  pool: Pool,
  key: string,
  seeds: readonly (string | undefined)[],
  size: number,
): string | undefined {
  const value = valueOf(pool, key);
  if (value === undefined) return undefined;
  for (const seed of seeds) {
    if (seed === undefined) continue;
    const length = key === "n" ? size : SIZE;
    if (Buffer.compare(value, bytesOf(seed, length)) === 0) return seed;
  }
  return "bytes that nobody put";
}

function furnished() {
  const temp = tempPool({ size: "256K", maxEntries: 16 });
  for (const [key, seed] of Object.entries(BEFORE)) {
    temp.pool.put(key, bytesOf(seed, SIZE));
  }
  const hit = temp.pool.get("b")!;
  return { temp, hit };
}

function assertAllowed(pool: Pool, deed: Deed, when: string, blind = false) {
  const size = deed.size ?? SIZE;
  for (const key of [...Object.keys(BEFORE), "n"]) {
    const may = deed.may[key] ?? [BEFORE[key]];
    const seed = seedOf(pool, key, may, size);
    assert.ok(
      may.includes(seed) || (blind && seed === undefined),
      `${when}: ${key} holds ${seed}, not one of ${may.join()}`,
    );
  }
}

for (const deed of DEEDS) {
  test(
    `a process killed at any write while ${deed.what} costs nobody else anything`,
    {
      timeout: 30_000,
    },
    () => {
      let done = false;
      for (let at = 1; !done; at++) {
        const { temp, hit } = furnished();
        using _temp = temp;
        const survivor = temp.pool;
        const victim = temp.open();
        done = runUntilWrite(at, () => deed.do(victim, temp.name));
        // Death closes every descriptor, and so frees its locks.
        victim.core.close();
        const when = done ? "done" : `killed at write ${at}`;

        // Readers need nobody to clear up first.
        assertAllowed(survivor, deed, `${when}, readers`, deed.blind);
        assertBytes(hit.bytes, bytesOf("b", SIZE), `${when}: what is held`);

        assertWhole(survivor, when);
        assertAllowed(survivor, deed, when);
        assertBytes(hit.bytes, bytesOf("b", SIZE), `${when}: what is held`);
        assert.equal(survivor.core.header.get("reserved"), 0, when);
        assert.equal(survivor.status().attached, 1, when);

        // The pool goes on: all of it can be used again.
        hit.release();
        survivor.evict({ percent: 100 });
        assert.equal(survivor.status().used_bytes, 0, when);
        const all = bytesOf("all", survivor.status().data_bytes);
        survivor.put("all", all);
        assertBytes(valueOf(survivor, "all"), all, when);
        assertWhole(survivor, when);
        assert.ok(at < 3000, "it never ends");
      }
    },
  );
}

// ------------------------------------------- a reader in the midst of a change

/** Keys of one chain, so that a change of one is in the way of the others. */
function chained(pool: Pool, count: number): string[] {
  const { core } = pool;
  const found: string[] = [];
  for (let i = 0; found.length < count; i++) {
    const key = `chain-${i}`;
    const bucket = core.keys.encode(key).hash[0]! & (core.geometry.buckets - 1);
    if (bucket === 3) found.push(key);
  }
  return found;
}

interface Race {
  readonly what: string;
  /** What the key looked for may hold; it may never be absent. */
  readonly may: readonly string[];
  change(writer: Pool, keys: readonly string[], other: string): void;
}

const RACES: readonly Race[] = [
  {
    what: "that is replaced meanwhile",
    may: ["old", "new"],
    change: (writer, keys) => writer.put(keys[1]!, bytesOf("new", 100)),
  },
  {
    what: "that is replaced twice meanwhile",
    may: ["old", "new", "newer"],
    change: (writer, keys) => {
      writer.put(keys[1]!, bytesOf("new", 100));
      writer.put(keys[1]!, bytesOf("newer", 100));
    },
  },
  {
    what: "whose neighbour's record is used again meanwhile",
    may: ["old"],
    change: (writer, keys, other) => {
      writer.delete(keys[2]!);
      writer.put(other, bytesOf("other", 100));
    },
  },
  {
    what: "whose neighbours are all deleted meanwhile",
    may: ["old"],
    change: (writer, keys) => {
      writer.delete(keys[2]!);
      writer.delete(keys[0]!);
    },
  },
];

for (const race of RACES) {
  test(`get() finds an entry ${race.what}, wherever both of them stand`, {
    timeout: 60_000,
  }, () => {
    const oneMore = (reads: number, writes: number) => {
      using temp = tempPool({ size: "256K", maxEntries: 8 });
      const reader = temp.open();
      const keys = chained(temp.pool, 3);
      for (const key of keys) temp.pool.put(key, bytesOf("old", 100));
      let completed = false;
      const { result, reached } = runWithinRead(
        reads,
        () => valueOf(reader, keys[1]!),
        () => {
          // He is stopped here, for longer than the reader takes.
          completed = runUntilWrite(
            writes,
            () => race.change(temp.pool, keys, "elsewhere"),
          );
        },
      );
      const seed = race.may.find((one) =>
        result && Buffer.compare(result, bytesOf(one, 100)) === 0
      );
      assert.ok(
        seed,
        `reader at read ${reads}, writer at write ${writes}: ` +
          (result ? "bytes that nobody put" : "a miss"),
      );
      return { reached, completed };
    };
    let reached = true;
    for (let reads = 1; reached; reads++) {
      let completed = false;
      for (let writes = 1; !completed && reached; writes++) {
        ({ reached, completed } = oneMore(reads, writes));
      }
    }
  });
}
