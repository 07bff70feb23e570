/** Hosts with hardly any memory or disk, and programs that are killed on them. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
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
  start,
} from "./harness.ts";

test("on 8 MB no command ends by a signal, whatever it asks for", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  using dir = scratch();
  const { stdout, stderr } = onOwnMounts(
    `
    say() { "$@" >$CORTEX_HOME/out 2>$CORTEX_HOME/err; echo "$2 $3 $?"; }
    # A snapshot of more than this host can hold.
    mount -t tmpfs -o size=64M tmpfs /dev/shm
    cortex cache create p --size 32M >/dev/null
    for i in $(seq 20); do
      head -c 1000000 /dev/urandom | cortex cache put p key-$i
    done
    cortex cache persist p >/dev/null; cortex cache destroy p >/dev/null
    umount /dev/shm
    mount -t tmpfs -o size=8M tmpfs /dev/shm

    say cortex cache create big --size 64M --populate
    say cortex cache create huge --size 1T
    say cortex cache restore p
    say cortex cache create p --size 32M
    say cortex cache status p
    for i in $(seq 12); do
      head -c 1500000 /dev/urandom | cortex cache put p new-$i >/dev/null 2>&1
      echo "put $?"
    done
    say cortex cache check p --values
    say cortex cache check p --repair
    say cortex cache entries p
    say cortex cache evict p --percent 50
    say cortex cache persist p
    say cortex cache create second --size 4M
    say cortex cache gc
    say cortex cache list
    # Not a byte is left; and still each says so, or does it.
    head -c 20M /dev/zero > /dev/shm/fill 2>/dev/null
    head -c 3000000 /dev/urandom | cortex cache put p last >/dev/null 2>&1
    echo "put $?"
    say cortex cache status p
    say cortex cache create third --size 4M
    say cortex cache check p --values
    say cortex doctor
    say cortex cache get p new-12
    say cortex cache destroy p
    say cortex cache list
    ls -A /dev/shm | tr '\\n' ' '
    `,
    { CORTEX_HOME: dir.path },
  );
  const codes = [...stdout.matchAll(/^\w+ ?\S* (\d+)$/gm)].map(([, c]) => c);
  assert.ok(codes.length > 30, stdout + stderr);
  for (const code of codes) assert.ok(Number(code) <= 6, stdout + stderr);
  assert.match(
    stdout,
    /^cache create 6\ncache create 6\ncache restore 6\ncache create 0$/m,
  );
  assert.match(stdout, /^cache check 0\ncache check 0$/m);
  assert.ok(stdout.trimEnd().endsWith("fill"), stdout + stderr);
});

test("on 8 MB four writers at once all live, and the pool is whole", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  const { stdout, stderr } = onOwnMounts(`
    mount -t tmpfs -o size=8M tmpfs /dev/shm
    cortex cache create p --size 64M >/dev/null
    for w in 1 2 3 4; do
      (for i in 1 2 3 4 5; do
        head -c $((w * 500000 + i * 70000)) /dev/urandom |
          cortex cache put p w$w-$i >/dev/null 2>&1
        echo "put $?"
      done) &
    done
    wait
    cortex cache check p --values; echo "check $?"
  `);
  const codes = [...stdout.matchAll(/^put (\d+)$/gm)].map(([, c]) => Number(c));
  assert.equal(codes.length, 20, stdout + stderr);
  // Room may be short while others write into theirs.
  for (const code of codes) assert.ok([0, 6].includes(code), stdout + stderr);
  assert.ok(codes.includes(0));
  assert.match(stdout, /^Pool p is whole: .*\ncheck 0$/m, stdout + stderr);
});

test("a start that is killed again and again, where one pool fits, always comes up", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  using dir = scratch();
  // From before it has begun to after it is done; the built program is faster.
  const moments = PROGRAM.length > 1
    ? [20, 80, 110, 130, 150, 200]
    : [0, 3, 6, 9, 12, 15, 18, 21, 25, 30, 45, 60, 80, 120];
  const rounds = moments.length;
  const { stdout, stderr } = onOwnMounts(
    `
    mount -t tmpfs -o size=20M tmpfs /dev/shm
    killed() { # command, and after how many ms it is killed
      ms=$1; shift
      ( start "$@" >/dev/null 2>&1 ) & pid=$!
      sleep 0.$(printf %03d $ms); kill -9 $pid 2>/dev/null; wait $pid 2>/dev/null
    }
    for ms in ${moments.join(" ")}; do
      killed $ms cache create p --size 16M --populate
      if cortex cache status p >/dev/null 2>&1; then echo "was there"
      else cortex cache create p --size 16M --populate >/dev/null; echo "create $?"
      fi
      cortex cache check p >/dev/null; echo "check $?"
      cortex cache destroy p >/dev/null
    done
    cortex cache create p --size 16M --populate >/dev/null
    for i in $(seq 15); do head -c 1000000 /dev/urandom | cortex cache put p k$i >/dev/null; done
    cortex cache persist p >/dev/null; echo "persist $?"
    cortex cache destroy p >/dev/null
    for ms in ${moments.join(" ")}; do
      killed $ms cache restore p
      # What a service does when it starts.
      cortex cache restore p >/dev/null 2>&1 || cortex cache status p >/dev/null
      echo "restore $?"
      cortex cache entries p --json | grep -o '"key"' | wc -l
      cortex cache check p >/dev/null; echo "check $?"
      cortex cache persist p --path $CORTEX_HOME/other >/dev/null; echo "persist $?"
      cortex cache destroy p >/dev/null
    done
    # One that was killed before its segment had a size may leave it for a minute.
    find /dev/shm -type f -size +0 | wc -l
    `,
    { CORTEX_HOME: dir.path },
  );
  const lines = stdout.trim().split("\n");
  assert.equal(lines.at(-1), "0", stdout + stderr);
  const times = (text: string) => lines.filter((line) => line === text).length;
  assert.equal(times("restore 0"), rounds, stdout + stderr);
  assert.equal(times("check 0"), 2 * rounds, stdout + stderr);
  assert.equal(times("15"), rounds, stdout + stderr);
  for (const line of lines) {
    assert.match(line, /^(was there|(create|check|restore|persist) 0|15|0)$/);
  }
});

test("get --output onto a full disk leaves what was there, and nothing else", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  using dir = scratch();
  using pool = poolName();
  cache("create", pool.name, "--size", "32M");
  cortex(["cache", "put", pool.name, "k"], {
    input: new Uint8Array(9_000_000),
  });
  const { stdout, stderr } = onOwnMounts(`
    mount -t tmpfs -o size=4M tmpfs ${dir.path}
    echo old > ${dir.path}/file
    cortex cache get ${pool.name} k --output ${dir.path}/file; echo $?
    cortex cache get ${pool.name} k --output ${dir.path}/new; echo $?
    cat ${dir.path}/file; ls -A ${dir.path}
  `);
  assert.equal(stdout, "6\n6\nold\nfile\n", stderr);
  assert.match(
    stderr,
    /^cortex: Cannot write file ".*file": no space left on the device$/m,
  );
});

test("get --output replaces a file whole, keeps its mode, and fills a pipe", (t) => {
  if (!MAY_MOUNT) return skip(t, NO_MOUNT);
  using dir = scratch();
  using pool = poolName();
  cache("create", pool.name, "--size", "8M");
  cortex(["cache", "put", pool.name, "k"], { input: "value" });
  const { stdout, stderr } = onOwnMounts(`
    cd ${dir.path}
    echo "old and longer" > file; chmod 640 file; ln -s file link; mkfifo pipe
    cortex cache get ${pool.name} k --output link
    cat file; echo; stat -c %a file; readlink link
    cortex cache get ${pool.name} k --output new; stat -c %a new
    cortex cache get ${pool.name} k --output pipe & timeout 60 cat pipe; echo
    cortex cache get ${pool.name} k --output /dev/null; echo $?
    cortex cache get ${pool.name} k --output . ; echo $?
    cortex cache get ${pool.name} k --output no/where; echo $?
    ls -A
  `);
  assert.equal(
    stdout,
    "value\n640\nfile\n600\nvalue\n0\n2\n3\nfile\nlink\nnew\npipe\n",
    stderr,
  );
});

test("Ctrl-C while memory is taken leaves no segment", async () => {
  using pool = poolName();
  const ours = () =>
    readdirSync("/dev/shm").filter((file) => file.includes(pool.name));
  const child = start([
    "cache",
    "create",
    pool.name,
    "--size",
    "2G",
    "--populate",
  ]);
  const ended = new Promise((done) => child.once("close", done));
  let said = "";
  child.stderr.on("data", (chunk) => said += chunk);
  child.stdout.resume();
  while (ours().length === 0 && child.exitCode === null) {
    await new Promise((done) => setTimeout(done, 1));
  }
  await new Promise((done) => setTimeout(done, 50));
  child.kill("SIGINT");
  await ended;
  if (ours().includes(`cortex.${pool.name}`)) {
    // It was done before the signal came.
    assert.equal(said, "");
    return;
  }
  assert.match(said, /^cortex: Cannot create pool .*: interrupted\n$/);
  assert.deepEqual(ours(), []);
  refused(3, ["status", pool.name]);
});

test("Ctrl-C while a file is written leaves what was there", async () => {
  using dir = scratch();
  using pool = poolName();
  cache("create", pool.name, "--size", "1G");
  const value = new Uint8Array(400 << 20);
  cortex(["cache", "put", pool.name, "k"], { input: value });
  const path = `${dir.path}/file`;
  writeFileSync(path, "old");
  const child = start(["cache", "get", pool.name, "k", "--output", path]);
  const ended = new Promise((done) => child.once("close", done));
  while (readdirSync(dir.path).length === 1 && child.exitCode === null) {
    await new Promise((done) => setTimeout(done, 1));
  }
  child.kill("SIGINT");
  await ended;
  assert.deepEqual(readdirSync(dir.path), ["file"]);
  const { length } = readFileSync(path);
  assert.ok(length === 3 || length === value.length, `${length}`);
});
