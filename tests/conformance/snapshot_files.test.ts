/** A snapshot's files hold values of every form, and damage costs only what it hits. */
import assert from "node:assert/strict";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { persist, Pool, restore, verifySnapshot } from "../../lib/mod.ts";
import { bytesOf, fragment, hostWith } from "../helpers.ts";
import { assertSame, fill, generationOf, TempSnapshot } from "../snapshots.ts";

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
