/** Bad input: one clear line, the right exit code, and nothing changed. */
import assert from "node:assert/strict";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  cache,
  cacheJson,
  cortex,
  poolName,
  refused,
  scratch,
  start,
} from "./harness.ts";

test("create refuses sizes that can never be right", () => {
  using pool = poolName();
  const sizes = [
    "",
    "0",
    "-1",
    "-5G",
    "abc",
    "1.2.3G",
    "12Q",
    "1e30",
    "NaN",
    "Infinity",
    "9007199254740993",
    "99999999999999P",
    "0x10",
    " ",
    "4096",
  ]; // deno-fmt-ignore
  for (const size of sizes) refused(2, ["create", pool.name, "--size", size]);
  refused(2, ["create", pool.name]);
  assert.equal(existsSync(`/dev/shm/cortex.${pool.name}`), false);
});

test("create refuses names that could lead elsewhere", () => {
  const names = [
    "a/b",
    "..",
    "../x",
    "a..b",
    "",
    ".hidden",
    "a b",
    "a\nb",
    "ä",
    "x".repeat(129),
  ]; // deno-fmt-ignore
  for (const name of names) refused(2, ["create", name, "--size", "1M"]);
});

test("create refuses block sizes, entry limits, modes, tiers and policies that cannot be", () => {
  using pool = poolName();
  const options = [
    ["--block-size", "5000"],
    ["--block-size", "1K"],
    ["--block-size", "64G"],
    ["--max-entries", "0"],
    ["--max-entries", "-3"],
    ["--max-entries", "x"],
    ["--max-entries", "99999999999"],
    ["--mode", "999"],
    ["--mode", "rw"],
    ["--tier", "gpu"],
    ["--tier", "tape"],
    ["--policy", "magic"],
    ["--namespace", "x".repeat(300)],
    ["--no-such-option", "1"],
  ]; // deno-fmt-ignore
  for (const option of options) {
    refused(2, ["create", pool.name, "--size", "1M", ...option]);
  }
  assert.equal(existsSync(`/dev/shm/cortex.${pool.name}`), false);
});

test("create refuses a name that is taken, and leaves that pool as it is", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  const { uuid } = cacheJson("status", pool.name);
  refused(1, ["create", pool.name, "--size", "2M"]);
  assert.equal(cacheJson("status", pool.name).uuid, uuid);
});

test("a missing pool, key, file or snapshot is exit code 3", () => {
  using pool = poolName();
  using dir = scratch();
  const nowhere = join(dir.path, "nowhere");
  for (
    const args of [
      ["status"],
      ["entries"],
      ["check"],
      ["destroy"],
      ["evict"],
      ["persist"],
    ] // deno-fmt-ignore
  ) refused(3, [...args, pool.name]);
  for (const command of ["get", "delete", "match", "put"]) {
    refused(3, [command, pool.name, "key"]);
  }
  refused(3, ["restore", pool.name, "--path", nowhere]);
  cache("create", pool.name, "--size", "1M");
  refused(3, ["get", pool.name, "key"]);
  refused(3, ["put", pool.name, "key", "--file", nowhere]);
  assert.equal(cacheJson("status", pool.name).entries, 0);
});

test("put refuses keys, metadata and numbers that cannot be", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  refused(2, ["put", pool.name, ""]);
  refused(2, ["put", pool.name, "k".repeat(1025)]);
  for (
    const option of [
      ["--meta", "{bad"],
      ["--meta", `"${"x".repeat(5000)}"`],
      ["--tokens", "-1"],
      ["--tokens", "1.5"],
      ["--tokens", "5000000000"],
      ["--priority", "3000000000"],
      ["--parent", "p".repeat(1025)],
      ["--parent", ""],
    ] // deno-fmt-ignore
  ) refused(2, ["put", pool.name, "key", ...option], { input: "v" });
  refused(1, ["put", pool.name, "key", "--file", "/dev/zero"]);
  assert.deepEqual(cacheJson("entries", pool.name), []);
  assert.equal(cacheJson("check", pool.name).ok, true);
});

test("a key of the longest length with the longest metadata is taken", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  const key = "k".repeat(1024), meta = JSON.stringify("x".repeat(4094));
  cortex(["cache", "put", pool.name, key, "--meta", meta], { input: "v" });
  const [entry] = cacheJson("entries", pool.name);
  assert.equal(entry.key, key);
  assert.equal(entry.meta.length, 4094);
  assert.equal(cache("get", pool.name, key).stdout, "v");
});

test("evict refuses a percent outside 0 to 100, and evicts nothing", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  cortex(["cache", "put", pool.name, "k"], { input: "v" });
  for (const percent of ["-1", "-50", "101", "1e3", "x", "", "NaN"]) {
    refused(2, ["evict", pool.name, "--percent", percent]);
  }
  refused(2, ["evict", pool.name, "--policy", "magic"]);
  assert.equal(cacheJson("status", pool.name).entries, 1);
});

test("a value larger than the pool is exit code 6, and nothing is evicted for it", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  cortex(["cache", "put", pool.name, "k"], { input: "v" });
  refused(6, ["put", pool.name, "big"], { input: new Uint8Array(2 << 20) });
  assert.equal(cacheJson("status", pool.name).entries, 1);
});

test("a segment that is no pool, or a damaged one, is exit code 5", () => {
  using pool = poolName();
  const segment = `/dev/shm/cortex.${pool.name}`;
  try {
    for (
      const content of [
        new Uint8Array(),
        new Uint8Array(100),
        new Uint8Array(1 << 20),
      ]
    ) {
      writeFileSync(segment, content);
      for (
        const command of ["status", "check", "entries", "evict", "destroy"]
      ) {
        refused(5, [command, pool.name]);
      }
      assert.equal(
        cortex(["cache", "list"]).code,
        0,
        "others can still be listed",
      );
    }
  } finally {
    rmSync(segment);
  }
  cache("create", pool.name, "--size", "1M");
  const bytes = readFileSync(segment);
  bytes[8] = 7;
  writeFileSync(segment, bytes);
  assert.match(refused(5, ["status", pool.name]), /version 7.*version 3/);
  bytes[8] = 3;
  bytes[40]! ^= 1;
  writeFileSync(segment, bytes);
  assert.match(refused(5, ["status", pool.name]), /checksum/);
  cache("destroy", pool.name); // a damaged pool of ours can be removed
});

test("a symbolic link in the place of a pool is refused", () => {
  using pool = poolName();
  using dir = scratch();
  const target = join(dir.path, "target");
  writeFileSync(target, new Uint8Array(1 << 20));
  const segment = `/dev/shm/cortex.${pool.name}`;
  symlinkSync(target, segment);
  try {
    refused(5, ["status", pool.name]);
  } finally {
    rmSync(segment);
  }
});

function makeSnapshot(name: string, directory: string): string {
  const path = join(directory, "snap");
  cache("create", name, "--size", "1M");
  for (const key of ["a", "b", "c"]) {
    cortex(["cache", "put", name, key], { input: key.repeat(5000) });
  }
  cache("persist", name, "--path", path);
  cache("destroy", name);
  return path;
}

function baseFile(path: string): string {
  return join(
    path,
    readdirSync(path).find((file) => file.startsWith("base-"))!,
  );
}

test("restore refuses what is no snapshot, of another version, or truncated", () => {
  using pool = poolName();
  using dir = scratch();
  const path = makeSnapshot(pool.name, dir.path);
  const manifest = join(path, "MANIFEST"), base = baseFile(path);
  const bytesOfManifest = readFileSync(manifest);
  const whole = bytesOfManifest.toString("latin1");
  const refuse = (code: number, pattern: RegExp) => {
    assert.match(
      refused(code, ["restore", pool.name, "--path", path]),
      pattern,
    );
    assert.equal(existsSync(`/dev/shm/cortex.${pool.name}`), false);
  };
  refused(5, ["restore", pool.name, "--path", manifest]);
  writeFileSync(manifest, "hello\n");
  refuse(5, /its manifest is damaged/);
  using foreign = scratch();
  writeFileSync(join(foreign.path, "MANIFEST"), "hello\n");
  for (const command of ["restore", "persist"]) {
    if (command === "persist") cache("create", pool.name, "--size", "1M");
    assert.match(
      refused(5, [command, pool.name, "--path", foreign.path]),
      /not one of ours/,
    );
  }
  cache("destroy", pool.name, "--yes");
  writeFileSync(manifest, whole.replace('"version":2', '"version":9'));
  refuse(5, /version 9.*version 2/);
  writeFileSync(
    manifest,
    whole.replace('"entries"', '"entriez"').replace("1", "2"),
  );
  refuse(5, /damaged|version/);
  writeFileSync(manifest, bytesOfManifest);
  const bytes = readFileSync(base);
  truncateSync(base, bytes.length - 6000);
  refuse(5, /bytes, not/);
  const partial = cortex([
    "cache",
    "restore",
    pool.name,
    "--path",
    path,
    "--partial",
  ]);
  assert.equal(partial.code, 0, partial.stderr);
  assert.match(partial.stderr, /Left out 2 entries damaged/);
  assert.equal(cacheJson("status", pool.name).entries, 1);
  cache("destroy", pool.name);
  rmSync(base);
  refuse(5, /missing/);
});

test("a damaged record costs that record, and restore says so", () => {
  using pool = poolName();
  using dir = scratch();
  const path = makeSnapshot(pool.name, dir.path);
  const base = baseFile(path);
  const bytes = readFileSync(base);
  const sound = join(dir.path, "sound");
  copyFileSync(base, sound);
  bytes[bytes.indexOf("bbbbb") + 2000]! ^= 1; // a bit of b's value
  writeFileSync(base, bytes);
  const restored = cortex(["cache", "restore", pool.name, "--path", path]);
  assert.equal(restored.code, 0, restored.stderr);
  assert.match(restored.stderr, /Left out 1 entry damaged/);
  assert.equal(cache("get", pool.name, "a").stdout, "a".repeat(5000));
  assert.equal(cache("get", pool.name, "c").stdout, "c".repeat(5000));
  refused(3, ["get", pool.name, "b"]);
  cache("destroy", pool.name);
  copyFileSync(sound, base);
  assert.equal(cacheJson("restore", pool.name, "--path", path).entries, 3);
});

test("restore refuses a pool that exists, and leaves it as it is", () => {
  using pool = poolName();
  using dir = scratch();
  const path = makeSnapshot(pool.name, dir.path);
  cache("create", pool.name, "--size", "1M");
  cortex(["cache", "put", pool.name, "mine"], { input: "v" });
  refused(1, ["restore", pool.name, "--path", path]);
  assert.equal(cache("get", pool.name, "mine").stdout, "v");
});

test("persist into a place that cannot be leaves nothing behind", () => {
  using pool = poolName();
  using dir = scratch();
  cache("create", pool.name, "--size", "1M");
  const file = join(dir.path, "file");
  writeFileSync(file, "mine");
  const result = cortex(["cache", "persist", pool.name, "--path", file]);
  assert.notEqual(result.code, 0);
  assert.equal(readFileSync(file, "utf8"), "mine");
  // A directory that takes none, however often it is asked.
  refused(3, ["persist", pool.name, "--path", "/proc/none/such"]);
  mkdirSync(join(dir.path, "ro"));
  assert.equal(cacheJson("status", pool.name).last_persist_at, null);
});

test("what has a pool's name and is none is to be removed by hand", () => {
  using pool = poolName();
  const segment = `/dev/shm/cortex.${pool.name}`;
  writeFileSync(segment, new Uint8Array(8192));
  try {
    const remedy = `Remove it by hand: rm ${segment}`;
    assert.ok(refused(5, ["destroy", pool.name]).includes(remedy));
    assert.ok(refused(5, ["status", pool.name]).includes(remedy));
    assert.ok(
      refused(1, ["create", pool.name, "--size", "1M"]).includes(remedy),
    );
    const { facts } = JSON.parse(cortex(["doctor", "--json"]).stdout);
    const fact = facts.find((one: { topic: string }) =>
      one.topic === `pool ${pool.name}`
    );
    assert.equal(fact.remedy, remedy);
  } finally {
    rmSync(segment);
  }
});

test("a refusal says what to do, and names the command it is about", () => {
  using pool = poolName();
  const says = (code: number, args: readonly string[], hint: RegExp) =>
    assert.match(refused(code, args).trimEnd().split("\n")[1] ?? "", hint);
  says(2, ["help", "put"], /^See cortex cache put --help$/);
  says(2, ["frobnicate"], /^See cortex cache --help$/);
  says(2, ["create", "x", "--sise", "1M"], /^See cortex cache create --help$/);
  says(2, ["create", "x"], /^Add --size/);
  says(2, ["create", "x", "--size", "1M", "--block-size", "5000"], /^Ask for/);
  says(2, ["create", "x", "--size", "1M", "--low", "0"], /^Write a percent/);
  says(2, ["evict", "x", "--percent", "101"], /^Write it without a sign/);
  says(2, ["status", "--interval", "0"], /^Write it as/);
  says(2, ["put", "x", "k", "--tokens", "x"], /^Write it in digits/);
  says(2, ["put", "x", "k", "--meta", "{"], /^Quote it for the shell/);
  says(2, ["snapshot", "prune", "x", "--keep", "-1"], /^Write it in digits/);
  says(2, ["persist"], /^Name it/);
  says(2, ["schedule", "x", "--cron", "--systemd"], /^Leave one of/);
  says(3, ["snapshot", "list", pool.name], /^Make one: .* persist test-cli-/);
  cache("create", pool.name, "--size", "1M");
  says(2, ["record", pool.name], /^Have them noted/);
  says(3, ["put", pool.name, "k", "--file", "/nonexistent"], /^Check the path/);
  says(2, ["put", pool.name, "k", "--file", "/tmp"], /^Give the path of a/);
  cache("put", pool.name, "k");
  says(2, ["get", pool.name, "k", "--output", "/tmp"], /^Give the path of a/);
});

test("a command that is not there, or has too few or too many arguments, is exit code 2", () => {
  refused(2, ["frobnicate"]);
  refused(2, ["status", "a", "b"]);
  refused(2, ["get", "a"]);
  refused(2, ["evict"]);
  refused(2, ["get", "a", "b", "--json"]);
});

test("status while the pool is made and destroyed again and again is an answer or exit code 3", async () => {
  using pool = poolName();
  const churn = start([
    "cache",
    "status",
    pool.name,
    "--watch",
    "--interval",
    "0.01",
  ]);
  churn.stderr.resume();
  churn.stdout.resume();
  for (let round = 0; round < 5; round++) {
    cache("create", pool.name, "--size", "4M");
    const looks = Array.from(
      { length: 3 },
      () => start(["cache", "status", pool.name]),
    );
    const ends = looks.map((child) =>
      new Promise<number | null>((done) =>
        child.once("exit", (code) => done(code))
      )
    );
    cache("destroy", pool.name);
    for (const code of await Promise.all(ends)) {
      assert.ok(code === 0 || code === 3, `exit code ${code}`);
    }
  }
  churn.kill("SIGKILL");
});
