/** What of this host there is to be seen, and where a command is found. */
import assert from "node:assert/strict";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import {
  cache,
  cortex,
  MAY_MOUNT,
  NO_MOUNT,
  onOwnMounts,
  poolName,
  PROGRAM,
  refused,
  scratch,
  skip,
} from "./harness.ts";

test("snapshot list without a name lists what was saved of any pool", () => {
  using first = poolName();
  using second = poolName();
  using dir = scratch();
  const environment = { CORTEX_HOME: dir.path };
  const run = (...args: string[]) => {
    const { code, stdout, stderr } = cortex(args, { environment });
    assert.equal(code, 0, stderr);
    return { stdout, stderr };
  };
  assert.match(run("snapshot", "list").stdout, /^Nothing was saved\. /);
  for (const { name } of [first, second]) {
    cache("create", name, "--size", "1M");
    cortex(["cache", "put", name, "k"], { input: "value" });
    run("cache", "persist", name);
  }
  cache("destroy", first.name, "--yes");
  // What is no snapshot is none; one that is damaged is told of.
  mkdirSync(join(dir.path, "snapshots", "empty"));
  mkdirSync(join(dir.path, "snapshots", "..hidden"));
  const damaged = join(dir.path, "snapshots", "damaged");
  mkdirSync(damaged, { mode: 0o700 });
  writeFileSync(join(damaged, "MANIFEST"), "damaged", { mode: 0o600 });
  const { stdout, stderr } = run("snapshot", "list");
  const rows = stdout.trimEnd().split("\n");
  assert.match(
    rows[0]!,
    /^NAME +SAVED +ENTRIES +VALUES +ON DISK +STATE +POOL$/,
  );
  assert.match(rows[1]!, new RegExp(`^${first.name} .* complete +gone$`));
  assert.match(rows[2]!, new RegExp(`^${second.name} .* complete +is there$`));
  assert.equal(rows.length, 3);
  assert.match(stderr, /^cortex: Cannot [^\n]*snapshots\/damaged[^\n]*\n$/);
  const json = JSON.parse(run("cache", "snapshot", "list", "--json").stdout);
  assert.deepEqual(
    json.map((one: Record<string, unknown>) => [
      one["name"],
      one["entries"],
      one["pool_exists"],
      existsSync(String(one["path"])),
    ]),
    [[first.name, 1, false, true], [second.name, 1, true, true]],
  );
  assert.match(
    refused(2, ["snapshot", "list", "--path", dir.path]),
    /\nName the pool: cortex cache snapshot list NAME --path /,
  );
});

test("an error about a generation names the command that lists them", () => {
  using pool = poolName();
  using dir = scratch();
  const path = join(dir.path, "snap");
  cache("create", pool.name, "--size", "1M");
  cache("persist", pool.name, "--path", path);
  assert.match(
    refused(3, ["restore", pool.name, "--path", path, "--generation", "9"]),
    new RegExp(`\\nSee what there is: .* snapshot list NAME --path ${path}\\n`),
  );
});

test("snapshot list says which generation is of another pool of that name", () => {
  using pool = poolName();
  using dir = scratch();
  const at = ["--path", join(dir.path, "snap")];
  for (let life = 0; life < 2; life++) {
    cache("create", pool.name, "--size", "1M");
    cortex(["cache", "put", pool.name, `k${life}`], { input: "value" });
    cache("persist", pool.name, ...at);
    cache("destroy", pool.name, "--yes");
  }
  const list = () => cache("snapshot", "list", pool.name, ...at).stdout;
  assert.match(
    list(),
    /\n +2 .* complete\n +1 .* complete, of another pool\n$/,
  );
  cache("snapshot", "prune", pool.name, ...at);
  assert.match(list(), /, of another pool\n$/);
  cache("snapshot", "prune", pool.name, ...at, "--keep", "0");
  assert.match(list(), /\n +2 .* complete\n$/);
});

test("a command in the wrong place is told where it is", () => {
  for (
    const [args, said] of [
      [["persist", "p", "--full"], "cortex cache persist p --full"],
      [["status"], "cortex cache status"],
      [["cache", "plan", "--config", "a b"], "cortex plan --config 'a b'"],
      [["cache", "doctor"], "cortex doctor"],
    ] as const
  ) {
    const { code, stderr } = cortex(args);
    assert.equal(code, 2);
    assert.match(stderr, /^cortex: Cannot run the command: unknown command /);
    assert.equal(stderr.split("\n")[1], `Say: ${said}`);
  }
  const { stderr } = cortex(["cache", "perzist"]);
  assert.match(stderr, /\nSee cortex cache --help\n$/);
});

/** Runs a script in which `other` is the program as another user; `undefined` if he may not. */
function asOther(script: string) {
  using dir = scratch();
  chmodSync(dir.path, 0o755);
  const words = PROGRAM.map((word) => `'${word}'`).join(" ");
  const { stdout, stderr } = onOwnMounts(
    `mount -t tmpfs -o mode=1777 tmpfs /dev/shm
    mkdir -p $DENO_DIR && chown 4321 $DENO_DIR
    other() {
      setpriv --reuid 4321 --regid 4321 --clear-groups ${words} "$@"
    }
    ${script}`,
    { DENO_DIR: join(dir.path, "deno"), HOME: dir.path, USER: "somebody" },
  );
  const isBarred = stdout === "" &&
    /permission denied|not found/i.test(stderr);
  return isBarred ? undefined : { stdout, stderr };
}
const BARRED = "skipped because another user may not run the program here";

test("list leaves out other users' pools, in one line", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const said = asOther(`
    for i in 1 2 3; do cortex cache create p$i --size 1M >/dev/null; done
    chown 4321 /dev/shm/cortex.p2
    other cache list`);
  if (!said) return skip(t, BARRED);
  assert.match(said.stdout, /^NAME [^\n]*\np2 [^\n]*\n$/, said.stderr);
  assert.equal(said.stderr, "cortex: Left out 2 pools of other users\n");
});

test("schedule names the user that it runs as, whatever the environment says", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const said = asOther(`
    other cache schedule p --systemd --every 2h
    echo 'root:x:0:0::/:/bin/sh' > $HOME/passwd
    echo 'engine:x:4321:4321::/:/bin/sh' >> $HOME/passwd
    mount --bind $HOME/passwd /etc/passwd
    other cache schedule p --systemd --every 2h`);
  if (!said) return skip(t, BARRED);
  const users = [...said.stdout.matchAll(/^User=(.*)$/gm)].map(([, u]) => u);
  assert.deepEqual(users, ["4321", "4321", "engine", "engine"]);
  assert.match(said.stdout, /^Description=.* every 2 h$/m);
});
