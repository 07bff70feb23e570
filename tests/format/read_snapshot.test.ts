/**
 * Snapshots are what docs/FORMAT.md says: a script in Python, written from that
 * page alone, lists and verifies them. And the golden one, kept for ever, loads.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { persist, Pool, restore } from "../../lib/mod.ts";
import { bytesOf, valueOf } from "../helpers.ts";
import { generationOf, TempSnapshot } from "../snapshots.ts";

const READER = fileURLToPath(new URL("read_snapshot.py", import.meta.url));
const GOLDEN = fileURLToPath(new URL("golden/snapshot-v2", import.meta.url));

interface Read {
  generation: number;
  namespace: string;
  problems: string[];
  entries: {
    key: string;
    parent: string | null;
    meta: unknown;
    tokens: number;
    priority: number;
    size_bytes: number;
    created_at: number;
    expires_at: number | null;
    last_access_at: number;
    access_count: number;
    value_sha256: string | null;
  }[];
}

function readByPython(path: string): Read & { status: number | null } {
  const { status, stdout, stderr } = spawnSync("python3", [READER, path], {
    encoding: "utf8",
    maxBuffer: 1 << 28,
  });
  assert.ok(status === 0 || status === 1, stderr);
  assert.notEqual(stdout, "", stderr);
  return { status, ...JSON.parse(stdout) };
}

function fill(pool: Pool): void {
  for (let i = 0; i < 40; i++) {
    pool.put(`key-${i}`, bytesOf(i, i * 2003), {
      parent: i > 0 ? `key-${i - 1}` : undefined,
      tokens: i * 16,
      priority: i - 20,
      meta: i % 7 === 0 ? { long: "x".repeat(3000) } : { i },
    });
  }
}

test("a Python script made from FORMAT.md lists and verifies a snapshot", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "8M", namespace: "llama-ä" });
  fill(pool);
  persist(pool, { path });
  for (let i = 0; i < 40; i += 9) pool.delete(`key-${i}`);
  pool.put("key-1", bytesOf("again", 70_000));
  pool.put("squeezed", new Uint8Array(5_000_000).fill(3));
  pool.get("key-2")?.release();
  persist(pool, { path, compress: true });

  const read = readByPython(path);
  assert.deepEqual([read.status, read.problems], [0, []]);
  assert.deepEqual([read.generation, read.namespace], [2, "llama-ä"]);
  const entries = [...pool.entries()];
  assert.equal(read.entries.length, entries.length);
  for (const entry of entries) {
    const found = read.entries.find(({ key }) => key === entry.key)!;
    const { value_sha256, ...rest } = found;
    assert.deepEqual(rest, { expires_at: null, ...entry });
    if (entry.key === "squeezed") {
      assert.equal(value_sha256, null);
      continue;
    }
    const digest = createHash("sha256").update(valueOf(pool, entry.key)!);
    assert.equal(value_sha256, digest.digest("hex"), entry.key);
  }
});

test("the Python script finds every damage that cortex finds", () => {
  using place = new TempSnapshot();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "8M" });
  fill(pool);
  persist(pool, { path });
  pool.put("late", bytesOf("late", 3000));
  persist(pool, { path });
  const { files, lines } = generationOf(path);
  for (const line of lines.filter((_, i) => i % 9 === 0)) {
    const file = join(path, files[line.file]!.name);
    const whole = readFileSync(file);
    const damaged = Buffer.from(whole);
    damaged[line.position + 70]! ^= 1;
    writeFileSync(file, damaged);
    const read = readByPython(path);
    assert.equal(read.entries.length, 40, read.problems.join());
    assert.deepEqual(read.problems, [
      `the entry at ${line.position} is damaged`,
    ]);
    writeFileSync(file, whole);
  }
  const manifest = join(path, "MANIFEST");
  const whole = readFileSync(manifest);
  whole[whole.length - 5]! ^= 1;
  writeFileSync(manifest, whole);
  const read = readByPython(path);
  assert.deepEqual([read.status, read.generation], [1, 1]);
});

test("the golden snapshot of version 2 restores, and reads as it did", () => {
  using place = new TempSnapshot();
  const read = readByPython(GOLDEN);
  assert.deepEqual(read.problems, []);
  const report = restore(place.name, { path: GOLDEN });
  assert.deepEqual([report.generation, report.entries], [2, 4]);
  using pool = Pool.open(place.name);
  const entries = [...pool.entries()].sort((a, b) => a.key < b.key ? -1 : 1);
  assert.deepEqual(
    entries.map(({ key, parent, tokens, priority, size_bytes }) => ({
      key,
      parent,
      tokens,
      priority,
      size_bytes,
    })),
    [
      { key: "doc-1", parent: null, tokens: 16, priority: -1, size_bytes: 12 },
      {
        key: "doc-2",
        parent: "doc-1",
        tokens: 32,
        priority: 2,
        size_bytes: 9000,
      },
      { key: "empty", parent: null, tokens: 0, priority: 0, size_bytes: 0 },
      {
        key: "squeezed",
        parent: "doc-2",
        tokens: 48,
        priority: 0,
        size_bytes: 20_000,
      },
    ],
  );
  assert.equal((entries[1]!.meta as { note: string }).note.length, 1000);
  assert.equal(entries[0]!.access_count, 3);
  assert.equal(
    new TextDecoder().decode(valueOf(pool, "doc-1")),
    "hello, world",
  );
  assert.ok(valueOf(pool, "doc-2")!.every((byte, i) => byte === i % 251));
  assert.ok(valueOf(pool, "squeezed")!.every((byte) => byte === 7));
  assert.deepEqual(pool.check({ values: true }), { ok: true, problems: [] });
  rmSync(`/dev/shm/cortex.${place.name}`, { force: true });
});
