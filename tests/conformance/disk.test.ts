/** Tier disk: what outlives the host's runs, and what a crash of it costs. */
import assert from "node:assert/strict";
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { OsError } from "../../ffi/platform.ts";
import { persist, Pool, restore } from "../../lib/mod.ts";
import {
  assertWhole,
  bytesOf,
  hostWith,
  keysOf,
  uniqueName,
} from "../helpers.ts";

/** A pool on disk of one test's own, in a state home of its own. */
class DiskPool implements Disposable {
  readonly name = uniqueName();
  readonly home = mkdtempSync(join(tmpdir(), "cortex-disk-"));
  readonly file = join(this.home, "data.pool");
  #boot = 1;

  /** The host in its present run. */
  get platform() {
    const boot = String(this.#boot).padStart(32, "0");
    const host = hostWith({});
    return hostWith({
      bootId: () => boot,
      environment: (name) =>
        name === "CORTEX_HOME" ? this.home : host.environment(name),
    });
  }

  reboot(): void {
    this.#boot++;
  }

  create(size = "4M"): Pool {
    const { platform, file } = this;
    return Pool.create(this.name, { size, tier: "disk", path: file, platform });
  }

  open(): Pool {
    return Pool.open(this.name, { platform: this.platform });
  }

  /** Writes into the file, as a page that a crash left as it was before. */
  write(offset: number, bytes: Uint8Array): void {
    const fd = openSync(this.file, "r+");
    writeSync(fd, bytes, 0, bytes.length, offset);
    closeSync(fd);
  }

  [Symbol.dispose](): void {
    rmSync(this.home, { recursive: true, force: true });
  }
}

function fill(pool: Pool, count = 10): void {
  for (let i = 0; i < count; i++) {
    pool.put(`key-${i}`, bytesOf(i, 20_000), { meta: { i } });
  }
}

function assertFilled(pool: Pool, count = 10): void {
  for (let i = 0; i < count; i++) {
    using hit = pool.get(`key-${i}`);
    assert.deepEqual(hit?.bytes.slice(), bytesOf(i, 20_000), `key-${i}`);
  }
}

test("a pool on disk is found by its name, and survives a reboot by itself", () => {
  using disk = new DiskPool();
  {
    using pool = disk.create();
    fill(pool);
    assert.deepEqual(
      [pool.status().tier, pool.status().file],
      ["disk", disk.file],
    );
    const report = persist(pool);
    assert.deepEqual([report.path, report.entries], [disk.file, 10]);
    assert.notEqual(pool.status().last_persist_at, null);
  }
  assert.equal(statSync(disk.file).mode & 0o777, 0o600);
  assert.ok(Pool.list({ platform: disk.platform }).includes(disk.name));
  disk.reboot();
  using pool = disk.open();
  const epoch = pool.core.header.get("epoch");
  assert.notEqual(epoch, 0);
  assertFilled(pool);
  fill(pool, 20);
  assertFilled(pool, 20);
  assertWhole(pool);
  using other = disk.open();
  assert.equal(other.core.header.get("epoch"), epoch);
  assertFilled(other, 20);
});

test("no two runs of the host have one epoch, whatever page comes back as it was", () => {
  using disk = new DiskPool();
  disk.create().close();
  const epochs = new Set<number>();
  for (let boot = 0; boot < 5; boot++) {
    disk.reboot();
    using pool = disk.open();
    epochs.add(pool.core.header.get("epoch"));
    // As if the page had not come to the disk before the next crash.
    pool.core.header.set("epoch", 0);
  }
  assert.equal(epochs.size, 5);
});

test("after a crash of the host a value is checked when it is first read", () => {
  using disk = new DiskPool();
  let offset = 0, record = 0;
  {
    using pool = disk.create();
    fill(pool);
    const { table, geometry } = pool.core;
    const entry = [...Array(table.count).keys()].find((entry) =>
      pool.core.contents.read(entry)?.key === "key-3"
    )!;
    offset = geometry.data_offset +
      table.extents(entry)![0]!.start * geometry.block_bytes;
    const other = [...Array(table.count).keys()].find((entry) =>
      pool.core.contents.read(entry)?.key === "key-6"
    )!;
    record = geometry.records_offset + other * 512;
  }
  disk.write(offset + 5000, Uint8Array.of(1, 2, 3));
  disk.write(record + 300, new Uint8Array(16).fill(0xaa)); // torn: its checksum tells
  disk.reboot();
  using pool = disk.open();
  assert.ok(pool.has("key-3"), "nobody has looked yet");
  assert.equal(pool.has("key-6"), false, "its record was torn");
  assert.equal(pool.get("key-3"), undefined);
  assert.equal(pool.has("key-3"), false);
  const { hits, misses } = pool.status();
  assert.deepEqual([hits, misses], [0, 1]);
  assertWhole(pool);
  for (const key of keysOf(pool)) {
    using hit = pool.get(key);
    assert.deepEqual(
      hit?.bytes.slice(),
      bytesOf(Number(key.slice(4)), 20_000),
    );
  }
  // In the same run of the host it is not looked at again.
  const crcs = { count: 0 };
  const host = disk.platform;
  using counting = Pool.open(disk.name, {
    platform: new Proxy(host, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        if (name === "crc32") crcs.count++;
        return value.bind(target);
      },
    }),
  });
  crcs.count = 0;
  counting.get("key-1")?.release();
  assert.equal(crcs.count, 0);
});

test("whatever pages a crash leaves as they were, no wrong byte is read", () => {
  using disk = new DiskPool();
  {
    using pool = disk.create("512K");
    fill(pool, 8);
  }
  const before = readFileSync(disk.file);
  {
    using pool = disk.open();
    for (let i = 0; i < 40; i++) {
      pool.put(`key-${i % 12}`, bytesOf(i % 12, 20_000), { tokens: i });
    }
  }
  const after = readFileSync(disk.file);
  let random = 1;
  const next = () => random = Math.imul(random, 48271) % 2147483647;
  let read = 0;
  for (let life = 0; life < 60; life++) {
    const torn = Buffer.from(after);
    for (let at = 0; at < torn.length; at += 4096) {
      if (at > 0 && next() % 3 === 0) before.copy(torn, at, at, at + 4096);
    }
    writeFileSync(disk.file, torn);
    disk.reboot();
    using pool = disk.open();
    for (let i = 0; i < 12; i++) {
      using hit = pool.get(`key-${i}`);
      if (!hit) continue;
      read++;
      assert.deepEqual(hit.bytes.slice(), bytesOf(i, 20_000), `life ${life}`);
    }
    pool.put("new", bytesOf("new", 30_000));
    using hit = pool.get("new");
    assert.deepEqual(hit?.bytes.slice(), bytesOf("new", 30_000));
    assert.deepEqual(pool.check({ values: true }).problems, [], `life ${life}`);
  }
  assert.ok(read > 0);
});

test("a truncated, foreign or missing file is a typed error", () => {
  using disk = new DiskPool();
  disk.create().close();
  const whole = readFileSync(disk.file);
  writeFileSync(disk.file, whole.subarray(0, 1 << 20));
  assert.throws(() => disk.open(), { code: "CORRUPT" });
  writeFileSync(disk.file, Buffer.alloc(8192));
  assert.throws(() => disk.open(), { code: "CORRUPT" });
  rmSync(disk.file);
  assert.throws(() => disk.open(), { code: "NOT_FOUND" });
  // A link that leads nowhere is no pool, and its name is free.
  disk.create().close();
  Pool.destroy(disk.name, { platform: disk.platform });
  assert.equal(existsSync(disk.file), false);
  assert.deepEqual(readdirSync(join(disk.home, "pools")), []);
});

test("names and files that are taken are refused, and nothing is left behind", () => {
  using disk = new DiskPool();
  const { name, platform, file, home } = disk;
  disk.create().close();
  const make = (name: string, options: object) => () =>
    Pool.create(name, { size: "1M", platform, ...options }).close();
  const onDisk = (path: string) => ({ tier: "disk", path });
  assert.throws(make(name, {}), { code: "EXISTS" });
  assert.throws(make(name, onDisk(`${home}/other`)), { code: "EXISTS" });
  assert.throws(make(`${name}-2`, onDisk(file)), {
    code: "EXISTS",
    message: /data\.pool" exists already/,
  });
  assert.throws(make(`${name}-2`, onDisk(`${home}/no/such/file`)), {
    code: "NOT_FOUND",
  });
  assert.deepEqual(readdirSync(home).sort(), ["data.pool", "pools"]);
  assert.deepEqual(readdirSync(join(home, "pools")), [name]);
});

test("a full disk is told of when a pool is made, or an entry put", () => {
  using disk = new DiskPool();
  const full = () => {
    throw new OsError("fallocate", "ENOSPC");
  };
  const platform = (host: typeof disk.platform) =>
    new Proxy(host, {
      get(target, name) {
        if (name === "allocate") return full;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  assert.throws(
    () =>
      Pool.create(disk.name, {
        size: "4M",
        tier: "disk",
        path: disk.file,
        platform: platform(disk.platform),
      }),
    { code: "NO_SPACE" },
  );
  assert.deepEqual(readdirSync(disk.home), []);
  disk.create().close();
  using pool = Pool.open(disk.name, { platform: platform(disk.platform) });
  assert.throws(() => pool.put("k", bytesOf("k", 10_000)), {
    code: "NO_SPACE",
  });
});

test("what a killed create left beside the file is removed by the next", () => {
  using disk = new DiskPool();
  writeFileSync(join(disk.home, ".data.pool.0badf00d"), "x".repeat(5000));
  writeFileSync(join(disk.home, ".data.pool.notes.txt"), "mine");
  disk.create().close();
  assert.deepEqual(
    readdirSync(disk.home).sort(),
    [".data.pool.notes.txt", "data.pool", "pools"],
  );
});

test("a pool on disk is saved to a snapshot where a path is given, and comes back in memory", () => {
  using disk = new DiskPool();
  using pool = disk.create();
  fill(pool);
  const path = join(disk.home, "snapshot");
  assert.equal(persist(pool, { path }).written_entries, 10);
  const name = uniqueName();
  try {
    restore(name, { path });
    using copy = Pool.open(name);
    assert.equal(copy.status().tier, "cpu");
    assertFilled(copy);
  } finally {
    rmSync(`/dev/shm/cortex.${name}`, { force: true });
  }
});
