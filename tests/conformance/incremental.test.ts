/** Saves that write what is new, and what they keep, fold and drop. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  persist,
  Pool,
  pruneSnapshot,
  restore,
  snapshotInfo,
  verifySnapshot,
} from "../../lib/mod.ts";
import { persistSteps } from "../../lib/snapshot/mod.ts";
import { bytesOf, fragment, hostWith } from "../helpers.ts";
import {
  contentsOf,
  generationOf,
  meteredHost,
  TempSnapshot,
} from "../snapshots.ts";

function fill(pool: Pool, count: number, size_bytes = 40_000, seed = ""): void {
  for (let i = 0; i < count; i++) {
    pool.put(`key-${i}`, bytesOf(`${i}${seed}`, size_bytes), { meta: { i } });
  }
}

/** The snapshot, restored under another name, has what the pool has. */
function assertSame(place: TempSnapshot, pool: Pool, when = ""): void {
  const expected = contentsOf(Pool.open(pool.name, { observe: true }));
  restore(place.other, { path: place.path });
  using copy = Pool.open(place.other, { observe: true });
  assert.deepEqual(contentsOf(copy), expected, when);
  copy.close();
  Pool.destroy(place.other);
}

test("a persist after 1% of the entries changed moves about 1% of the bytes", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "24M" });
  fill(pool, 400);
  const full = persist(pool, { path });
  assert.equal(full.written_entries, 400);
  fill(pool, 4, 40_000, "new");
  const { platform, moved } = meteredHost();
  {
    using handle = Pool.open(name, { platform });
    const report = persist(handle, { path });
    assert.deepEqual(
      [report.written_entries, report.dropped, report.entries],
      [4, 4, 400],
    );
  }
  assert.ok(moved.written <= 0.03 * full.written_bytes, `${moved.written}`);
  assert.ok(moved.read <= 0.03 * full.written_bytes, `${moved.read}`);
  assertSame(place, pool);
  assert.ok(verifySnapshot(name, { path }).ok);
});

test("uses alone cost a manifest, and come back", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "2M", policy: "lfu" });
  fill(pool, 20, 3000);
  persist(pool, { path });
  for (let i = 0; i < 7; i++) pool.get("key-3")?.release();
  assert.equal(pool.get("nothing"), undefined);
  const report = persist(pool, { path });
  assert.deepEqual([report.written_entries, report.file_bytes], [0, 0]);
  const before = pool.status();
  assertSame(place, pool);
  place.destroy();
  restore(name, { path });
  using again = Pool.open(name);
  const after = again.status();
  for (
    const field of [
      "uuid",
      "created_at",
      "hits",
      "misses",
      "puts",
      "evictions",
      "deletes",
      "recoveries",
      "policy",
    ] as const
  ) assert.deepEqual(after[field], before[field], field);
  assert.equal(again.info("key-3")?.access_count, 8);
});

test("with ifChanged nothing is written unless the pool was used", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "2M" });
  fill(pool, 5, 3000);
  assert.equal(persist(pool, { path, ifChanged: true }).changed, true);
  const files = place.files();
  const again = persist(pool, { path, ifChanged: true });
  assert.deepEqual([again.changed, again.written_bytes], [false, 0]);
  assert.deepEqual(place.files(), files);
  pool.get("key-1")?.release();
  assert.equal(persist(pool, { path, ifChanged: true }).changed, true);
  pool.delete("key-1");
  assert.equal(persist(pool, { path, ifChanged: true }).changed, true);
  pool.evict({ percent: 30 });
  assert.equal(persist(pool, { path, ifChanged: true }).changed, true);
  assert.equal(persist(pool, { path, ifChanged: true }).changed, false);
  // A file that was lost is a change, too.
  rmSync(join(path, generationOf(path).files[0]!.name));
  assert.equal(persist(pool, { path, ifChanged: true }).changed, true);
  assertSame(place, pool);
});

test("after a restore the next persist writes only what is new", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "2M" });
    fill(pool, 10, 30_000);
    persist(pool, { path });
  }
  place.destroy();
  restore(name, { path });
  using pool = Pool.open(name);
  assert.equal(persist(pool, { path, ifChanged: true }).changed, false);
  pool.put("new", bytesOf("new", 30_000));
  const report = persist(pool, { path });
  assert.deepEqual([report.written_entries, report.entries], [1, 11]);
  assertSame(place, pool);
});

test("a file of which more than the limit is dead is written anew", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "8M" });
  fill(pool, 100);
  persist(pool, { path });
  const base = generationOf(path).files[0]!.name;
  for (let i = 0; i < 45; i++) pool.delete(`key-${i}`);
  assert.equal(persist(pool, { path }).written_entries, 0);
  assert.deepEqual(generationOf(path).files.map(({ name }) => name), [base]);
  for (let i = 45; i < 55; i++) pool.delete(`key-${i}`);
  const report = persist(pool, { path });
  assert.deepEqual([report.written_entries, report.entries], [45, 45]);
  assert.ok(!generationOf(path).files.some(({ name }) => name === base));
  assertSame(place, pool);
  persist(pool, { path }); // what only the former generation needed goes now
  assert.ok(!place.files().includes(base));
  pool.delete("key-60");
  assert.equal(persist(pool, { path, dead_percent: 1 }).written_entries, 44);
  assertSame(place, pool);
});

test("many saves leave few files, and full leaves one", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "8M" });
  fill(pool, 60);
  persist(pool, { path });
  let written = 0;
  for (let i = 0; i < 60; i++) {
    pool.put(`more-${i}`, bytesOf(i, 4000));
    written += persist(pool, { path }).written_entries;
    const { files } = generationOf(path);
    assert.ok(files.length <= 16, `${files.length} files`);
    assert.ok(place.files().length <= 40, place.files().join());
  }
  assert.ok(written < 60 * 6, `${written} entries were written for 60`);
  assertSame(place, pool);
  assert.equal(persist(pool, { path, full: true }).written_entries, 120);
  assert.equal(generationOf(path).files.length, 1);
  assertSame(place, pool);
});

test("keep says how many former generations stay, and each of them loads", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "8M" });
  for (let i = 1; i <= 6; i++) {
    pool.put(`key-${i}`, bytesOf(i, 50_000));
    persist(pool, { path, keep: 3 });
  }
  const numbers = () =>
    snapshotInfo(name, { path }).generations.map((one) => one.generation);
  assert.deepEqual(numbers(), [6, 5, 4, 3]);
  for (const generation of numbers()) {
    const report = restore(place.other, { path, generation });
    assert.deepEqual([report.generation, report.entries], [
      generation,
      generation,
    ]);
    Pool.destroy(place.other);
  }
  assert.deepEqual(pruneSnapshot(name, { path, keep: 1 }).generations, [6, 5]);
  assert.deepEqual(numbers(), [6, 5]);
  const report = pruneSnapshot(name, { path, keep: 0 });
  assert.deepEqual(report.generations, [6]);
  assert.equal(place.files().length, 1 + generationOf(path).files.length);
  assertSame(place, pool);
  persist(pool, { path, keep: 0 });
  assert.deepEqual(numbers(), [7]);
});

test("a new pool of an old name does not push the last save of the old one out", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "2M" });
    fill(pool, 10, 3000);
    persist(pool, { path });
  }
  place.destroy();
  using pool = Pool.create(name, { size: "2M" });
  for (let i = 0; i < 4; i++) {
    pool.put(`new-${i}`, bytesOf(i, 3000));
    persist(pool, { path });
  }
  assert.deepEqual(
    snapshotInfo(name, { path }).generations.map((one) => one.generation),
    [5, 4, 1],
  );
  // Nor does a prune, unless no former one is wanted.
  const prune = (keep?: number) =>
    pruneSnapshot(name, { path, keep }).generations;
  assert.deepEqual([prune(2), prune()], [[5, 4, 1], [5, 4, 1]]);
  assert.equal(restore(place.other, { path, generation: 1 }).entries, 10);
  assert.deepEqual(prune(0), [5]);
});

test("a damaged manifest falls back to the one before, and the next save heals it", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "2M" });
  fill(pool, 10, 3000);
  persist(pool, { path });
  pool.put("late", bytesOf("late", 3000));
  persist(pool, { path });
  const manifest = join(path, "MANIFEST");
  const whole = readFileSync(manifest);
  for (let at = 0; at < whole.length; at += 7) {
    const damaged = Buffer.from(whole);
    damaged[at]! ^= 4;
    writeFileSync(manifest, damaged);
    try {
      const report = restore(place.other, { path });
      assert.equal(report.generation, 1);
      assert.equal(report.entries, 10);
      assert.match(report.passed_over.join(), /MANIFEST is damaged/);
      Pool.destroy(place.other);
    } catch (error) {
      // It may be one of a later cortex, which we must not pass over.
      assert.match(String(error), /it has format version/);
      assert.equal(String.fromCharCode(whole[at]!), "2");
    }
  }
  for (const text of ["", "not ours\n"]) {
    writeFileSync(manifest, text);
    assert.equal(restore(place.other, { path }).generation, 1, text);
    Pool.destroy(place.other);
  }
  writeFileSync(manifest, whole.subarray(0, whole.length - 1));
  assert.equal(restore(place.other, { path }).generation, 1);
  Pool.destroy(place.other);
  const report = persist(pool, { path });
  assert.deepEqual([report.generation, report.written_entries], [3, 1]);
  assertSame(place, pool);
  assert.ok(verifySnapshot(name, { path }).ok);
});

test("a save leaves the writers of a small pool room", () => {
  using place = new TempSnapshot();
  using pool = Pool.create(place.name, { size: "6M" });
  fill(pool, 150, 30_000);
  const { data_bytes } = pool.status(), held = [0];
  for (const _ of persistSteps(pool, { path: place.path })) {
    held.push(pool.core.slots.allPins().count() * 32_768);
  }
  assert.ok(Math.max(...held) > 0);
  assert.ok(Math.max(...held) <= data_bytes / 8, `${Math.max(...held)} bytes`);
});

test("a generation with a missing file is passed over", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "2M" });
  fill(pool, 10, 3000);
  persist(pool, { path });
  pool.put("late", bytesOf("late", 3000));
  persist(pool, { path });
  const delta = generationOf(path).files.find(({ name }) =>
    name.startsWith("delta-")
  )!;
  const kept = readFileSync(join(path, delta.name));
  rmSync(join(path, delta.name));
  const fallen = restore(place.other, { path });
  assert.deepEqual([fallen.generation, fallen.entries], [1, 10]);
  assert.match(fallen.passed_over.join(), /generation 2: .* is missing/);
  Pool.destroy(place.other);
  const partial = restore(place.other, { path, partial: true });
  assert.deepEqual([partial.entries, partial.damaged], [10, 1]);
  Pool.destroy(place.other);
  writeFileSync(join(path, delta.name), kept);
  assert.equal(restore(place.other, { path }).entries, 11);
});

test("a damaged record costs that record, and both restore and verify say which", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "4M" });
    fill(pool, 10, 50_000);
    pool.put("small", bytesOf("small", 100));
    persist(pool, { path });
  }
  place.destroy();
  const { lines, files } = generationOf(path);
  const file = join(path, files[0]!.name);
  const whole = readFileSync(file);
  for (const part of ["position", "value_position"] as const) {
    for (const line of lines) {
      const damaged = Buffer.from(whole);
      damaged[line[part] + 50]! ^= 1;
      writeFileSync(file, damaged);
      const report = restore(name, { path });
      assert.deepEqual([report.entries, report.damaged], [10, 1]);
      const found = verifySnapshot(name, { path });
      assert.deepEqual([found.ok, found.entries], [false, 10]);
      assert.equal(found.problems.length, 1);
      const named = report.damaged_entries[0]!;
      if (part === "position") {
        assert.match(named, new RegExp(`record at ${line.position} of base-`));
      } else {
        using pool = Pool.open(name);
        const key = JSON.parse(named.replace(/^entry /, ""));
        assert.equal(pool.has(key), false);
        assert.match(found.problems[0]!, new RegExp(`"${key}"`));
      }
      place.destroy();
    }
  }
  writeFileSync(file, whole);
  assert.deepEqual(verifySnapshot(name, { path }).problems, []);
});

test("values of several pieces, with ends within a page, and over a page come back", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "4M" });
  fragment(pool, { holes: 8, hole_blocks: 40 });
  const sizes = [
    0,
    1,
    4095,
    4096,
    4097,
    32_767,
    32_768,
    32_769,
    40_960,
    196_609,
  ];
  for (const size of sizes) {
    pool.put(`size-${size}`, bytesOf(size, size), {
      meta: { long: "m".repeat(size % 2 === 0 ? 0 : 2000) },
    });
  }
  assert.ok(
    [...Array(pool.core.table.count).keys()].some((entry) =>
      (pool.core.table.extents(entry)?.length ?? 0) > 1
    ),
    "no value lies in several pieces",
  );
  persist(pool, { path });
  assertSame(place, pool);
  assert.ok(verifySnapshot(name, { path }).ok);
});

test("hundreds of MiB go by a queue of transfers, there and back", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  const before = new Map<string, number>();
  {
    using pool = Pool.create(name, { size: "320M" });
    for (let i = 0; i < 140; i++) {
      const bytes = bytesOf(i, 4096);
      const size = 2_000_000 + i * 13;
      using slot = pool.reserve(`key-${i}`, size);
      for (let at = 0; at < size; at += 4096) {
        slot.bytes.set(bytes.subarray(0, size - at), at);
      }
      slot.bytes[size - 1] = i;
      before.set(`key-${i}`, pool.core.platform.crc32(slot.bytes));
      slot.seal();
    }
    persist(pool, { path });
  }
  place.destroy();
  assert.ok(verifySnapshot(name, { path }).ok);
  assert.equal(restore(name, { path }).entries, 140);
  using pool = Pool.open(name);
  for (const [key, crc] of before) {
    using hit = pool.get(key);
    assert.equal(pool.core.platform.crc32(hit!.bytes), crc, key);
  }
  assert.deepEqual(pool.check({ values: true }), { ok: true, problems: [] });
});

test("where direct access is refused, it goes through the page cache", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  const host = hostWith({});
  const files = new Proxy(host.files, {
    get(target, key) {
      if (key !== "open") return Reflect.get(target, key);
      return (path: string, access: string, mode?: number) =>
        target.open(path, access.replace("direct ", "") as "r", mode);
    },
  });
  const platform = hostWith({ files });
  {
    using pool = Pool.create(name, { size: "4M", platform });
    fill(pool, 20, 70_001);
    persist(pool, { path });
  }
  place.destroy();
  assert.equal(restore(name, { path, platform }).entries, 20);
  using pool = Pool.open(name);
  assertSame(place, pool);
});

test("compressed values come back, and are smaller where they can be", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "64M" });
    fill(pool, 10, 50_000); // noise
    for (let i = 0; i < 10; i++) {
      pool.put(`text-${i}`, new Uint8Array(500_000).fill(i));
    }
    pool.put("large", new Uint8Array(9_000_000).fill(7));
    pool.put("empty", new Uint8Array());
    const report = persist(pool, { path, compress: true });
    assert.equal(report.entries, 22);
    assert.ok(report.file_bytes < 700_000, `${report.file_bytes}`);
    assertSame(place, pool);
  }
  assert.ok(verifySnapshot(name, { path }).ok);
  const { files, lines } = generationOf(path);
  const file = join(path, files[0]!.name);
  const bytes = readFileSync(file);
  const line = lines.find((line) => line.size_bytes === 9_000_000)!;
  bytes[line.value_position + 40]! ^= 1;
  writeFileSync(file, bytes);
  assert.equal(verifySnapshot(name, { path }).entries, 21);
  assert.equal(restore(place.other, { path }).damaged, 1);
});

test("two saves of one pool at once: the second says so, and harms nothing", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "2M" });
  fill(pool, 10, 3000);
  const saving = persistSteps(pool, { path });
  saving.next();
  using second = Pool.open(name);
  assert.throws(() => persist(second, { path }), { code: "BUSY" });
  // Not even to another place: each would take the other's entries for saved.
  assert.throws(() => persist(second, { path: `${path}/else` }), {
    code: "BUSY",
  });
  assert.throws(() => persist(second, { path, lockTimeout_ms: 60 }), {
    code: "BUSY",
  });
  while (!saving.next().done);
  assert.equal(persist(second, { path }).generation, 2);
  assertSame(place, pool);
});

test("writers and readers go on during a save, which says what it skipped", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "2M" });
  fill(pool, 10, 3000);
  using writer = Pool.open(name);
  const saving = persistSteps(pool, { path });
  saving.next();
  writer.delete("key-0");
  writer.put("key-1", bytesOf("other", 5000));
  writer.put("late", bytesOf("late", 5000));
  using hit = writer.get("key-2");
  let step = saving.next();
  while (!step.done) step = saving.next();
  assert.ok(hit);
  const { skipped, entries } = step.value as {
    skipped: number;
    entries: number;
  };
  assert.equal(skipped, 2); // key-0, and the former key-1
  assert.equal(entries, 10);
  restore(place.other, { path });
  using copy = Pool.open(place.other);
  assert.equal(copy.has("key-0"), false);
  using late = copy.get("late"), other = copy.get("key-1");
  assert.deepEqual(late?.bytes.slice(), bytesOf("late", 5000));
  assert.deepEqual(other?.bytes.slice(), bytesOf("other", 5000));
});

test("a value that is damaged in the pool is left out, and told of", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "4M" });
  fill(pool, 5, 50_000);
  using hit = pool.get("key-2");
  hit!.bytes[100]! ^= 1;
  const report = persist(pool, { path });
  assert.deepEqual([report.entries, report.damaged], [4, 1]);
  hit!.bytes[100]! ^= 1;
  assert.equal(persist(pool, { path }).entries, 5);
});
