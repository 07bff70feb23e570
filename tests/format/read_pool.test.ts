/**
 * The format is what docs/FORMAT.md says: a reader in Python, written from that
 * page alone, finds every entry and value of a live pool. And the golden files,
 * kept for ever, still open.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { copyFileSync, rmSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { Pool, restore } from "../../lib/mod.ts";

const READER = fileURLToPath(new URL("read_pool.py", import.meta.url));
const GOLDEN = fileURLToPath(new URL("golden/", import.meta.url));

interface Read {
  entry_count: number;
  namespace: string;
  entries: {
    key: string;
    parent: string | null;
    tokens: number;
    priority: number;
    size_bytes: number;
    access_count: number;
    meta: unknown;
    value_sha256: string;
  }[];
}

function readByPython(name: string): Read {
  const { status, stdout, stderr } = spawnSync(
    "python3",
    [READER, `/dev/shm/cortex.${name}`],
    { encoding: "utf8", maxBuffer: 1 << 28 },
  );
  assert.equal(status, 0, stderr);
  return JSON.parse(stdout);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function temporaryPool(label: string) {
  const name = `test-format-${process.pid}-${label}`;
  return {
    name,
    [Symbol.dispose]() {
      rmSync(`/dev/shm/cortex.${name}`, { force: true });
    },
  };
}

test("a Python reader made from FORMAT.md finds every entry and value", () => {
  using temporary = temporaryPool("python");
  using pool = Pool.create(temporary.name, {
    size: "4M",
    namespace: "llama-ä",
  });
  const values = new Map<string, Uint8Array>();
  for (let i = 0; i < 60; i++) {
    const key = `key-${i}`, value = new Uint8Array(randomBytes(i * 977));
    values.set(key, value);
    pool.put(key, value, {
      parent: i > 0 ? `key-${i - 1}` : undefined,
      tokens: i * 16,
      priority: i - 30,
      meta: i % 7 === 0 ? { long: "x".repeat(3000) } : { i },
    });
  }
  // Holes, so that the next value lies in several pieces.
  for (let i = 0; i < 60; i += 3) {
    pool.delete(`key-${i}`);
    values.delete(`key-${i}`);
  }
  const large = new Uint8Array(randomBytes(2_000_000));
  pool.put("large", large);
  values.set("large", large);
  pool.get("key-1")?.release();

  const read = readByPython(temporary.name);
  assert.equal(read.namespace, "llama-ä");
  assert.equal(read.entry_count, values.size);
  assert.equal(read.entries.length, values.size);
  for (const entry of read.entries) {
    const value = values.get(entry.key)!;
    assert.equal(entry.value_sha256, sha256(value), entry.key);
    const info = pool.info(entry.key)!;
    assert.deepEqual(entry.meta, info.meta);
    assert.equal(entry.parent, info.parent);
    assert.equal(entry.tokens, info.tokens);
    assert.equal(entry.priority, info.priority);
    assert.equal(entry.access_count, info.access_count);
  }
});

test("the Python reader refuses a pool with one wrong bit", () => {
  using temporary = temporaryPool("damaged");
  {
    using pool = Pool.create(temporary.name, { size: "1M" });
    pool.put("key", new Uint8Array(100).fill(7));
    using hit = pool.get("key");
    hit!.bytes[50]! ^= 1;
  }
  const { status } = spawnSync("python3", [
    READER,
    `/dev/shm/cortex.${temporary.name}`,
  ]);
  assert.equal(status, 1);
});

/** What the golden files hold; they were made by the first release. */
const GOLDEN_ENTRIES = [
  { key: "doc-1", parent: null, tokens: 16, priority: -1, size_bytes: 12 },
  { key: "doc-2", parent: "doc-1", tokens: 32, priority: 2, size_bytes: 9000 },
  { key: "empty", parent: null, tokens: 0, priority: 0, size_bytes: 0 },
] as const;

function expectGolden(pool: Pool): void {
  const entries = [...pool.entries()].sort((a, b) => a.key < b.key ? -1 : 1);
  assert.deepEqual(
    entries.map(({ key, parent, tokens, priority, size_bytes }) => ({
      key,
      parent,
      tokens,
      priority,
      size_bytes,
    })),
    GOLDEN_ENTRIES,
  );
  assert.equal((entries[1]!.meta as { note: string }).note.length, 1000);
  using first = pool.get("doc-1"), second = pool.get("doc-2");
  assert.equal(new TextDecoder().decode(first!.verify().bytes), "hello, world");
  assert.ok(second!.verify().bytes.every((byte, i) => byte === i % 251));
  assert.deepEqual(pool.check({ values: true }), { ok: true, problems: [] });
}

for (const version of [1, 2]) {
  test(`the golden pool of format ${version} is refused by name of both versions`, () => {
    using temporary = temporaryPool(`golden-${version}`);
    copyFileSync(
      `${GOLDEN}pool-v${version}.bin`,
      `/dev/shm/cortex.${temporary.name}`,
    );
    assert.throws(
      () => Pool.open(temporary.name),
      new RegExp(
        `it has format version ${version}, this cortex speaks version 3`,
      ),
    );
  });
}

test("the golden pool of format 3 opens, and reads as it did", () => {
  using temporary = temporaryPool("golden");
  copyFileSync(
    `${GOLDEN}pool-v3.bin`,
    `/dev/shm/cortex.${temporary.name}`,
  );
  assert.equal(readByPython(temporary.name).entries.length, 3);
  using pool = Pool.open(temporary.name);
  expectGolden(pool);
});

test("the golden snapshot of version 1 restores, and reads as it did", () => {
  using temporary = temporaryPool("golden-snapshot");
  const report = restore(temporary.name, { path: `${GOLDEN}snapshot-v1` });
  assert.equal(report.entries, 3);
  using pool = Pool.open(temporary.name);
  expectGolden(pool);
});
