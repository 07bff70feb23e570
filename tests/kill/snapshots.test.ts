/**
 * kill -9 at every call of the host that saving, compacting, pruning and
 * restoring make: a complete snapshot always loads, and whoever comes next goes
 * on. Real processes; the calls are shared out between the two runtimes, which
 * both run this test.
 */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { persist, Pool, restore, verifySnapshot } from "../../lib/mod.ts";
import { bytesOf, keysOf } from "../helpers.ts";
import { OWN_RUNTIME, Worker } from "../processes.ts";
import { TempSnapshot } from "../snapshots.ts";

const SCRIPT = new URL("snapshot_worker.ts", import.meta.url);
const OLD = ["key-0", "key-1", "key-2", "key-3"];
const NEW = ["key-1", "key-2", "key-3", "late"];

/** A place with a snapshot of two generations, and a pool that went on. */
function prepare(): TempSnapshot {
  const place = new TempSnapshot();
  using pool = Pool.create(place.name, { size: "1M" });
  pool.put("key-0", bytesOf("key-0", 3000));
  persist(pool, { path: place.path });
  for (const key of OLD) pool.put(key, bytesOf(key, 40_000));
  persist(pool, { path: place.path });
  pool.put("late", bytesOf("late", 40_000));
  pool.delete("key-0");
  return place;
}

/** What the snapshot in `path` has, once it was loaded and every byte was right. */
function loaded(place: TempSnapshot, path: string): string[] {
  const report = restore(place.other, { path });
  assert.equal(report.damaged + report.left_out, 0);
  using pool = Pool.open(place.other);
  const keys = keysOf(pool);
  for (const key of keys) {
    using hit = pool.get(key);
    assert.deepEqual(hit?.bytes.slice(), bytesOf(key, 40_000), key);
  }
  pool.close();
  Pool.destroy(place.other);
  return keys;
}

/** How many are tried at once: as many as there are cores, about. */
const LANES = 2;

/**
 * Runs the task again and again, each time killed one call later, until it comes
 * to its end; `check` looks at what is left in a directory of each one's own.
 */
async function killEverywhere(
  template: string,
  run: (path: string, at: number) => Promise<boolean>,
): Promise<number> {
  let next = OWN_RUNTIME === "deno" ? 1 : 2, last = Infinity, kills = 0;
  const lane = async () => {
    while (next < last) {
      const at = next;
      next += 2;
      const path = mkdtempSync(join(tmpdir(), "cortex-kill-"));
      try {
        cpSync(template, path, { recursive: true });
        if (await run(path, at)) last = Math.min(last, at);
        else kills++;
      } finally {
        rmSync(path, { recursive: true });
      }
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return kills;
}

/** Whether the worker came to its end. */
async function runKilled(args: readonly string[]): Promise<boolean> {
  using worker = new Worker(OWN_RUNTIME, SCRIPT, args);
  const lines: string[] = [];
  const code = await worker.ended(lines);
  if (code === 0) return lines.includes("done");
  assert.equal(code, null, worker.failure); // by a signal
  return false;
}

for (const task of ["persist", "full", "compact"] as const) {
  test(`kill -9 at every call of a save (${task})`, async () => {
    using place = prepare();
    const kills = await killEverywhere(place.path, async (path, at) => {
      // Two savers of one pool would be in each other's way.
      const name = `${place.name}-${at}`;
      restoreCopy(place, name);
      try {
        const done = await runKilled([task, name, path, String(at)]);
        const keys = loaded({ other: `${name}-o` } as TempSnapshot, path);
        const isOld = keys.join() === OLD.join(),
          isNew = keys.join() === NEW.join();
        assert.ok(isNew || (isOld && !done), `call ${at}: ${keys.join()}`);
        // The next one finds no lock, and leaves nothing of the killed one.
        using pool = Pool.open(name);
        const report = persist(pool, { path });
        assert.equal(report.entries, 4);
        assert.ok(verifySnapshot(name, { path }).ok);
        assert.deepEqual(pool.check({ values: true }).problems, []);
        return done;
      } finally {
        rmSync(`/dev/shm/cortex.${name}`, { force: true });
      }
    });
    assert.ok(kills >= 40, `${kills} kills`);
  });
}

/** A pool like the place's own, under another name. */
function restoreCopy(place: TempSnapshot, name: string): void {
  cpSync(`/dev/shm/cortex.${place.name}`, `/dev/shm/cortex.${name}`);
}

test("kill -9 at every call of a prune", async () => {
  using place = prepare();
  const kills = await killEverywhere(place.path, async (path, at) => {
    const done = await runKilled(["prune", place.name, path, String(at)]);
    const other = `${place.other}-${at}`;
    assert.deepEqual(
      loaded({ other } as TempSnapshot, path),
      OLD,
      `call ${at}`,
    );
    return done;
  });
  assert.ok(kills >= 10, `${kills} kills`);
});

test("kill -9 at every call of a restore: the next one goes on where it ended", async () => {
  using place = prepare();
  const kills = await killEverywhere(place.path, async (path, at) => {
    const name = `${place.name}-${at}`;
    try {
      const done = await runKilled(["restore", name, path, String(at)]);
      assert.deepEqual(
        loaded({ other: `${name}-o` } as TempSnapshot, path),
        OLD,
      );
      if (!done) {
        // Half a pool is not saved over the whole snapshot.
        if (Pool.list().includes(name)) {
          using half = Pool.open(name);
          if (half.status().loading) {
            assert.throws(() => persist(half, { path }), { code: "FAILED" });
          } else assert.deepEqual(keysOf(half), OLD, `call ${at}`);
        }
        const isWhole = Pool.list().includes(name) &&
          !Pool.open(name, { observe: true }).status().loading;
        if (!isWhole) restore(name, { path });
      }
      using pool = Pool.open(name);
      assert.deepEqual(keysOf(pool), OLD, `call ${at}`);
      assert.equal(pool.status().loading, false);
      assert.deepEqual(pool.check({ values: true }).problems, []);
      for (const key of OLD) {
        using hit = pool.get(key);
        assert.deepEqual(hit?.bytes.slice(), bytesOf(key, 40_000));
      }
      return done;
    } finally {
      rmSync(`/dev/shm/cortex.${name}`, { force: true });
    }
  });
  assert.ok(kills >= 40, `${kills} kills`);
});
