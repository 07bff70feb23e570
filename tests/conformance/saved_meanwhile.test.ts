import { test } from "node:test";
import assert from "node:assert/strict";
import { BusyError, CorruptError, NotFoundError } from "../../lib/errors.ts";
import { persist, Pool, pruneSnapshot, restore } from "../../lib/mod.ts";
import { flipFileByte, TempSnapshot, watchedHost } from "../snapshots.ts";
import { assertRefuses, bytesOf } from "../helpers.ts";

const ENTRIES = 4;

/** Two generations, and a pool that can make a third. */
function prepared(place: TempSnapshot): Pool {
  const pool = Pool.create(place.name, { size: "2M" });
  for (let i = 0; i < ENTRIES; i++) pool.put(`k${i}`, bytesOf(i, 3000));
  persist(pool, { path: place.path });
  pool.put("second", bytesOf("second", 3000));
  persist(pool, { path: place.path });
  return pool;
}

/** Restores again and again, with `meanwhile` before another call each time. */
function restoreWith(
  options: Parameters<typeof restore>[1],
  meanwhile: (pool: Pool, path: string) => void,
  check: (run: () => ReturnType<typeof restore>) => void,
): number {
  for (let nth = 1;; nth++) {
    using place = new TempSnapshot();
    using pool = prepared(place);
    const { path } = place;
    let calls = 0, happened = false;
    const platform = watchedHost((call) => {
      if (!call.startsWith("files.") || ++calls !== nth) return;
      happened = true;
      try {
        meanwhile(pool, path);
      } catch (error) {
        if (!(error instanceof BusyError)) throw error;
      }
    });
    check(() => restore(place.other, { path, platform, ...options }));
    if (!happened) return nth;
  }
}

test("a save at any call of a restore costs it nothing", () => {
  for (
    const [options, keep] of [
      [{}, 0],
      [{ partial: true }, 0],
      [{ generation: 2 }, 9],
    ] as const
  ) {
    const calls = restoreWith(options, (pool, path) => {
      pool.put("late", bytesOf("late", 3000));
      persist(pool, { path, full: true, keep });
    }, (run) => {
      const { damaged, entries, generation, passed_over } = run();
      assert.equal(damaged, 0);
      assert.deepEqual(passed_over, []);
      assert.ok([2, 3].includes(generation), `generation ${generation}`);
      assert.equal(entries, ENTRIES + generation - 1);
    });
    assert.ok(calls > 10, `only ${calls} calls`);
  }
});

test("a generation that is pruned meanwhile is whole, or not there", () => {
  restoreWith({ generation: 1 }, (pool, path) => {
    pruneSnapshot(pool.name, { path, keep: 0 });
  }, (run) => {
    try {
      assert.equal(run().entries, ENTRIES);
    } catch (error) {
      assert.ok(error instanceof NotFoundError, String(error));
    }
  });
});

test("a generation whose manifest is damaged is not one that never was", () => {
  using place = new TempSnapshot();
  const { path } = place;
  prepared(place).close();
  flipFileByte(path, "MANIFEST-00000001");
  const take = (generation: number) => () =>
    restore(place.other, { path, generation });
  assertRefuses(take(1), CorruptError, /manifest is damaged/);
  assertRefuses(take(3), NotFoundError, /there is none/);
  flipFileByte(path, "MANIFEST");
  assertRefuses(take(2), CorruptError, /manifest is damaged/);
  assertRefuses(take(3), NotFoundError, /there is none/);
});
