/** Looking at what was saved, restoring it, and pools on disk. */
import assert from "node:assert/strict";
import {
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  cache,
  cacheJson,
  cortex,
  poolName,
  put,
  refused,
  scratch,
  start,
} from "./harness.ts";

test("snapshot lists, shows, verifies and prunes what was saved", () => {
  using pool = poolName();
  using dir = scratch();
  const path = join(dir.path, "snap");
  const at = ["--path", path];
  cache("create", pool.name, "--size", "1M");
  for (let i = 1; i <= 4; i++) {
    put(pool.name, `key-${i}`);
    cache("persist", pool.name, ...at, "--keep", "5");
  }
  const list = cacheJson("snapshot", "list", pool.name, ...at);
  assert.deepEqual(
    list.generations.map((one: { generation: number }) => one.generation),
    [4, 3, 2, 1],
  );
  assert.match(
    cache("snapshot", "list", pool.name, ...at).stdout,
    /^GENERATION +SAVED .*\n +4 .* complete\n +3 /,
  );
  assert.deepEqual(
    JSON.parse(cortex(["snapshot", "list", pool.name, ...at, "--json"]).stdout),
    list,
    "with or without cache before it",
  );
  const shown = cacheJson("snapshot", "show", pool.name, ...at);
  assert.deepEqual([shown.generation, shown.entries, shown.files.length], [
    4,
    4,
    4,
  ]);
  assert.equal(shown.pool.policy, "prefix");
  assert.equal(shown.pool.mode, "0600");
  assert.equal(shown.pool.tick ?? shown.pool.next_sequence, undefined);
  assert.match(
    cache("snapshot", "show", pool.name, ...at, "--generation", "2").stdout,
    /^generation +2, /,
  );
  refused(3, ["snapshot", "show", pool.name, ...at, "--generation", "9"]);
  refused(3, ["snapshot", "verify", pool.name, ...at, "--generation", "9"]);
  refused(3, ["snapshot", "list", pool.name, "--path", join(path, "none")]);
  const verified = cacheJson("snapshot", "verify", pool.name, ...at);
  assert.deepEqual([verified.ok, verified.entries, verified.problems], [
    true,
    4,
    [],
  ]);
  const pruned = cacheJson(
    "snapshot",
    "prune",
    pool.name,
    ...at,
    "--keep",
    "1",
  );
  assert.deepEqual([pruned.generations, pruned.files], [[4, 3], 2]);
  refused(2, ["snapshot", "prune", pool.name, ...at, "--keep", "-1"]);
  const base = readdirSync(path).find((name) => name.startsWith("base-"))!;
  const bytes = readFileSync(join(path, base));
  bytes[bytes.indexOf("key-1key-1") + 100]! ^= 1;
  writeFileSync(join(path, base), bytes);
  const damaged = cortex(["cache", "snapshot", "verify", pool.name, ...at]);
  assert.equal(damaged.code, 5);
  assert.match(damaged.stdout, /the value of entry "key-1" in base-/);
  for (const name of ["list", "show", "verify", "prune"]) {
    assert.match(
      cache("snapshot", name, "--help").stdout,
      new RegExp(`Example:\n {2}\\$ cortex cache snapshot ${name} `),
    );
  }
});

test("restore --background returns at once, and hits grow for others", async () => {
  using pool = poolName();
  using dir = scratch();
  const path = join(dir.path, "snap");
  cache("create", pool.name, "--size", "64M");
  const file = join(dir.path, "value");
  writeFileSync(file, Buffer.alloc(2_000_000, "v"));
  for (let i = 0; i < 20; i++) {
    cache("put", pool.name, `key-${i}`, "--file", file);
  }
  cache("persist", pool.name, "--path", path);
  cache("destroy", pool.name);
  const begun = cacheJson("restore", pool.name, "--path", path, "--background");
  assert.equal(begun.total_bytes, 40_000_000);
  // It is there already, and fills up by itself.
  for (let tries = 0;; tries++) {
    const { loading, entries } = cacheJson("status", pool.name);
    if (!loading) {
      assert.equal(entries, 20);
      break;
    }
    assert.ok(tries < 300, `${entries} entries`);
    await new Promise((done) => setTimeout(done, 100));
  }
  assert.equal(cache("get", pool.name, "key-7").stdout.length, 2_000_000);
  const failed = cortex([
    "cache",
    "restore",
    pool.name,
    "--path",
    path,
    "--background",
  ]);
  assert.equal(failed.code, 1);
  assert.match(failed.stderr, /^cortex: Cannot restore pool .* has entries\n/);
});

test("restore merges, replaces, and refuses another namespace", () => {
  using pool = poolName();
  using dir = scratch();
  const path = join(dir.path, "snap");
  cache("create", pool.name, "--size", "1M", "--namespace", "m1");
  put(pool.name, "a"), put(pool.name, "b");
  cache("persist", pool.name, "--path", path);
  cache("delete", pool.name, "a");
  put(pool.name, "c");
  const restore = ["restore", pool.name, "--path", path];
  assert.match(refused(1, restore), /--merge to keep them, or --replace/);
  const merged = cacheJson(...restore, "--merge");
  assert.deepEqual([merged.entries, merged.present], [1, 1]);
  assert.equal(cacheJson("status", pool.name).entries, 3);
  assert.equal(cacheJson(...restore, "--replace").entries, 2);
  assert.equal(cacheJson("status", pool.name).entries, 2);
  refused(2, [...restore, "--merge", "--replace"]);
  assert.match(
    refused(1, [...restore, "--merge", "--namespace", "m2"]),
    /namespace is "m1", not "m2"/,
  );
  cache("destroy", pool.name);
  refused(1, [...restore, "--namespace", "m2"]);
  cache("create", pool.name, "--size", "1M", "--namespace", "m2");
  assert.match(refused(1, restore), /namespace is "m1", not "m2"/);
});

test("a pool on disk whose file is gone says so, and can be forgotten", () => {
  using dir = scratch();
  using pool = poolName();
  const file = join(dir.path, "pool");
  cache("create", pool.name, "--size", "1M", "--tier", "disk", "--path", file);
  rmSync(file);
  for (const command of ["status", "persist", "put"]) {
    const said = refused(3, [
      command,
      pool.name,
      ...command === "put" ? ["k"] : [],
    ]);
    assert.ok(said.includes(`its file "${file}" does not exist`), said);
    assert.match(said, /forget the pool: cortex cache destroy/);
  }
  cache("destroy", pool.name, "--yes");
  refused(3, ["destroy", pool.name, "--yes"]);
});

test("create says so where a pool on disk would be in memory", () => {
  using pool = poolName();
  const file = `/dev/shm/${pool.name}.file`;
  const made = cache(
    ...["create", pool.name, "--size", "1M", "--tier", "disk"],
    ...["--path", file],
  );
  assert.match(
    made.stderr,
    /in memory \(tmpfs\): it will not survive a reboot/,
  );
});

test("a pool on disk is a pool, stays, and is saved by persist", () => {
  using pool = poolName();
  using dir = scratch();
  const environment = { CORTEX_HOME: dir.path };
  const file = join(dir.path, "pool");
  const run = (...args: string[]) => {
    const result = cortex(["cache", ...args], { environment, input: "value" });
    assert.equal(result.code, 0, result.stderr);
    return result.stdout;
  };
  try {
    run("create", pool.name, "--size", "4M", "--tier", "disk", "--path", file);
    run("put", pool.name, "key");
    assert.equal(run("get", pool.name, "key"), "value");
    assert.ok(!existsSync(`/dev/shm/cortex.${pool.name}`));
    assert.match(run("list"), new RegExp(`^${pool.name} `, "m"));
    const status = JSON.parse(run("status", pool.name, "--json"));
    assert.deepEqual([status.tier, status.file], ["disk", file]);
    assert.match(
      run("status", pool.name),
      new RegExp(`^tier +disk, ${file}$`, "m"),
    );
    assert.match(run("persist", pool.name), new RegExp(`to ${file} in `));
    assert.doesNotMatch(run("schedule", pool.name), /@reboot/);
    const units = run("schedule", pool.name, "--systemd");
    assert.match(units, new RegExp(`^ConditionPathExists=${file}$`, "m"));
    assert.doesNotMatch(units, /restore pool|RemoveIPC=/);
    const saved = run("persist", pool.name, "--path", join(dir.path, "snap"));
    assert.match(saved, /^Saved 1 entry/);
    run("check", pool.name, "--values");
    refused(1, ["create", pool.name, "--size", "1M"], { environment });
    refused(1, [
      "create",
      `${pool.name}-2`,
      "--size",
      "1M",
      "--tier",
      "disk",
      "--path",
      file,
    ], { environment });
    assert.match(
      refused(2, ["create", pool.name, "--size", "1M", "--tier", "gpu"]),
      /it would need a driver's memory interface/,
    );
  } finally {
    run("destroy", pool.name, "--yes");
  }
  assert.ok(!existsSync(file));
  assert.deepEqual(readdirSync(join(dir.path, "pools")), []);
  refused(3, ["status", pool.name], { environment });
});

test("Ctrl-C during a save leaves the former snapshot, and no file", async () => {
  using pool = poolName();
  using dir = scratch();
  const path = join(dir.path, "snap");
  cache("create", pool.name, "--size", "1G");
  put(pool.name, "small");
  cache("persist", pool.name, "--path", path);
  const file = join(dir.path, "value");
  writeFileSync(file, Buffer.alloc(100_000_000, "v"));
  for (let i = 0; i < 8; i++) {
    cache("put", pool.name, `key-${i}`, "--file", file);
  }
  const saving = start(["cache", "persist", pool.name, "--path", path]);
  let said = "";
  saving.stderr.setEncoding("utf8").on("data", (text) => said += text);
  const ended = new Promise((done) => saving.once("close", done));
  while (!readdirSync(path).some((name) => name.endsWith(".tmp"))) {
    await new Promise((done) => setTimeout(done, 2));
  }
  saving.kill("SIGINT");
  await ended;
  // A fast machine may have come to the end before.
  const interrupted = /Cannot persist pool .*: interrupted/.test(said);
  assert.ok(interrupted || said === "", said);
  assert.ok(!readdirSync(path).some((name) => name.endsWith(".tmp")));
  const { entries } = cacheJson(
    "snapshot",
    "verify",
    pool.name,
    "--path",
    path,
  );
  assert.equal(entries, interrupted ? 1 : 9);
});
