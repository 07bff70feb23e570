/** Saving by cron and systemd: persist as they run it, and what schedule gives them. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
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
  put,
  refused,
  scratch,
  skip,
} from "./harness.ts";

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
