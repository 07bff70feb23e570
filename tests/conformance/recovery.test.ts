import { test } from "node:test";
import assert from "node:assert/strict";
import { BusyError, ClosedError } from "../../lib/errors.ts";
import { EntryState, NONE } from "../../lib/layout.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  IMPATIENT,
  keysOf,
  markDirty,
  Pool,
  recordOf,
  recordOffset,
  tempPool,
  valueOf,
} from "../helpers.ts";
import { OWN_RUNTIME, RUNTIMES, Worker } from "../processes.ts";
import { runUntilWrite, runWithinRead } from "../steps.ts";

const BLOCK = 4096;
const HOLDER = new URL("./holder.ts", import.meta.url);

// ------------------------------------------------- what a dead holder left

test("whoever takes a dirty pool's lock works everything out again", () => {
  using temp = tempPool({ size: "1M", maxEntries: 64 });
  const keys = Array.from({ length: 30 }, (_, i) => `k${i}`);
  for (const key of keys) temp.pool.put(key, bytesOf(key, 7000), { tokens: 1 });
  const { core } = temp.pool;
  const before = temp.pool.status();
  core.freeList.clearAll();
  core.index.clear();
  for (
    const field of ["entries", "used_blocks", "reserved", "doomed"] as const
  ) {
    core.header.set(field, 12_345);
  }
  core.header.set("free_record", NONE);
  core.header.set("doomed_record", 7);
  core.header.set("committed_blocks", 1);
  core.links.set(3, 4);
  markDirty(core);

  const other = temp.open();
  assertWhole(other);
  const { modified_at: _1, attached: _2, recoveries, ...after } = other
    .status();
  const { modified_at: _3, attached: _4, recoveries: none, ...was } = before;
  assert.deepEqual(after, { ...was });
  assert.deepEqual([none, recoveries], [0, 1]);
  assert.equal(core.index.sequence() % 2, 0, "readers still look twice");
  for (const key of keys) assertBytes(valueOf(other, key), bytesOf(key, 7000));
});

test("a pool that is not dirty is not worked out again", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  temp.pool.delete("k");
  temp.open().close();
  assert.equal(temp.pool.status().recoveries, 0);
});

test("recovery drops records that do not hold, and keeps the others", () => {
  using temp = tempPool();
  for (const key of ["a", "b", "c"]) temp.pool.put(key, bytesOf(key, 9000));
  const { core } = temp.pool;
  const at = recordOffset(core, recordOf(core, "b"), "tokens");
  core.control.u32[at >> 2]! ^= 1;
  markDirty(core);
  assertWhole(temp.open());
  assert.deepEqual(keysOf(temp.pool), ["a", "c"]);
  assertBytes(valueOf(temp.pool, "a"), bytesOf("a", 9000));
});

test("recovery keeps the youngest of two entries of one key", () => {
  using temp = tempPool({ populate: true });
  temp.pool.put("k", bytesOf("old", 5000));
  const { core } = temp.pool;
  // Die after the new one is sealed, before the old one is doomed.
  const slot = temp.pool.reserve("k", 6000);
  slot.bytes.set(bytesOf("new", 6000));
  for (let entry = 0; entry < core.table.count; entry++) {
    if (core.table.state(entry) !== EntryState.RESERVED) continue;
    core.table.setFilled(entry, core.platform.crc32(slot.bytes));
    core.table.setState(entry, EntryState.SEALED);
  }
  markDirty(core);
  const other = temp.open();
  assertWhole(other);
  assertBytes(valueOf(other, "k"), bytesOf("new", 6000));
  assert.equal(other.status().entries, 1);
});

test("recovery keeps the youngest of the entries of a key, however long", () => {
  for (const length of [1, 300]) {
    using temp = tempPool({ maxEntries: 128, blockSize: "4K" });
    const { core } = temp.pool;
    const reader = temp.open();
    const keys = Array.from({ length: 24 }, (_, i) => `${i}-`.repeat(length));
    const held = [0, 1, 2].flatMap((round) =>
      keys.map((key, i) => {
        const bytes = bytesOf(`${round} ${i}`, 3000);
        temp.pool.put(key, bytes);
        return { entry: recordOf(core, key), hit: reader.get(key)!, bytes };
      })
    );
    for (const { entry } of held) core.table.setState(entry, EntryState.SEALED);
    markDirty(core);
    assertWhole(temp.pool);
    keys.forEach((key, i) =>
      assertBytes(valueOf(temp.pool, key), bytesOf(`2 ${i}`, 3000))
    );
    for (const { hit, bytes } of held) {
      assertBytes(hit.bytes, bytes);
      hit.release();
    }
    assertWhole(temp.pool);
    assert.equal(temp.pool.status().entries, keys.length);
  }
});

test("recovery keeps the bytes of a held entry that it drops", () => {
  using temp = tempPool();
  const reader = temp.open();
  temp.pool.put("k", bytesOf("old", 5000));
  using hit = reader.get("k");
  const entry = recordOf(temp.pool.core, "k");
  temp.pool.put("k", bytesOf("new", 5000));
  // The old one looks as if its doom had not come yet.
  temp.pool.core.table.setState(entry, EntryState.SEALED);
  markDirty(temp.pool.core);
  assertWhole(temp.pool);
  for (let i = 0; i < 30; i++) temp.pool.put(`n${i}`, bytesOf(i, 20_000));
  assertBytes(hit?.bytes, bytesOf("old", 5000));
  assertBytes(
    valueOf(temp.pool, "k") ?? bytesOf("new", 5000),
    bytesOf("new", 5000),
  );
  hit?.release();
  assertWhole(temp.pool);
});

test("a live reservation outlives a recovery, a dropped one says so", () => {
  using temp = tempPool();
  const other = temp.open();
  const kept = temp.pool.reserve("kept", 5000);
  kept.bytes.set(bytesOf("kept", 5000));
  const dropped = temp.pool.reserve("dropped", 5000);
  const { core } = temp.pool;
  const entry = core.table.state(0) === EntryState.RESERVED ? 1 : 0;
  // Damage the record of the second one.
  core.control.u32[recordOffset(core, entry, "tokens") >> 2]! ^= 1;
  markDirty(core);
  assertWhole(other);
  assert.equal(core.slots.reserved(core.attachment!.slot), 1);
  kept.seal();
  assertBytes(valueOf(other, "kept"), bytesOf("kept", 5000));
  assertRefuses(
    () => dropped.seal(),
    ClosedError,
    /dropped in a recovery/,
  );
  dropped.abort();
  assert.deepEqual(keysOf(other), ["kept"]);
  assertWhole(other);
});

test("an error of our own half-way leaves the pool marked, and the next mends it", () => {
  using temp = tempPool();
  temp.pool.put("a", bytesOf("a", 5000));
  const other = temp.open();
  const { index } = other.core;
  index.insert = () => {
    throw new TypeError("a bug");
  };
  assert.throws(() => other.put("b", bytesOf("b", 5000)), /a bug/);
  assert.equal(temp.pool.core.header.get("dirty"), 1);
  assertWhole(temp.pool);
  assert.equal(temp.pool.status().recoveries, 1);
  assert.deepEqual(keysOf(temp.pool), ["a"]);
});

test("a refusal half-way leaves nothing to mend", () => {
  using temp = tempPool({ size: "512K" });
  temp.pool.put("all", bytesOf("all", temp.pool.status().data_bytes));
  using _hit = temp.pool.get("all");
  assert.throws(() => temp.pool.put("more", bytesOf("more", 1)));
  assert.equal(temp.pool.core.header.get("dirty"), 0);
  assertWhole(temp.pool);
  assert.equal(temp.pool.status().recoveries, 0);
});

test("recovery at 32,768 entries takes less than a second", () => {
  using temp = tempPool({ size: "256M", maxEntries: 32_768, blockSize: "4K" });
  const value = bytesOf("v", 64);
  for (let i = 0; i < 32_768; i++) temp.pool.put(`key-${i}`, value);
  assert.equal(temp.pool.status().entries, 32_768);
  markDirty(temp.pool.core);
  const started = performance.now();
  temp.pool.delete("absent");
  const took_ms = performance.now() - started;
  assert.equal(temp.pool.status().recoveries, 1);
  assert.equal(temp.pool.status().entries, 32_768);
  assert.ok(took_ms < 1000, `${took_ms} ms`);
  const { problems } = temp.pool.check();
  assert.deepEqual(problems, []);
});

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

// ------------------------------------------------------------ real processes

for (const runtime of RUNTIMES) {
  test(`what a killed ${runtime} process had pinned can be evicted`, {
    timeout: 30_000,
  }, async () => {
    using temp = tempPool();
    temp.pool.put("pinned", bytesOf("pinned", 3 * BLOCK));
    using worker = new Worker(runtime, HOLDER, [temp.name, "pins"]);
    assert.equal(await worker.line(), "holding");
    assert.equal(temp.pool.status().attached, 2);
    temp.pool.evict({ percent: 100 });
    assert.equal(temp.pool.has("pinned"), true);
    temp.pool.delete("pinned");
    assert.equal(temp.pool.status().used_bytes, 3 * BLOCK);
    await worker.kill();
    assert.equal(temp.pool.status().attached, 1);
    assertWhole(temp.pool);
    assert.equal(temp.pool.status().used_bytes, 0);
  });

  test(`what a killed ${runtime} process had reserved is given back`, {
    timeout: 30_000,
  }, async () => {
    using temp = tempPool({ size: "256K" });
    using worker = new Worker(runtime, HOLDER, [temp.name, "reservation"]);
    assert.equal(await worker.line(), "holding");
    assert.equal(temp.pool.core.header.get("reserved"), 1);
    assert.equal(temp.pool.status().used_bytes, 3 * BLOCK);
    await worker.kill();
    // Whoever is short of room finds it.
    const { data_bytes } = temp.pool.status();
    temp.pool.put("all", bytesOf("all", data_bytes));
    assert.equal(temp.pool.core.header.get("reserved"), 0);
    assert.deepEqual(keysOf(temp.pool), ["all"]);
    assertWhole(temp.pool);
  });

  test(`a change that a killed ${runtime} process left half-done is mended`, {
    timeout: 30_000,
  }, async () => {
    using temp = tempPool();
    temp.pool.put("k", bytesOf("k", 9000));
    using worker = new Worker(runtime, HOLDER, [temp.name, "change"]);
    assert.equal(await worker.line(), "holding");
    const impatient = Pool.open(temp.name, { observe: true });
    impatient.close();
    assertRefuses(
      () => Pool.open(temp.name, IMPATIENT),
      BusyError,
      new RegExp(`process ${worker.pid} has held`),
    );
    await worker.kill();
    assertWhole(temp.pool);
    assert.equal(temp.pool.status().recoveries, 1);
    assertBytes(valueOf(temp.pool, "k"), bytesOf("k", 9000));
  });
}

test("a lock is free once the process that held it is killed", {
  timeout: 30_000,
}, async () => {
  using temp = tempPool();
  using worker = new Worker(OWN_RUNTIME, HOLDER, [temp.name, "lock"]);
  assert.equal(await worker.line(), "holding");
  const impatient = { lockTimeout_ms: 20 };
  assertRefuses(() => Pool.open(temp.name, impatient), BusyError);
  await worker.kill();
  temp.pool.put("k", bytesOf("k", 10));
  assertWhole(temp.pool);
  assert.equal(temp.pool.status().recoveries, 0);
});
