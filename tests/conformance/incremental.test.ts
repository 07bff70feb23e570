/** Saves that write what is new: what they keep, fold and drop, and who goes on meanwhile. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
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
import { bytesOf } from "../helpers.ts";
import {
  assertSame,
  fill,
  generationOf,
  meteredHost,
  TempSnapshot,
} from "../snapshots.ts";

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
