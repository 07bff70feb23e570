/** What a user comes for: make, fill, look, persist, restore, evict, destroy. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  cache,
  cacheJson,
  cortex,
  poolName,
  refused,
  scratch,
} from "./harness.ts";

const SIZE_16G = 16 * 2 ** 30;

test("create makes a 16G pool at once, and takes memory only as entries come", () => {
  using pool = poolName();
  const begun = performance.now();
  cache("create", pool.name, "--size", "16G", "--tier", "cpu");
  const took_ms = performance.now() - begun;
  const { size, blocks } = statSync(`/dev/shm/cortex.${pool.name}`);
  assert.equal(size, 17_179_869_184);
  assert.ok(blocks * 512 < 32 * 2 ** 20, `${blocks * 512} bytes are taken`);
  // The limit holds on an idle machine; a busy one only must not take seconds.
  assert.ok(took_ms < 3000, `${took_ms} ms`);
  const status = cacheJson("status", pool.name);
  assert.equal(status.size_bytes, SIZE_16G);
  assert.equal(status.block_size_bytes, 512 * 1024);
});

test("status --json has every field, and used and free bytes add up", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "64M", "--policy", "fifo");
  const status = cacheJson("status", pool.name);
  const fields =
    "name uuid version tier policy size_bytes data_bytes used_bytes " +
    "free_bytes block_size_bytes blocks free_blocks entries max_entries attached " +
    "hits misses hit_rate puts evictions created_at modified_at last_persist_at";
  for (const field of fields.split(" ")) {
    assert.ok(field in status, `${field} is missing`);
  }
  assert.equal(status.used_bytes + status.free_bytes, status.data_bytes);
  assert.equal(status.policy, "fifo");
  assert.equal(status.tier, "cpu");
  assert.equal(status.attached, 0);
  assert.equal(status.last_persist_at, null);
  assert.match(status.created_at, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
});

test("list and status without a name show every pool", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  for (const command of ["list", "status"]) {
    const pools: { name: string }[] = cacheJson(command);
    assert.ok(pools.some(({ name }) => name === pool.name), command);
    assert.match(cache(command).stdout, new RegExp(`^${pool.name} `, "m"));
  }
});

test("put and get carry bytes unchanged, by pipes and by files", () => {
  using pool = poolName();
  using dir = scratch();
  cache("create", pool.name, "--size", "16M");
  const value = new Uint8Array(randomBytes(300_001));
  const put = cortex(["cache", "put", pool.name, "piped"], { input: value });
  assert.equal(put.code, 0, put.stderr);
  const piped = cache("get", pool.name, "piped");
  assert.ok(Buffer.from(value).equals(piped.stdoutBytes));

  const file = join(dir.path, "value"), copy = join(dir.path, "copy");
  writeFileSync(file, value);
  cache("put", pool.name, "filed", "--file", file);
  cache("get", pool.name, "filed", "--output", copy);
  assert.ok(readFileSync(copy).equals(value));
});

test("put keeps parent, tokens, priority and metadata, which entries shows", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "16M");
  const before = Date.now();
  const put = cortex([
    "cache",
    "put",
    pool.name,
    "child",
    "--parent",
    "root",
    "--tokens",
    "256",
    "--priority",
    "-2",
    "--meta",
    '{"layer":3,"name":"ä"}',
  ], { input: "value" }); // deno-fmt-ignore
  assert.equal(put.code, 0, put.stderr);
  const [entry] = cacheJson("entries", pool.name);
  const { created_at, last_access_at, ...rest } = entry;
  assert.deepEqual(rest, {
    key: "child",
    size_bytes: 5,
    tokens: 256,
    priority: -2,
    parent: "root",
    access_count: 1,
    expires_at: null,
    meta: { layer: 3, name: "ä" },
  });
  for (const time of [created_at, last_access_at]) {
    assert.ok(Math.abs(Date.parse(time) - before) < 60_000, time);
  }
});

test("entries shows 50 rows to people, and says how many more there are", () => {
  using pool = poolName();
  using dir = scratch();
  cache("create", pool.name, "--size", "16M");
  const file = join(dir.path, "value");
  writeFileSync(file, "x");
  for (let i = 0; i < 53; i++) {
    cache("put", pool.name, `key-${i}`, "--file", file);
  }
  const lines = cache("entries", pool.name).stdout.trimEnd().split("\n");
  assert.equal(lines.length, 52);
  assert.match(lines.at(-1) ?? "", /3 more entries/);
  assert.equal(cacheJson("entries", pool.name).length, 53);
});

test("match counts leading keys and their tokens", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  for (const key of ["a", "b", "d"]) {
    cortex(["cache", "put", pool.name, key, "--tokens", "16"], { input: key });
  }
  assert.deepEqual(cacheJson("match", pool.name, "a", "b", "c", "d"), {
    matched: ["a", "b"],
    tokens: 32,
    deepest: { key: "d", number: 4, tokens: 16 },
  });
  assert.equal(
    cache("match", pool.name, "a", "b", "c", "d").stdout,
    "2 of 4 keys present, 32 tokens; the deepest that is present is key 4, 16 tokens\n",
  );
  assert.equal(
    cache("match", pool.name, "a", "b").stdout,
    "2 of 2 keys present, 32 tokens\n",
  );
  assert.deepEqual(cacheJson("match", pool.name, "x"), {
    matched: [],
    tokens: 0,
    deepest: null,
  });
});

test("evict frees at least the share asked for, in policy order", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "16M");
  for (const key of ["a", "b", "c", "d"]) {
    cortex(["cache", "put", pool.name, key], { input: new Uint8Array(8192) });
  }
  const used = cacheJson("status", pool.name).used_bytes;
  const plan = cacheJson("evict", pool.name, "--percent", "50", "--dry-run");
  assert.deepEqual(plan, {
    dry_run: true,
    evicted_entries: 2,
    freed_bytes: used / 2,
  });
  assert.equal(cacheJson("status", pool.name).entries, 4);
  assert.deepEqual(cacheJson("evict", pool.name, "--percent", "0"), {
    dry_run: false,
    evicted_entries: 0,
    freed_bytes: 0,
  });
  assert.equal(cacheJson("evict", pool.name).evicted_entries, 1);
  const keys = cacheJson("entries", pool.name).map((e: { key: string }) =>
    e.key
  );
  assert.deepEqual(keys.sort(), ["b", "c", "d"]);
  assert.equal(
    cacheJson("evict", pool.name, "--percent", "100").evicted_entries,
    3,
  );
  assert.equal(cacheJson("status", pool.name).used_bytes, 0);
});

test("persist, destroy and restore bring every entry back as it was", () => {
  using pool = poolName();
  using dir = scratch();
  const path = join(dir.path, "snap");
  cache(
    "create",
    pool.name,
    "--size",
    "16M",
    "--policy",
    "lfu",
    "--namespace",
    "m",
  );
  const value = new Uint8Array(randomBytes(70_000));
  cortex(["cache", "put", pool.name, "k", "--tokens", "9", "--meta", "[1]"], {
    input: value,
  });
  cache("get", pool.name, "k");
  const before = cacheJson("entries", pool.name);
  const saved = cacheJson("persist", pool.name, "--path", path);
  assert.equal(saved.entries, 1);
  assert.equal(statSync(join(path, "MANIFEST")).mode & 0o777, 0o600);
  assert.notEqual(cacheJson("status", pool.name).last_persist_at, null);
  cache("destroy", pool.name, "--yes");
  refused(3, ["status", pool.name]);
  const restored = cacheJson("restore", pool.name, "--path", path);
  assert.deepEqual([restored.name, restored.entries], [pool.name, 1]);
  assert.deepEqual(cacheJson("entries", pool.name), before);
  const status = cacheJson("status", pool.name);
  assert.equal(status.policy, "lfu");
  assert.equal(status.hits, 1);
  assert.ok(
    Buffer.from(value).equals(cache("get", pool.name, "k").stdoutBytes),
  );
  assert.deepEqual(cacheJson("check", pool.name, "--values"), {
    ok: true,
    problems: [],
  });
});

test("persist without --path uses CORTEX_HOME", () => {
  using pool = poolName();
  using dir = scratch();
  cache("create", pool.name, "--size", "1M");
  const environment = { CORTEX_HOME: dir.path };
  const saved = cortex(["cache", "persist", pool.name], { environment });
  assert.equal(saved.code, 0, saved.stderr);
  assert.ok(
    statSync(join(dir.path, "snapshots", pool.name, "MANIFEST")).isFile(),
  );
  cache("destroy", pool.name);
  assert.equal(
    cortex(["cache", "restore", pool.name], { environment }).code,
    0,
  );
});

test("delete takes entries out, or none if one is missing", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  for (const key of ["a", "b"]) {
    cortex(["cache", "put", pool.name, key], { input: key });
  }
  refused(3, ["delete", pool.name, "a", "nope"]);
  assert.equal(cacheJson("status", pool.name).entries, 2);
  assert.deepEqual(cacheJson("delete", pool.name, "a", "b").deleted, [
    "a",
    "b",
  ]);
  assert.equal(cacheJson("status", pool.name).entries, 0);
});

test("policies lists all of them, and --help has an example for every command", () => {
  const names = cacheJson("policies").map((p: { name: string }) => p.name);
  assert.equal(
    names.join(" "),
    "lru lfu fifo priority sieve s3fifo arc prefix",
  );
  const help = cache("--help").stdout;
  const commands =
    "create list status put get delete entries match evict persist " +
    "restore snapshot schedule check gc destroy policies record";
  for (const command of commands.split(" ")) {
    assert.match(help, new RegExp(`^  ${command}\\b`, "m"));
    assert.match(
      cache(command, "--help").stdout,
      /Example:\n {2}\$ cortex cache /,
    );
  }
});

test("--version says the version, with an empty environment too", () => {
  const { code, stdout } = cortex(["--version"]);
  assert.equal(code, 0);
  assert.match(stdout, /^cortex \d+\.\d+\.\d+ \(format 3\)\n$/);
});
