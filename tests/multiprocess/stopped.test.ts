/** Processes that are stopped, out of sight, or of a pid that others had. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { test } from "node:test";
import { BusyError } from "../../lib/errors.ts";
import process from "node:process";
import { assertWhole, Pool, type TempPool, tempPool } from "../helpers.ts";
import { can, pause, RUNTIMES, skip, Worker } from "../processes.ts";
import { readStamp, stampedValue } from "./stamped.ts";

const SCRIPT = new URL("./subject.ts", import.meta.url);
const PID_NAMESPACE = [
  "unshare",
  "--pid",
  "--fork",
  "--kill-child",
  "--mount-proc",
];
const MAY_UNSHARE = can(...PID_NAMESPACE, "true");

function furnished(): TempPool {
  const temp = tempPool({ size: "4M", maxEntries: 64 });
  for (const key of ["held", "other"]) {
    temp.pool.put(key, stampedValue(key, 1, 1, 100_000));
  }
  return temp;
}

/** Puts so much that whatever may be evicted is. */
function press(pool: Pool): void {
  for (let i = 0; i < 90; i++) {
    pool.put(`press-${i}`, stampedValue(`press-${i}`, 2, i, 100_000));
  }
}

function usedBytes({ pool }: TempPool): number {
  return pool.status().used_bytes;
}

for (const runtime of RUNTIMES) {
  test(
    `a stopped ${runtime} process keeps what it has pinned, for as long as it is stopped`,
    {
      timeout: 30_000,
    },
    async () => {
      using temp = furnished();
      using subject = new Worker(runtime, SCRIPT, [temp.name]);
      await subject.line();
      assert.equal(await subject.ask("pin held"), "pinned");
      await subject.stop();
      // Under pressure, by delete, by evict, by check and by repair.
      press(temp.pool);
      assert.equal(temp.pool.has("held"), true);
      assert.equal(temp.pool.has("other"), false);
      temp.pool.put("held", stampedValue("held", 3, 2, 100_000)); // replaces it
      temp.pool.delete("held");
      temp.pool.evict({ percent: 100 });
      temp.pool.repair({ values: true });
      press(temp.pool);
      assert.equal(temp.pool.core.header.get("doomed"), 1);
      assertWhole(temp.pool);
      subject.resume();
      assert.equal(await subject.ask("verify held"), "same");
      assert.equal(await subject.ask("unpin held"), "unpinned");
      temp.pool.evict({ percent: 100 });
      assert.equal(usedBytes(temp), 0);
      assertWhole(temp.pool);
    },
  );

  test(
    `a stopped ${runtime} process that holds the lock makes others say busy, not wait for ever`,
    {
      timeout: 30_000,
    },
    async () => {
      using temp = furnished();
      using subject = new Worker(runtime, SCRIPT, [temp.name]);
      await subject.line();
      assert.equal(await subject.ask("change"), "changing");
      await subject.stop();
      const impatient = { lockTimeout_ms: 100 };
      const begun = performance.now();
      assert.throws(
        () => Pool.open(temp.name, impatient),
        (error) =>
          error instanceof BusyError &&
          error.message.includes(`process ${subject.pid} has held its lock`),
      );
      assert.ok(performance.now() - begun < 5000);
      // Reading needs no lock, and looking needs none either.
      using hit = temp.pool.get("held");
      readStamp("held", hit!.bytes);
      assert.equal(temp.pool.get("nothing"), undefined);
      using observer = Pool.open(temp.name, { observe: true });
      assert.equal(observer.status().entries, 2);
      // It is killed while it is stopped: the next one mends what it was at.
      await subject.kill();
      const killed = performance.now();
      temp.pool.put("after", stampedValue("after", 1, 1, 1000));
      assert.ok(performance.now() - killed < 1000, "the lock within a second");
      assert.equal(temp.pool.status().recoveries, 1);
      assertWhole(temp.pool);
    },
  );
}

test(
  "a process that goes on after it was stopped in a change is not disturbed",
  {
    timeout: 30_000,
  },
  async () => {
    using temp = furnished();
    using subject = new Worker(RUNTIMES[0]!, SCRIPT, [temp.name]);
    await subject.line();
    await subject.ask("lock");
    await subject.stop();
    assert.throws(
      () => Pool.open(temp.name, { lockTimeout_ms: 50 }),
      BusyError,
    );
    subject.resume();
    assert.equal(await subject.ask("unlock"), "unlocked");
    assert.equal(await subject.ask("put mine 5000"), "put");
    using pool = Pool.open(temp.name);
    assert.equal(pool.has("mine"), true);
    assertWhole(pool);
  },
);

test(
  "processes of different pid namespaces, with one pid, keep their pins apart",
  {
    timeout: 60_000,
  },
  async (t) => {
    if (!MAY_UNSHARE) return skip(t, "unshare --pid");
    using temp = furnished();
    using one = new Worker(RUNTIMES[0]!, SCRIPT, [temp.name], PID_NAMESPACE);
    using two = new Worker(RUNTIMES[1]!, SCRIPT, [temp.name], PID_NAMESPACE);
    assert.equal(await one.line(), "ready 1");
    assert.equal(await two.line(), "ready 1");
    assert.equal(await one.ask("pin held"), "pinned");
    assert.equal(await two.ask("pin held"), "pinned");
    assert.equal(await two.ask("pin other"), "pinned");
    assert.equal(temp.pool.status().attached, 3);
    await two.kill();
    await untilAttached(temp, 2);
    temp.pool.evict({ percent: 100 });
    assert.equal(temp.pool.has("other"), false);
    assert.equal(temp.pool.has("held"), true);
    assert.equal(await one.ask("verify held"), "same");
    await one.kill();
    await untilAttached(temp, 1);
    temp.pool.evict({ percent: 100 });
    assert.equal(usedBytes(temp), 0);
    assertWhole(temp.pool);
  },
);

/** The kernel takes a moment to take a killed process's locks back. */
async function untilAttached(temp: TempPool, count: number): Promise<void> {
  for (let i = 0; i < 500 && temp.pool.status().attached > count; i++) {
    await pause(10);
  }
  assert.equal(temp.pool.status().attached, count);
}

/** Runs a process, kills it, and gives its pid to another that lives. */
const REUSE = `
  "$@" < <(echo "pin held"; exec sleep 1000) &
  a=$!
  read -r _
  kill -9 $a; wait $a 2>/dev/null
  for _ in $(seq 100); do
    echo $((a - 1)) > /proc/sys/kernel/ns_last_pid
    sleep 1000 & b=$!
    [ $b = $a ] && { echo "reused $a $(cat /proc/$a/comm)"; wait $b; exit; }
    kill -9 $b
  done
  echo "not reused"`;

test("what a dead process had pinned is free though its pid lives again", {
  timeout: 60_000,
}, async (t) => {
  if (!MAY_UNSHARE) return skip(t, "unshare --pid");
  using temp = furnished();
  using subject = new Worker(RUNTIMES[0]!, SCRIPT, [temp.name], [
    ...PID_NAMESPACE,
    "bash",
    "-c",
    REUSE,
    "reuse",
  ]);
  const [, pid] = (await subject.line()).split(" ");
  assert.equal(await subject.line(), "pinned");
  temp.pool.evict({ percent: 100 });
  assert.equal(temp.pool.has("held"), true);
  // Of the shell, or of what it has become already.
  assert.match(
    await subject.ask("kill"),
    new RegExp(`^reused ${pid} (sleep|bash|sh)$`),
  );
  await untilAttached(temp, 1);
  temp.pool.evict({ percent: 100 });
  assert.equal(usedBytes(temp), 0);
  assertWhole(temp.pool);
});

/** More by hand: CORTEX_KILLED_HOLDERS=1000. */
const HOLDERS = Number(process.env["CORTEX_KILLED_HOLDERS"] ?? 12);

test(
  `what ${HOLDERS} killed processes had pinned is free within a second each`,
  {
    timeout: 30_000 + HOLDERS * 1000,
  },
  async () => {
    using temp = furnished();
    using stopped = new Worker(RUNTIMES[0]!, SCRIPT, [temp.name]);
    await stopped.line();
    await stopped.ask("put stopped 5000");
    await stopped.ask("pin stopped");
    await stopped.stop();
    let slowest_ms = 0;
    for (let i = 0; i < HOLDERS; i++) {
      temp.pool.put("held", stampedValue("held", 1, i, 100_000));
      using holder = new Worker(RUNTIMES[i % 2]!, SCRIPT, [temp.name]);
      await holder.line();
      await holder.ask("pin held");
      temp.pool.evict({ percent: 100 });
      assert.equal(temp.pool.has("held"), true);
      holder.process.kill("SIGKILL");
      const begun = performance.now();
      while (temp.pool.has("held")) {
        temp.pool.evict({ percent: 100 });
        await pause(1);
      }
      slowest_ms = Math.max(slowest_ms, performance.now() - begun);
      assert.ok(slowest_ms < 1000, `${slowest_ms} ms for the ${i}th`);
      assert.equal(temp.pool.has("stopped"), true);
    }
    console.log(`slowest of ${HOLDERS}: ${slowest_ms.toFixed(0)} ms`);
    assertWhole(temp.pool);
  },
);

test("a slot that names a living pid is free when nobody holds it", async () => {
  using temp = furnished();
  using subject = new Worker(RUNTIMES[1]!, SCRIPT, [temp.name]);
  await subject.line();
  await subject.ask("pin held");
  subject.process.kill("SIGKILL");
  await once(subject.process, "exit");
  // As if the kernel had given its pid to us.
  const { core } = temp.pool;
  const { slots_offset } = core.geometry;
  for (let slot = 0; slot < core.slots.limit; slot++) {
    const pid = (slots_offset + slot * 64 + 4) >> 2;
    core.control.u32[pid] = process.pid;
  }
  temp.pool.evict({ percent: 100 });
  assert.equal(usedBytes(temp), 0);
});
