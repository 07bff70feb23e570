/** check, gc and doctor, as one who runs a host uses them. */
import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Pool } from "../../lib/pool.ts";
import { flipByte, recordOf, recordOffset } from "../helpers.ts";
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
} from "./harness.ts";

/** Damages a value, a record and a word of the header. */
function damage(name: string): void {
  using pool = Pool.open(name);
  const { core } = pool;
  const { data_offset, block_bytes } = core.geometry;
  const { start } = core.table.extents(recordOf(core, "a"))![0]!;
  flipByte(name, data_offset + start * block_bytes);
  flipByte(name, recordOffset(core, recordOf(core, "b"), "tokens"));
  core.header.set("used_blocks", 77);
}

function furnished(name: string): void {
  cache("create", name, "--size", "1M");
  for (const key of ["a", "b", "c"]) {
    cortex(["cache", "put", name, key], { input: key.repeat(9000) });
  }
}

test("check says what is wrong, --repair what it drops, and then all is well", () => {
  using pool = poolName();
  furnished(pool.name);
  assert.equal(
    cache("check", pool.name, "--values").stdout,
    `Pool ${pool.name} is whole: 3 entries, every value read\n`,
  );
  damage(pool.name);
  const found = cortex(["cache", "check", pool.name, "--values"]);
  assert.equal(found.code, 5, found.stderr);
  const lines = found.stdout.trimEnd().split("\n");
  assert.equal(
    lines.at(-1),
    `Pool ${pool.name} is damaged: mend it with --repair --values`,
  );
  for (
    const says of [
      /^record \d+ is damaged \(checksum or bounds\)$/m,
      /^the header says 77 used_blocks, not \d+$/m,
      /^the value of entry "a" is damaged \(checksum\)$/m,
    ]
  ) assert.match(found.stdout, says);

  const repaired = cache("check", pool.name, "--values", "--repair").stdout;
  assert.match(
    repaired,
    /^Dropped entry "a" \(8\.8 KiB\): the value of entry "a" is damaged \(checksum\)$/m,
  );
  assert.match(
    repaired,
    /^Dropped entry "b": record \d+ is damaged \(checksum or bounds\)$/m,
  );
  assert.match(repaired, /^Repaired: dropped 2 entries$/m);
  assert.match(repaired, /^Pool \S+ is whole: .*\n$/m);
  assert.equal(cortex(["cache", "get", pool.name, "c"]).stdout.length, 9000);
  assert.deepEqual(cacheJson("check", pool.name, "--values"), {
    ok: true,
    problems: [],
  });
});

test("check --json names what it dropped", () => {
  using pool = poolName();
  furnished(pool.name);
  assert.deepEqual(cacheJson("check", pool.name, "--repair").dropped, []);
  damage(pool.name);
  const { ok, problems, dropped } = cacheJson(
    "check",
    pool.name,
    "--values",
    "--repair",
  );
  assert.equal(ok, true);
  assert.ok(problems.length >= 3);
  assert.deepEqual(
    dropped.map(({ key, size_bytes }: Record<string, unknown>) => [
      key,
      size_bytes,
    ]),
    [["b", null], ["a", 9000]], // tables first, then values
  );
});

test("gc says what crashes left, takes it away, and leaves what lives", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  using dir = scratch();
  const { stdout, stderr } = onOwnMounts(
    `
    mount -t tmpfs -o size=64M tmpfs /dev/shm
    cortex cache gc; echo "none $?"
    cortex cache create live --size 1M >/dev/null
    echo value | cortex cache put live k >/dev/null
    cortex cache persist live >/dev/null
    head -c 8192 /dev/zero > /dev/shm/.cortex.dead.0123abcd
    cortex cache create cut --size 1M >/dev/null; truncate -s 100K /dev/shm/cortex.cut
    echo x > $CORTEX_HOME/snapshots/live/base-00000007-0123abcd.cortex.tmp
    echo hello > /dev/shm/cortex.other
    ls -A /dev/shm $CORTEX_HOME/snapshots/live > $CORTEX_HOME/before
    cortex cache gc --dry-run; echo "dry $?"
    ls -A /dev/shm $CORTEX_HOME/snapshots/live > $CORTEX_HOME/after
    cmp $CORTEX_HOME/before $CORTEX_HOME/after && echo "nothing changed"
    cortex cache gc --json; echo "gc $?"
    ls -A /dev/shm | tr '\\n' ' '; echo
    cortex cache gc
    cortex cache check live --values
    cortex cache destroy live >/dev/null
    cortex cache restore live >/dev/null && cortex cache get live k
    `,
    { CORTEX_HOME: dir.path },
  );
  assert.match(stdout, /^Nothing to remove\nnone 0\n/, stdout + stderr);
  assert.match(
    stdout,
    /^Would remove \/dev\/shm\/\.cortex\.dead\.0123abcd \(8\.0 KiB\): pool "dead" was being made; its maker is dead$/m,
  );
  assert.match(
    stdout,
    /^Would remove \/dev\/shm\/cortex\.cut \(\S+ KiB\): its header is damaged \(geometry\); nobody can open it$/m,
  );
  assert.match(
    stdout,
    /^Would remove \S+base-00000007-0123abcd\.cortex\.tmp \(2 B\): a save was writing it, and was killed$/m,
  );
  assert.match(
    stdout,
    /^Left \/dev\/shm\/cortex\.other: it is not a cortex pool; remove it by hand: rm \/dev\/shm\/cortex\.other$/m,
  );
  assert.match(
    stdout,
    /^Would free \S+ KiB in 3 things\ndry 0\nnothing changed$/m,
  );
  const json = stdout.split("\n").find((line) => line.startsWith("{"));
  const report = JSON.parse(json!);
  assert.deepEqual(
    [report.dry_run, report.removed.length, report.left.length],
    [false, 3, 1],
  );
  assert.match(stdout, /^gc 0\ncortex\.live cortex\.other $/m);
  assert.match(
    stdout,
    /^Pool live is whole: 1 entry, every value read\nvalue\n$/m,
    stdout + stderr,
  );
});

test("gc frees what a killed process had pinned and reserved", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const { stdout, stderr } = onOwnMounts(`
    mount -t tmpfs -o size=64M tmpfs /dev/shm
    cortex cache create p --size 32M >/dev/null
    # It waits for its input with a handle open only once it has all of it: so a
    # get into a pipe that nobody reads, which holds its pin.
    head -c 3000000 /dev/zero | cortex cache put p k >/dev/null
    mkfifo /dev/shm/pipe
    ( start cache get p k --output /dev/shm/pipe ) & pid=$!
    exec 3</dev/shm/pipe
    for i in $(seq 200); do cortex cache status p | grep -q "1 handle" && break; done
    cortex cache gc; echo "alive"
    kill -9 $pid; wait $pid
    cortex cache gc --dry-run
    cortex cache gc
    cortex cache status p --json
  `);
  assert.match(stdout, /^Nothing to remove\nalive$/m, stdout + stderr);
  assert.match(
    stdout,
    /^Would free dead slots of \/dev\/shm\/cortex\.p \(0 B\): 1 of its handles ended without closing: 1 pinned, 0 reserved$/m,
    stdout + stderr,
  );
  assert.match(stdout, /^Freed dead slots of /m);
  const status = JSON.parse(stdout.trim().split("\n").at(-1)!);
  assert.equal(status.attached, 0);
});

test("gc --path that is not there is exit code 3", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const { stdout, stderr } = onOwnMounts(`
    mount -t tmpfs -o size=64M tmpfs /dev/shm
    cortex cache gc --path /nonexistent/x; echo $?`);
  assert.equal(stdout, "3\n");
  assert.match(stderr, /^cortex: Cannot sweep snapshot .*: there is none$/m);
});

/** A host on which all is as it should be. */
const HEALTHY = `
  mount -t tmpfs -o size=256M tmpfs /dev/shm; chmod 1777 /dev/shm
  echo 1 > $CORTEX_HOME/one
  for name in hardlinks symlinks fifos regular; do
    [ -e /proc/sys/fs/protected_$name ] &&
      mount --bind $CORTEX_HOME/one /proc/sys/fs/protected_$name
  done
  export CORTEX_HOME=$CORTEX_HOME/home
  [ -d /run/systemd/system ] && mount -t tmpfs tmpfs /run/systemd
  `;

interface Fact {
  readonly topic: string;
  readonly ok: boolean;
  readonly text: string;
  readonly remedy: string | null;
}

/** What the doctor says, on a host that a script made. */
function doctor(script: string): { facts: Fact[]; ok: boolean; code: number } {
  using dir = scratch();
  const { stdout, stderr } = onOwnMounts(
    `${HEALTHY}\n${script}\ncortex doctor --json; echo $?`,
    { CORTEX_HOME: dir.path },
  );
  const [json, code] = stdout.trim().split("\n").slice(-2);
  assert.match(code ?? "", /^\d+$/, stdout + stderr);
  return { ...JSON.parse(json!), code: Number(code) };
}

function bad({ facts }: { facts: Fact[] }): string[] {
  return facts.filter(({ ok }) => !ok).map(({ topic }) => topic);
}

test("doctor on a healthy host says ok in each line, and exits 0", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  using dir = scratch();
  const { stdout, stderr } = onOwnMounts(
    `${HEALTHY}
    cortex cache create p --size 1M >/dev/null
    cortex doctor; echo $?`,
    { CORTEX_HOME: dir.path },
  );
  const lines = stdout.trimEnd().split("\n");
  assert.deepEqual(lines.slice(-2), ["All is well", "0"], stdout + stderr);
  for (const line of lines.slice(0, -2)) assert.match(line, /^ok {2,}\S/);
  for (
    const says of [
      /^ok +\/dev\/shm +256\.0 MiB, \S+ MiB free$/m,
      /^ok +huge pages +\S/m,
      /^ok +RemoveIPC +\S/m,
      /^ok +hardening +protected_hardlinks=1 protected_symlinks=1 /m,
      /^ok +clock +\S/m,
      /^ok +runtime +(deno|bun) \d/m,
      /^ok +libc +glibc \d/m,
      /^ok +kernel +Linux \d/m,
      /^ok +atomics +two processes, 400000 steps each way, none lost$/m,
      /^ok +snapshots +\S/m,
      /^ok +pool p +whole, 0 entries, 0 B of /m,
      /^ok +litter +crashes left nothing$/m,
    ]
  ) assert.match(stdout, says);
  assert.equal(stderr, "");
});

test("doctor calls the containers' 64 MB by name, and says the remedy", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const said = doctor("mount -t tmpfs -o size=64M tmpfs /dev/shm");
  assert.equal(said.code, 1);
  assert.equal(said.ok, false);
  assert.deepEqual(bad(said), ["/dev/shm"]);
  const [fact] = said.facts;
  assert.match(
    fact!.text,
    /^64\.0 MiB, .* the 64 MB that containers get by default$/,
  );
  assert.match(fact!.remedy!, /^docker run --shm-size 16g/);
});

test("doctor finds each thing that needs attention, and says a remedy for each", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const cases: [string, string, RegExp, string?][] = [
    ["/dev/shm", "head -c 250M /dev/zero > /dev/shm/fill", /nearly full$/],
    ["/dev/shm", "chmod 0777 /dev/shm", /not sticky/],
    [
      "hardening",
      "echo 0 > /tmp/zero.$$; mount --bind /tmp/zero.$$ /proc/sys/fs/protected_symlinks; rm /tmp/zero.$$",
      /protected_symlinks=0/,
    ],
    [
      "clock",
      "echo hpet > /tmp/clock.$$; mount --bind /tmp/clock.$$ /sys/devices/system/clocksource/clocksource0/current_clocksource; rm /tmp/clock.$$",
      /^hpet, which is slow to read$/,
    ],
    [
      "memory limit",
      "echo 1000000 > /tmp/limit.$$; mount --bind /tmp/limit.$$ /sys/fs/cgroup/memory.max; rm /tmp/limit.$$; cortex cache create p --size 8M",
      /its pools may grow to 8\.0 MiB/,
      "/sys/fs/cgroup/memory.max",
    ],
    [
      "litter",
      "head -c 8192 /dev/zero > /dev/shm/.cortex.dead.0123abcd",
      /^crashes left 1 thing, 8\.0 KiB$/,
    ],
    [
      "snapshots",
      "mkdir -p $CORTEX_HOME/snapshots; chmod 777 $CORTEX_HOME/snapshots",
      /any user can write to it/,
    ],
    [
      "snapshot p",
      "cortex cache create p --size 1M; echo | cortex cache put p a; cortex cache persist p; : > $CORTEX_HOME/snapshots/p/MANIFEST",
      /^MANIFEST: damaged/,
    ],
    ["pool x", "echo hello > /dev/shm/cortex.x", /^it is not a cortex pool$/],
    [
      "pool p",
      "cortex cache create p --size 1M; chmod 606 /dev/shm/cortex.p",
      /^any user can write to it$/,
    ],
  ];
  for (const [topic, script, says, needs] of cases) {
    if (needs !== undefined && !existsSync(needs)) continue;
    const said = doctor(script);
    assert.deepEqual(bad(said), [topic], JSON.stringify(said.facts, null, 1));
    const fact = said.facts.find(({ ok }) => !ok)!;
    assert.match(fact.text, says);
    assert.ok(fact.remedy!.length > 10);
    assert.equal(said.code, 1);
  }
});

test("doctor checks the tables of every pool", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  // The header's count of entries, at byte 532, wrong by one.
  const said = doctor(`
    cortex cache create p --size 1M >/dev/null
    printf '\\001' | dd of=/dev/shm/cortex.p bs=1 seek=532 conv=notrunc 2>/dev/null`);
  assert.deepEqual(bad(said), ["pool p"]);
  const fact = said.facts.find(({ ok }) => !ok)!;
  assert.equal(fact.text, "the header says 1 entries, not 0");
  assert.equal(fact.remedy, "cortex cache check p --repair");
});

test("doctor tells an ordinary user that systemd would take the pools away", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const cases: [string, boolean, RegExp][] = [
    [
      "",
      false,
      /^yes: systemd deletes your pools when your last session ends$/,
    ],
    ["[Login]\\nRemoveIPC=no", true, /^no$/],
    ["[Login]\\n#RemoveIPC=no", false, /^yes/],
  ];
  for (const [conf, ok, says] of cases) {
    using dir = scratch();
    chmodSync(dir.path, 0o755);
    const { stdout, stderr } = onOwnMounts(
      `${HEALTHY}
      mkdir -p /run/systemd/system $CORTEX_HOME
      mount -t tmpfs tmpfs /etc/systemd
      printf '${conf}\\n' > /etc/systemd/logind.conf
      chown 4321 $CORTEX_HOME
      cortex cache create roots --size 1M >/dev/null
      quiet() { setpriv --reuid 4321 --regid 4321 --clear-groups ${
        PROGRAM.map((word) => `'${word}'`).join(" ")
      } "$@"; }
      quiet doctor --json`,
      {
        CORTEX_HOME: dir.path,
        DENO_DIR: join(dir.path, "deno"),
        HOME: dir.path,
      },
    );
    // A runtime that this user may not read is no matter of ours.
    if (!stdout.includes("{") && /permission denied|not found/i.test(stderr)) {
      return skip(
        t,
        "skipped because another user may not run the program here",
      );
    }
    const { facts } = JSON.parse(stdout) as { facts: Fact[] };
    const fact = facts.find(({ topic }) => topic === "RemoveIPC")!;
    assert.equal(fact.ok, ok, conf);
    assert.match(fact.text, says);
    const others = facts.find(({ topic }) => topic === "pool roots")!;
    assert.deepEqual([others.ok, others.text], [true, "of another user"]);
  }
});

test("doctor --assist writes to no segment but that of a self-test", () => {
  using pool = poolName();
  furnished(pool.name);
  const before = readFileSync(`/dev/shm/cortex.${pool.name}`);
  for (const segment of [`cortex.${pool.name}`, `.cortex.doctor.0123abcd`]) {
    const { code } = cortex(["doctor", "--assist", segment]);
    assert.notEqual(code, 0);
  }
  const after = readFileSync(`/dev/shm/cortex.${pool.name}`);
  assert.equal(Buffer.compare(before, after), 0);
});

test("persist into a directory that others can write is refused in one line", () => {
  using pool = poolName();
  using dir = scratch();
  furnished(pool.name);
  const path = join(dir.path, "open");
  mkdirSync(path);
  chmodSync(path, 0o777);
  const said = refused(1, ["persist", pool.name, "--path", path]);
  assert.match(
    said,
    /: any user can write to it\nChoose another directory, or: chmod o-w /,
  );
  assert.deepEqual(readdirSync(path), []);
});

test("metadata and values are in no error of the program", () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "512K");
  const secret = "the-prompt-of-somebody";
  const meta = JSON.stringify({ prompt: secret });
  for (
    const args of [
      ["put", pool.name, "k", "--meta", `{${secret}`],
      ["put", pool.name, "k", "--meta", JSON.stringify(secret.repeat(300))],
      ["put", pool.name, "k", "--meta", meta, "--tokens", "-1"],
      ["put", "no-such-pool", "k", "--meta", meta],
      ["put", pool.name, "k".repeat(2000), "--meta", meta],
    ]
  ) {
    const { code, stdout, stderr } = cortex(["cache", ...args], {
      input: secret.repeat(10),
    });
    assert.notEqual(code, 0);
    assert.ok(!(stdout + stderr).includes("prompt-of"), stderr);
  }
  const { stderr } = cortex(["cache", "put", pool.name, "k", "--meta", meta], {
    input: secret.repeat(100_000),
  });
  assert.match(stderr, /^cortex: Cannot put entry "k": /);
  assert.ok(!stderr.includes("prompt-of"), stderr);
});

test("variables of the runtime change nothing of the built program", (t) => {
  if (PROGRAM.length > 1) {
    return skip(t, "skipped because it is about the built program");
  }
  using dir = scratch();
  const script = join(dir.path, "preload.js");
  writeFileSync(script, "console.error('PRELOADED')");
  for (
    const environment of [
      { BUN_OPTIONS: `--preload ${script}` },
      { BUN_BE_BUN: "1" },
      { BUN_INSPECT: "ws://127.0.0.1:1/", BUN_INSPECT_PRELOAD: script },
      { NODE_OPTIONS: `--require ${script}` },
    ]
  ) {
    const { code, stdout, stderr } = cortex(["--version"], { environment });
    assert.equal(code, 0);
    assert.match(stdout, /^cortex /, JSON.stringify(environment));
    assert.equal(stderr, "");
  }
});
