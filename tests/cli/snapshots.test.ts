/** Saving by cron and systemd, looking at what was saved, restoring, and tier disk. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
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
  PROGRAM,
  refused,
  scratch,
  skip,
  start,
} from "./harness.ts";

function put(name: string, key: string, bytes = 5000): void {
  const result = cortex(["cache", "put", name, key], {
    input: key.repeat(bytes).slice(0, bytes),
  });
  assert.equal(result.code, 0, result.stderr);
}

const CRON = ["--if-changed", "--quiet", "--lock-timeout", "30s"];

test("persist for cron is silent on success, and one line with a code on failure", () => {
  using pool = poolName();
  using dir = scratch();
  const path = join(dir.path, "snap");
  cache("create", pool.name, "--size", "1M");
  put(pool.name, "a");
  const quiet = (...args: string[]) =>
    cortex(["cache", "persist", pool.name, ...CRON, ...args]);
  for (let i = 0; i < 2; i++) {
    const { code, stdout, stderr } = quiet("--path", path);
    assert.deepEqual([code, stdout, stderr], [0, "", ""]);
  }
  const file = join(dir.path, "file");
  writeFileSync(file, "");
  const failed = quiet("--path", join(file, "snap"));
  assert.notEqual(failed.code, 0);
  assert.equal(failed.stdout, "");
  assert.match(failed.stderr, /^cortex: Cannot persist [^\n]+\n$/);
  cache("destroy", pool.name);
  const gone = quiet("--path", path);
  assert.equal(gone.code, 3);
  assert.match(gone.stderr, /^cortex: Cannot [^\n]+\n$/);
});

test("persist --all saves every pool, and one that fails keeps none from it", () => {
  using first = poolName();
  using second = poolName();
  using dir = scratch();
  for (const { name } of [first, second]) {
    cache("create", name, "--size", "1M");
    put(name, "a");
  }
  const all = (...args: string[]) =>
    cortex(["cache", "persist", "--all", ...CRON, ...args], {
      environment: { CORTEX_HOME: dir.path },
    });
  // Other pools of this host may come and go, or be damaged on purpose.
  const mine = (text: string) =>
    text.split("\n").filter((line) => line.includes(`test-cli-${process.pid}`));
  const saved = all();
  assert.deepEqual([saved.stdout, mine(saved.stderr)], ["", []]);
  const snapshots = join(dir.path, "snapshots");
  for (const { name } of [first, second]) {
    assert.ok(existsSync(join(snapshots, name, "MANIFEST")), name);
  }
  put(first.name, "b"), put(second.name, "b");
  writeFileSync(
    join(snapshots, first.name, "MANIFEST"),
    '{"format":"cortex-snapshot","version":9}\n',
  );
  const failed = all();
  assert.equal(failed.stdout, "");
  assert.notEqual(failed.code, 0);
  assert.equal(mine(failed.stderr).length, 1, failed.stderr);
  assert.match(failed.stderr, /it has format version 9/);
  const report = JSON.parse(all("--json").stdout) as { name: string }[];
  assert.ok(report.some(({ name }) => name === second.name));
  assert.ok(!report.some(({ name }) => name === first.name));
  const info = cacheJson(
    "snapshot",
    "list",
    second.name,
    "--path",
    join(snapshots, second.name),
  );
  assert.equal(info.generations[0].entries, 2);
  refused(2, ["persist", "--all", "--path", dir.path]);
  refused(2, ["persist"]);
  refused(2, ["persist", first.name, "--all"]);
});

test("persist runs in an empty environment, with a home that is read-only", () => {
  using pool = poolName();
  using dir = scratch();
  cache("create", pool.name, "--size", "1M");
  put(pool.name, "a");
  const home = join(dir.path, "home"), path = join(dir.path, "snap");
  mkdirSync(home);
  chmodSync(home, 0o500);
  const words = [...PROGRAM, "cache", "persist", pool.name, "--path", path];
  const [command = "", ...args] = words;
  const found = spawnSync("sh", ["-c", `command -v ${command}`], {
    encoding: "utf8",
  }).stdout.trim();
  // deno itself wants a place for what it has compiled.
  const isDeno = command === "deno";
  const environment = isDeno ? { DENO_DIR: process.env["DENO_DIR"] ?? "" } : {};
  const { status, stdout, stderr } = spawnSync(found, [...args, ...CRON], {
    env: isDeno && environment.DENO_DIR === ""
      ? { HOME: process.env["HOME"] }
      : { ...environment, HOME: home },
    cwd: "/",
    encoding: "utf8",
  });
  assert.deepEqual([status, stdout, stderr], [0, "", ""]);
  if (!isDeno) {
    const bare = spawnSync(found, [...args, ...CRON], { env: {}, cwd: "/" });
    assert.equal(bare.status, 0, String(bare.stderr));
  }
  assert.ok(existsSync(join(path, "MANIFEST")));
  assert.deepEqual(readdirSync(home), []);
});

test("persist --lock-timeout waits for a save that goes on, and then says busy", (t) => {
  if (spawnSync("flock", ["--version"]).status !== 0) {
    return skip(t, "skipped because there is no flock command");
  }
  using pool = poolName();
  using dir = scratch();
  cache("create", pool.name, "--size", "1M");
  const persist = ["cache", "persist", pool.name, "--path", dir.path];
  const held = (seconds: string, ...args: string[]) => {
    const words = [...PROGRAM, ...persist, ...args].map((word) => `'${word}'`);
    const script = `flock '${dir.path}' sleep ${seconds} & sleep 0.2; ${
      words.join(" ")
    }`;
    return spawnSync("sh", ["-c", script], { encoding: "utf8" });
  };
  const busy = held("3", "--quiet", "--lock-timeout", "200ms");
  assert.equal(busy.status, 4, busy.stderr);
  assert.match(busy.stderr, /^cortex: Cannot [^\n]+ saving into it\n$/);
  assert.equal(held("1", "--lock-timeout", "30s").status, 0);
});

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

test("schedule prints a crontab that cron can read, or says what it cannot", () => {
  using dir = scratch();
  const environment = { CORTEX_HOME: `${dir.path}/it's 100%` };
  const { stdout, code } = cortex(
    ["cache", "schedule", "llama-cache", "--every", "15m"],
    { environment },
  );
  assert.equal(code, 0);
  const [every, reboot] = stdout.trimEnd().split("\n");
  assert.match(every!, /^\*\/15 \* \* \* \* \//);
  assert.match(every!, /--if-changed --quiet --lock-timeout 30s$/);
  assert.match(reboot!, /^@reboot \/.* restore llama-cache .*--quiet$/);
  // cron turns \% into %, and gives the rest to a shell.
  const shell = every!.replace(/^(\S+ ){5}/, "").replaceAll("\\%", "%");
  const words = spawnSync("sh", ["-c", `printf '%s\\n' ${shell}`], {
    encoding: "utf8",
  }).stdout.split("\n");
  assert.ok(words.includes(`${dir.path}/it's 100%/snapshots/llama-cache`));
  for (const [time, fields] of [["1m", "*"], ["1h", "0 *"], ["6h", "0 */6"]]) {
    const { stdout } = cache("schedule", "p", "--every", time!);
    assert.ok(stdout.startsWith(`${fields} * `), stdout);
  }
  refused(2, ["schedule", "p", "--every", "7m"]);
  refused(2, ["schedule", "p", "--every", "soon"]);
  refused(2, ["schedule", "../p"]);
  refused(2, ["schedule", "p", "--cron", "--systemd"]);
  refused(2, ["schedule", "p", "--path", "/tmp/x\n* * * * * root evil #"]);
  const relative = cache("schedule", "p", "--path", "saved/here").stdout;
  assert.match(relative, / --path \/\S+\/saved\/here /);
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

test("schedule for a pool on disk restores nothing, and says if there is no such pool", () => {
  using dir = scratch();
  using pool = poolName();
  assert.match(
    cache("schedule", pool.name).stderr,
    /^cortex: There is no pool \S+ as yet; this is for one in memory\n$/,
  );
  const file = join(dir.path, "pool");
  cache("create", pool.name, "--size", "1M", "--tier", "disk", "--path", file);
  assert.match(cache("status", pool.name).stdout, /^size .* of it on disk$/m);
  const { stdout, stderr } = cache("schedule", pool.name);
  assert.equal(stderr, "");
  assert.doesNotMatch(stdout, /restore|--path/);
  const { units } = cacheJson("schedule", pool.name, "--systemd");
  assert.equal(units.length, 2);
  assert.ok(units[0].text.includes(`\nConditionPathExists=${file}\n`));
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

test("schedule --systemd prints units that systemd takes", (t) => {
  const found = spawnSync("systemd-analyze", ["--version"]).status === 0;
  using dir = scratch();
  const { units } = cacheJson(
    "schedule",
    "llama-cache",
    "--systemd",
    "--every",
    "15m",
    "--path",
    `${dir.path}/50% $x`,
  ) as { units: { path: string; text: string }[] };
  const names = units.map(({ path }) => path.replace(/^.*\//, ""));
  assert.deepEqual(names, [
    "cortex-persist-llama-cache.service",
    "cortex-persist-llama-cache.timer",
    "cortex-restore-llama-cache.service",
  ]);
  const text = cache("schedule", "llama-cache", "--systemd").stdout;
  assert.match(text, /RemoveIPC/);
  assert.match(text, /^OnUnitActiveSec=900s$/m);
  if (!found) return skip(t, "skipped because there is no systemd-analyze");
  const files = units.map(({ text }, i) => {
    const file = join(dir.path, names[i]!);
    writeFileSync(file, text);
    return file;
  });
  const { status, stdout, stderr } = spawnSync(
    "systemd-analyze",
    ["verify", "--man=no", ...files],
    { encoding: "utf8" },
  );
  // What it says of other units of the host is none of ours.
  const said = `${stdout}${stderr}`.split("\n").filter((line) =>
    names.some((name) => line.includes(name))
  );
  assert.deepEqual(said, []);
  assert.equal(status, 0, stdout + stderr);
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
