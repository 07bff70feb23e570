/** Segments that are replaced, cut short or inherited under a live handle. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, truncateSync } from "node:fs";
import { test } from "node:test";
import { CorruptError } from "../../lib/errors.ts";
import {
  assertWhole,
  Pool,
  segmentFile,
  type TempPool,
  tempPool,
} from "../helpers.ts";
import { pause, RUNTIMES, Worker } from "../processes.ts";
import { readStamp, stampedValue } from "./stamped.ts";

const SCRIPT = new URL("./subject.ts", import.meta.url);

function furnished(): TempPool {
  const temp = tempPool({ size: "4M", maxEntries: 64 });
  for (const key of ["held", "other"]) {
    temp.pool.put(key, stampedValue(key, 1, 1, 100_000));
  }
  return temp;
}

async function untilAttached(pool: Pool, count: number): Promise<void> {
  for (let i = 0; i < 500 && pool.status().attached > count; i++) {
    await pause(10);
  }
  assert.equal(pool.status().attached, count);
}

for (const runtime of RUNTIMES) {
  test(
    `a ${runtime} process whose pool was destroyed and made again sees the old one, and harms neither`,
    {
      timeout: 30_000,
    },
    async () => {
      using temp = furnished();
      using subject = new Worker(runtime, SCRIPT, [temp.name]);
      await subject.line();
      assert.equal(await subject.ask("pin held"), "pinned");
      assert.equal(await subject.ask("reserve half 50000"), "reserved");
      Pool.destroy(temp.name);
      const again = Pool.create(temp.name, { size: "4M", maxEntries: 64 });
      again.put("held", stampedValue("held", 7, 7, 100_000));
      // What it holds is still what it was; it changes nothing any more.
      assert.equal(await subject.ask("verify held"), "same");
      assert.match(
        await subject.ask("put mine 100"),
        /^NOT_FOUND Cannot put .* it was destroyed$/,
      );
      assert.equal(again.status().attached, 1);
      assert.equal(await subject.ask("unpin held"), "unpinned");
      assert.equal(await subject.ask("close"), "closed");
      await subject.kill();
      using hit = again.get("held");
      assert.deepEqual(readStamp("held", hit!.bytes), {
        writer: 7,
        version: 7,
      });
      assert.equal(again.status().entries, 1);
      assertWhole(again);
      again.close();
    },
  );

  test(
    `a ${runtime} process that has a pool is told that it was cut short, if it asks before it touches`,
    {
      timeout: 30_000,
    },
    async () => {
      using temp = furnished();
      using subject = new Worker(runtime, SCRIPT, [temp.name]);
      using reader = new Worker(runtime, SCRIPT, [temp.name]);
      await subject.line();
      await reader.line();
      assert.equal(await reader.ask("pin held"), "pinned");
      const { name } = temp;
      temp.pool.close();
      truncateSync(segmentFile(name), 0);
      // Whoever takes the lock asks the kernel for the size first.
      assert.match(
        await subject.ask("put mine 100"),
        /^CORRUPT Cannot put .*: somebody cut its segment to 0 bytes$/,
      );
      // A reader cannot be saved: that is what SECURITY.md says, and why.
      reader.process.stdin!.write("verify held\n");
      assert.equal(await reader.endingSignal(), "SIGBUS");
      assert.throws(() => Pool.open(name), CorruptError);
      await subject.kill();
    },
  );

  test(`a child that a ${runtime} process starts has none of its pools`, {
    timeout: 30_000,
  }, async () => {
    using temp = furnished();
    using subject = new Worker(runtime, SCRIPT, [temp.name]);
    await subject.line();
    await subject.ask("pin held");
    const pid = Number(await subject.ask("child"));
    try {
      const maps = readFileSync(`/proc/${pid}/maps`, "utf8");
      assert.ok(!maps.includes("cortex."), maps);
      await subject.kill();
      await untilAttached(temp.pool, 1);
      temp.pool.evict({ percent: 100 });
      assert.equal(temp.pool.status().used_bytes, 0);
    } finally {
      process.kill(pid, "SIGKILL");
    }
  });

  test(
    `a raw fork of a ${runtime} process keeps what it had, until both are gone`,
    {
      timeout: 30_000,
    },
    async () => {
      using temp = furnished();
      using subject = new Worker(runtime, SCRIPT, [temp.name]);
      await subject.line();
      await subject.ask("pin held");
      const pid = Number(await subject.ask("fork"));
      try {
        assert.equal(await subject.ask("lock"), "locked");
        // Not until its pipes are closed: the child has them, too.
        subject.process.kill("SIGKILL");
        await once(subject.process, "exit");
        // The child may read what its parent had mapped and pinned: it stays.
        assert.equal(temp.pool.status().attached, 2);
        assert.throws(() => Pool.open(temp.name, { lockTimeout_ms: 50 }), {
          code: "BUSY",
        });
        assert.equal(temp.pool.has("held"), true);
      } finally {
        process.kill(pid, "SIGKILL");
      }
      await untilAttached(temp.pool, 1);
      temp.pool.evict({ percent: 100 });
      assert.equal(temp.pool.status().used_bytes, 0);
      assertWhole(temp.pool);
    },
  );

  test(
    `a ${runtime} process closes its pool though a raw fork of it lives on`,
    {
      timeout: 30_000,
    },
    async () => {
      using temp = furnished();
      using subject = new Worker(runtime, SCRIPT, [temp.name]);
      await subject.line();
      await subject.ask("pin held");
      const pid = Number(await subject.ask("fork"));
      try {
        assert.equal(await subject.ask("close"), "closed");
        // The child still has the slot's lock; the slot itself was given back.
        assert.equal(temp.pool.status().attached, 1);
        temp.pool.evict({ percent: 100 });
        assert.equal(temp.pool.status().used_bytes, 0);
        const others = Array.from({ length: 10 }, () => temp.open());
        assert.equal(temp.pool.status().attached, 11);
        for (const other of others) other.close();
        assertWhole(temp.pool);
      } finally {
        process.kill(pid, "SIGKILL");
      }
    },
  );
}

test("64 processes that attach at once all work, and leave nothing behind", {
  timeout: 120_000,
}, async () => {
  using temp = tempPool({ size: "64M" });
  temp.pool.put("shared", stampedValue("shared", 1, 1, 100_000));
  const workers = Array.from(
    { length: 64 },
    (_, i) => new Worker(RUNTIMES[i % 2]!, SCRIPT, [temp.name]),
  );
  try {
    await Promise.all(workers.map((worker) => worker.line()));
    assert.equal(temp.pool.status().attached, 65);
    const pinned = await Promise.all(
      workers.map((worker) => worker.ask("pin shared")),
    );
    assert.ok(pinned.every((answer) => answer === "pinned"));
    const put = await Promise.all(
      workers.map((worker, i) => worker.ask(`put own-${i} 20000`)),
    );
    assert.deepEqual(put.filter((answer) => answer !== "put"), []);
    assert.equal(temp.pool.status().entries, 65);
    temp.pool.delete("shared");
    const verified = await Promise.all(
      workers.map((worker) => worker.ask("verify shared")),
    );
    assert.ok(verified.every((answer) => answer === "same"));
    // Half of them end well, half are killed.
    await Promise.all(workers.map(async (worker, i) => {
      if (i % 4 < 2) await worker.ask("close");
      await worker.kill();
    }));
    await untilAttached(temp.pool, 1);
    assertWhole(temp.pool);
    assert.equal(temp.pool.core.header.get("doomed"), 0);
    for (let i = 0; i < 64; i++) {
      using hit = temp.pool.get(`own-${i}`);
      readStamp(`own-${i}`, hit!.bytes);
    }
  } finally {
    for (const worker of workers) worker[Symbol.dispose]();
  }
});
