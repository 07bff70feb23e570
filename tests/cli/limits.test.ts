/** The host's limits: too little memory, a full disk, an empty environment. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { test } from "node:test";
import {
  cache,
  cacheJson,
  cortex,
  MAY_MOUNT,
  NO_MOUNT,
  onOwnMounts,
  poolName,
  PROGRAM,
  refused,
  scratch,
  skip,
  start,
} from "./harness.ts";

test("on a tmpfs too small, create --populate and put are exit code 6, never a signal", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const { stdout, stderr } = onOwnMounts(`
    mount -t tmpfs -o size=8M tmpfs /dev/shm
    cortex cache create p --size 64M --populate; echo "populate $?"
    ls -A /dev/shm | wc -l
    cortex cache create p --size 64M; echo "create $?"
    for i in 1 2 3 4 5 6 7 8; do
      head -c 1500000 /dev/zero | cortex cache put p key-$i >/dev/null; echo "put $?"
    done
    head -c 20000000 /dev/zero | cortex cache put p big; echo "big $?"
    cortex cache check p --values; echo "check $?"
    cortex cache get p key-8 | wc -c
    cortex cache create q --size 16G; echo "second $?"
  `);
  assert.match(stdout, /^populate 6\n0\n/, stdout + stderr);
  assert.match(stdout, /^create 0$/m, stdout + stderr);
  // What does not fit evicts what was put before.
  assert.equal(stdout.match(/^put 0$/gm)?.length, 8, stdout + stderr);
  assert.match(stdout, /^big 6$/m, stdout + stderr);
  assert.match(stdout, /^check 0\n1500000$/m, stdout + stderr);
  assert.match(stdout, /^second 6$/m, stdout + stderr);
  const told = stderr.trim().split("\n").filter((l) => l.startsWith("cortex:"));
  assert.equal(told.length, 3, stderr);
});

test("a full disk is exit code 6, with the former snapshot as it was and no litter", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  using dir = scratch();
  using pool = poolName();
  cache("create", pool.name, "--size", "32M");
  cortex(["cache", "put", pool.name, "small"], { input: "small" });
  const { stdout, stderr } = onOwnMounts(`
    mount -t tmpfs -o size=4M tmpfs ${dir.path}
    cortex cache persist ${pool.name} --path ${dir.path}/s >/dev/null; echo "first $?"
    head -c 9000000 /dev/urandom | cortex cache put ${pool.name} big >/dev/null
    cortex cache persist ${pool.name} --path ${dir.path}/s; echo "full $?"
    ls ${dir.path}/s | wc -l
    cortex cache destroy ${pool.name} >/dev/null
    cortex cache restore ${pool.name} --path ${dir.path}/s >/dev/null; echo "restore $?"
    cortex cache get ${pool.name} small
  `);
  assert.match(
    stdout,
    /^first 0\nfull 6\n2\nrestore 0\nsmall$/,
    stdout + stderr,
  );
});

test("a second persist into one directory is exit code 4", async (t) => {
  if (spawnSync("flock", ["--version"]).status !== 0) {
    return skip(t, "skipped because there is no flock command");
  }
  using dir = scratch();
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  const held = start(["--version"]); // only to have an event loop to wait with
  await new Promise((done) => held.once("exit", done));
  const quoted = [...PROGRAM, "cache", "persist", pool.name, "--path", dir.path]
    .map((word) => `'${word}'`).join(" ");
  const { status, stderr } = spawnSync(
    "flock",
    [dir.path, "sh", "-c", quoted],
    {
      encoding: "utf8",
    },
  );
  assert.equal(status, 4, stderr);
  assert.deepEqual(readdirSync(dir.path), []);
});

test("a stopped process that holds the lock makes others say busy, and by whom", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M");
  const segment = `/dev/shm/cortex.${pool.name}`;
  const quoted = [
    ...PROGRAM,
    "cache",
    "put",
    pool.name,
    "k",
    "--file",
    "/etc/hostname",
  ]
    .map((word) => `'${word}'`).join(" ");
  const { status, stderr } = spawnSync("flock", [segment, "sh", "-c", quoted], {
    encoding: "utf8",
  });
  assert.equal(status, 4, stderr);
  assert.match(
    stderr,
    /^cortex: Cannot open pool .*: .* has held its lock for 5 s$/m,
  );
  // Looking needs no lock.
  assert.equal(cacheJson("status", pool.name).entries, 0);
});

test("the program runs in an empty environment", () => {
  const [command = "", ...args] = PROGRAM;
  const path = command.startsWith("/") ? [] : [`PATH=${process.env["PATH"]}`];
  const { status, stdout, stderr } = spawnSync(
    "env",
    ["-i", ...path, command, ...args, "--version"],
    { encoding: "utf8" },
  );
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^cortex /);
});

test("Ctrl-C in a restore leaves no half pool", async () => {
  using dir = scratch();
  using pool = poolName();
  cache("create", pool.name, "--size", "1G");
  const value = new Uint8Array(8 << 20);
  for (let i = 0; i < 24; i++) {
    cortex(["cache", "put", pool.name, `k${i}`], { input: value });
  }
  cache("persist", pool.name, "--path", dir.path);
  cache("destroy", pool.name);
  const child = start(["cache", "restore", pool.name, "--path", dir.path]);
  const ended = new Promise((done) => child.once("close", done));
  let said = "";
  child.stderr.on("data", (chunk) => said += chunk);
  child.stdout.resume();
  while (!readdirSync("/dev/shm").includes(`cortex.${pool.name}`)) {
    await new Promise((done) => setTimeout(done, 1));
    if (child.exitCode !== null) break;
  }
  await new Promise((done) => setTimeout(done, 20));
  child.kill("SIGINT");
  await ended;
  const exists = readdirSync("/dev/shm").includes(`cortex.${pool.name}`);
  if (exists) {
    // It was done before the signal came: then all of it is there.
    assert.equal(cacheJson("status", pool.name).entries, 24, said);
    return;
  }
  // Not by its exit code: Deno's child_process gives none for 128 and above.
  assert.match(said, /^cortex: Cannot restore pool .*: interrupted\n$/);
  refused(3, ["status", pool.name]);
});
