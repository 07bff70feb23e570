import { test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import process from "node:process";
import {
  BusyError,
  ClosedError,
  ExistsError,
  NotFoundError,
  UsageError,
} from "../../lib/errors.ts";
import { KEY_MAX_BYTES, SLOTS } from "../../lib/layout.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  IMPATIENT,
  Pool,
  segmentExists,
  segmentFile,
  tempName,
  tempPool,
  valueOf,
} from "../helpers.ts";

test("Pool.create() makes an empty pool of exactly that size", () => {
  using temp = tempPool({ size: "1M" });
  assert.equal(statSync(segmentFile(temp.name)).size, 2 ** 20);
  const status = temp.pool.status();
  assert.equal(status.name, temp.name);
  assert.equal(status.size_bytes, 2 ** 20);
  assert.equal(status.version, 3);
  assert.equal(status.tier, "cpu");
  assert.equal(status.policy, "prefix");
  assert.equal(status.namespace, "");
  assert.match(status.uuid, /^[0-9a-f]{32}$/);
  assert.equal(status.entries, 0);
  assert.equal(status.used_bytes, 0);
  assert.equal(status.data_bytes, status.free_bytes);
  assert.equal(status.free_blocks, status.blocks);
  assert.equal(status.attached, 1);
  assert.equal(status.hit_rate, null);
  assert.equal(status.last_persist_at, null);
  assert.ok(Math.abs(status.created_at - Date.now()) < 60_000);
  assertWhole(temp.pool);
});

test("Pool.create() keeps what it was told", () => {
  using temp = tempPool({
    size: 2 ** 21,
    blockSize: "8K",
    maxEntries: 20,
    policy: "fifo",
    namespace: "llama/bf16",
  });
  for (const pool of [temp.pool, temp.open(), temp.open({ observe: true })]) {
    const status = pool.status();
    assert.equal(status.size_bytes, 2 ** 21);
    assert.equal(status.block_size_bytes, 8192);
    assert.equal(status.max_entries, 20);
    assert.equal(status.policy, "fifo");
    assert.equal(status.namespace, "llama/bf16");
  }
});

test("Pool.create() makes a segment that only its owner can read, past the umask", () => {
  const before = process.umask(0o077);
  try {
    using temp = tempPool();
    assert.equal(statSync(segmentFile(temp.name)).mode & 0o777, 0o600);
    using shared = tempPool({ mode: 0o660 });
    assert.equal(statSync(segmentFile(shared.name)).mode & 0o777, 0o660);
  } finally {
    process.umask(before);
  }
});

test("Pool.create() takes memory for the tables only, unless told to populate", () => {
  using sparse = tempPool({ size: "64M" });
  using full = tempPool({ size: "64M", populate: true });
  const allocated = (name: string) => statSync(segmentFile(name)).blocks * 512;
  assert.ok(allocated(sparse.name) < 4 * 2 ** 20);
  assert.ok(allocated(full.name) >= 64 * 2 ** 20 - 8192);
  assert.equal(
    sparse.pool.status().committed_bytes,
    sparse.pool.core.geometry.control_bytes,
  );
  const { committed_bytes, data_bytes } = full.pool.status();
  assert.equal(
    committed_bytes,
    full.pool.core.geometry.control_bytes + data_bytes,
  );
  assertWhole(full.pool);
});

test("Pool.status() counts the memory of an aborted reservation, too", () => {
  using temp = tempPool({ size: "4M" });
  const before = temp.pool.status().committed_bytes;
  const { header } = temp.pool.core;
  const noted = header.get("committed_blocks");
  temp.pool.reserve("a", 1 << 20).abort();
  assert.equal(temp.pool.status().committed_bytes, before + (1 << 20));
  assert.equal(header.get("committed_blocks"), noted + 256);
  const { blocks } = statSync(segmentFile(temp.name));
  assert.equal(temp.pool.status().committed_bytes, blocks * 512);
  assertWhole(temp.pool);
});

test("Pool.create() refuses a name that is taken, and leaves that pool alone", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 100));
  const error = assertRefuses(
    () => Pool.create(temp.name, { size: "2M" }),
    ExistsError,
    new RegExp(`"${temp.name}": it exists already`),
  );
  assert.ok(error.hint?.includes("destroy"));
  assertBytes(valueOf(temp.pool, "k"), bytesOf("k", 100));
  // Nothing half-made stays behind.
  const left = readdirSync("/dev/shm").filter((name) =>
    name.includes(temp.name)
  );
  assert.deepEqual(left, [`cortex.${temp.name}`]);
});

test("a pool's name is 1 to 128 letters, digits, dots, dashes and underscores", () => {
  for (
    const name of [
      "",
      ".",
      "..",
      ".hidden",
      "-dash",
      "_under",
      "a/b",
      "../x",
      "a..b",
      "a b",
      "a\n",
      "a\u0000b",
      "ü",
      "x".repeat(129),
    ]
  ) {
    for (
      const run of [
        () => Pool.create(name, { size: "1M" }),
        () => Pool.open(name),
        () => Pool.destroy(name),
      ]
    ) assertRefuses(run, UsageError, /name is not valid/);
  }
  using long = tempName();
  const name = `${long.name}-`.padEnd(128, "x");
  try {
    Pool.create(name, { size: "1M" }).close();
    assert.ok(Pool.list().includes(name));
  } finally {
    Pool.destroy(name);
  }
});

test("Pool.create() refuses what no pool can be, and makes nothing", () => {
  using temp = tempName();
  const wrong: [Record<string, unknown>, RegExp][] = [
    [{ size: "12Q" }, /size "12Q"/],
    [{ size: 0 }, /whole number/],
    [{ size: -5 }, /whole number/],
    [{ size: 4096 }, /too small/],
    [{ size: "1M", blockSize: 5000 }, /power of two/],
    [{ size: "1M", blockSize: "x" }, /block size "x"/],
    [{ size: "1M", maxEntries: 0 }, /entry limit/],
    [{ size: "1M", policy: "random" }, /no such policy/],
    [{ size: "1M", policy: "toString" }, /no such policy/],
    [{ size: "1M", tier: "gpu" }, /driver/],
    [{ size: "1M", tier: "tape" as "disk" }, /no such tier/],
    [{ size: "1M", tier: "disk" }, /needs a file/],
    [{ size: "1M", path: "/tmp/x" }, /only tier disk has a path/],
    [{ size: "1M", mode: 0o1777 }, /mode/],
    [{ size: "1M", mode: -1 }, /mode/],
    [{ size: "1M", namespace: "n".repeat(257) }, /namespace/],
    [{ size: "1M", namespace: "\ud800" }, /namespace/],
  ];
  for (const [options, pattern] of wrong) {
    assertRefuses(
      () => Pool.create(temp.name, options as { size: string }),
      UsageError,
      pattern,
    );
    assert.equal(segmentExists(temp.name), false);
  }
});

test("a pool outlives the handle that made it", () => {
  using temp = tempName();
  {
    using pool = Pool.create(temp.name, { size: "1M" });
    pool.put("doc", bytesOf("doc", 50_000), { tokens: 12, meta: { a: [1] } });
  }
  using again = Pool.open(temp.name);
  using hit = again.get("doc");
  assertBytes(hit?.bytes, bytesOf("doc", 50_000));
  assert.equal(hit?.tokens, 12);
  assert.deepEqual(hit?.meta, { a: [1] });
  assertWhole(again);
});

test("Pool.list() names the pools there are, sorted", () => {
  using a = tempPool();
  using b = tempPool();
  const names = Pool.list();
  assert.ok(names.includes(a.name) && names.includes(b.name));
  assert.deepEqual(names, [...names].sort());
  const gone = a.name;
  a.pool.close();
  Pool.destroy(gone);
  assert.equal(Pool.list().includes(gone), false);
});

test("Pool.open() and destroy() refuse a pool that does not exist", () => {
  using temp = tempName();
  assertRefuses(() => Pool.open(temp.name), NotFoundError, /does not exist/);
  assertRefuses(() => Pool.destroy(temp.name), NotFoundError, /not exist/);
  assertRefuses(
    () => Pool.open(temp.name, { observe: true }),
    NotFoundError,
    /does not exist/,
  );
});

test("Pool.destroy() gives the memory back", () => {
  using temp = tempName();
  Pool.create(temp.name, { size: "1M" }).close();
  Pool.destroy(temp.name);
  assert.equal(segmentExists(temp.name), false);
  assertRefuses(() => Pool.destroy(temp.name), NotFoundError);
});

test("Pool.close() may be called twice, and ends every use", () => {
  using temp = tempPool();
  const { pool } = temp;
  pool.put("k", bytesOf("k", 10));
  pool.close();
  pool.close();
  const uses: [string, () => unknown][] = [
    ["put", () => pool.put("k", new Uint8Array(1))],
    ["reserve", () => pool.reserve("k", 1)],
    ["get", () => pool.get("k")],
    ["has", () => pool.has("k")],
    ["match", () => pool.match(["k"])],
    ["deepest", () => pool.deepest(["k"])],
    ["info", () => pool.info("k")],
    ["entries", () => [...pool.entries()]],
    ["delete", () => pool.delete("k")],
    ["evict", () => pool.evict()],
    ["status", () => pool.status()],
    ["check", () => pool.check()],
    ["repair", () => pool.repair()],
  ];
  for (const [, use] of uses) {
    assertRefuses(use, ClosedError, /handle is closed/);
  }
});

test("Pool.entries() stops when the pool is closed under it", () => {
  using temp = tempPool();
  temp.pool.put("a", bytesOf("a", 10));
  temp.pool.put("b", bytesOf("b", 10));
  const entries = temp.pool.entries();
  entries.next();
  temp.pool.close();
  assertRefuses(() => [...entries], ClosedError);
});

test("Pool.status() counts the handles that live", () => {
  using temp = tempPool();
  const second = temp.open();
  temp.open({ observe: true });
  assert.equal(temp.pool.status().attached, 2);
  assert.equal(second.status().attached, 2);
  second.close();
  assert.equal(temp.pool.status().attached, 1);
});

test("Pool.open() refuses the handle that is one too many, until one closes", () => {
  using temp = tempPool();
  const handles = Array.from({ length: SLOTS - 1 }, () => temp.open());
  assert.equal(temp.pool.status().attached, SLOTS);
  assertRefuses(() => temp.open(), BusyError, /128 handles are attached/);
  handles[40]!.close();
  const late = temp.open();
  late.put("k", bytesOf("k", 5));
  assertBytes(valueOf(handles[0]!, "k"), bytesOf("k", 5));
  assertWhole(late);
});

test("Pool.status() keeps the counts of handles that have gone", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  {
    using other = Pool.open(temp.name);
    other.get("k")!.release();
    other.get("k")!.release();
    other.get("absent");
    assert.deepEqual(
      [temp.pool.status().hits, temp.pool.status().misses],
      [2, 1],
    );
  }
  temp.pool.get("absent");
  const { hits, misses, hit_rate, puts } = temp.pool.status();
  assert.deepEqual([hits, misses, hit_rate, puts], [2, 2, 0.5, 1]);
});

test("a closed handle's place in the pool is used again", () => {
  using temp = tempPool();
  for (let i = 0; i < 3 * SLOTS; i++) Pool.open(temp.name).close();
  assert.equal(temp.pool.status().attached, 1);
  assert.ok(temp.pool.core.header.get("slot_limit") < 5);
});

test("Pool.create() lays out 1 TiB, of which the host gives only what is used", () => {
  using temp = tempPool({ size: "1T" });
  const { pool } = temp;
  const { core } = pool;
  const { geometry } = core;
  assert.equal(geometry.block_bytes, 32 * 2 ** 20);
  assert.equal(pool.status().size_bytes, 2 ** 40);
  // Take all but the last blocks away, so that the value lies at its far end.
  const { blocks, system_blocks } = geometry;
  core.freeList.set(system_blocks, blocks - system_blocks - 1);
  core.header.set("used_blocks", blocks - system_blocks - 1);
  const value = bytesOf("far", 1_000_000);
  pool.put("far", value);
  assert.equal(core.table.extents(0)?.[0]?.start, blocks - 1);
  assertBytes(valueOf(pool, "far"), value);
  assertBytes(valueOf(temp.open(), "far"), value);
  assert.deepEqual(pool.repair(), []);
  assertWhole(pool);
  assertBytes(valueOf(pool, "far"), value);
  const { blocks: sectors } = statSync(segmentFile(temp.name));
  assert.ok(sectors * 512 < 128 * 2 ** 20);
});

test("Pool handles two pools at once without mixing them up", () => {
  using a = tempPool();
  using b = tempPool();
  a.pool.put("k", bytesOf("a", 5000));
  b.pool.put("k", bytesOf("b", 6000));
  assertBytes(valueOf(a.pool, "k"), bytesOf("a", 5000));
  assertBytes(valueOf(b.pool, "k"), bytesOf("b", 6000));
});

test("a key of the largest length works in every call", () => {
  using temp = tempPool();
  const key = "k".repeat(KEY_MAX_BYTES);
  temp.pool.put(key, bytesOf("long", 10), { parent: key });
  assert.equal(temp.pool.has(key), true);
  assert.equal(temp.pool.match([key]), 1);
  assert.equal(temp.pool.info(key)?.parent, key);
  assert.equal(temp.pool.delete(key), true);
});

test("an impatient handle opens a pool that nobody holds", () => {
  using temp = tempPool();
  const pool = temp.open(IMPATIENT);
  pool.put("k", bytesOf("k", 1));
  assert.equal(pool.has("k"), true);
});
