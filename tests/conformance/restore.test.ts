/** Into which pools a snapshot goes, what of it, in what order, and what is refused. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { OsError } from "../../ffi/platform.ts";
import { persist, type PolicyName, Pool, restore } from "../../lib/mod.ts";
import { restoringSteps } from "../../lib/snapshot/mod.ts";
import { assertWhole, bytesOf, hostWith, keysOf } from "../helpers.ts";
import { TempSnapshot } from "../snapshots.ts";

/** A snapshot of `count` entries, the last put the most recently used. */
function save(
  place: TempSnapshot,
  count = 10,
  options: {
    policy?: PolicyName;
    namespace?: string;
    size_bytes?: number;
    priorities?: boolean;
  } = {},
): void {
  const { size_bytes = 3000, priorities = false, ...rest } = options;
  // So large that its records are written in one group, heads first.
  using pool = Pool.create(place.name, { size: "32M", ...rest });
  for (let i = 0; i < count; i++) {
    pool.put(`key-${i}`, bytesOf(i, size_bytes), {
      priority: priorities ? i % 4 : 0,
    });
  }
  persist(pool, { path: place.path });
  pool.close();
  place.destroy();
}

test("restore() into an empty pool fills it, whatever its geometry", () => {
  using place = new TempSnapshot();
  save(place);
  for (
    const options of [
      { size: "1M" },
      { size: "64M" },
      { size: "16M", blockSize: "64K" },
      { size: "4M", maxEntries: 20, policy: "fifo" },
    ] as const
  ) {
    using pool = Pool.create(place.name, options);
    const report = restore(place.name, { path: place.path });
    assert.deepEqual([report.entries, report.created], [10, false]);
    assert.equal(pool.status().policy, "policy" in options ? "fifo" : "prefix");
    for (let i = 0; i < 10; i++) {
      using hit = pool.get(`key-${i}`);
      assert.deepEqual(hit?.bytes.slice(), bytesOf(i, 3000));
    }
    assert.equal(pool.status().puts, 0);
    assertWhole(pool);
    pool.close();
    place.destroy();
  }
});

test("restore() into a used pool is refused, and changes nothing", () => {
  using place = new TempSnapshot();
  save(place);
  using pool = Pool.create(place.name, { size: "1M" });
  pool.put("mine", bytesOf("mine", 100));
  assert.throws(() => restore(place.name, { path: place.path }), {
    code: "EXISTS",
    hint: /--merge .* --replace/,
  });
  assert.throws(
    () => restore(place.name, { path: place.path, merge: true, replace: true }),
    { code: "USAGE" },
  );
  assert.deepEqual(keysOf(pool), ["mine"]);
  assert.equal(pool.status().loading, false);
});

test("restore() with merge keeps what is there, and counts it as used last", () => {
  using place = new TempSnapshot();
  save(place);
  using pool = Pool.create(place.name, { size: "1M", policy: "lru" });
  pool.put("mine", bytesOf("mine", 100));
  pool.put("key-3", bytesOf("newer", 200));
  const report = restore(place.name, { path: place.path, merge: true });
  assert.deepEqual([report.entries, report.present], [9, 1]);
  using hit = pool.get("key-3");
  assert.deepEqual(hit?.bytes.slice(), bytesOf("newer", 200));
  hit.release();
  assertWhole(pool);
  // The snapshot's go first, the least recently used of them before the others.
  pool.evict({ percent: 75 });
  assert.deepEqual(keysOf(pool), ["key-3", "mine"]);
  // Once more brings back what went, and nothing twice.
  assert.equal(
    restore(place.name, { path: place.path, merge: true }).entries,
    9,
  );
  assert.equal(pool.status().entries, 11);
  assert.equal(pool.status().puts, 2);
});

test("restore() with replace leaves what the snapshot has, and nothing else", () => {
  using place = new TempSnapshot();
  save(place);
  using pool = Pool.create(place.name, { size: "1M" });
  pool.put("mine", bytesOf("mine", 100));
  pool.put("key-3", bytesOf("newer", 200));
  using held = pool.get("mine");
  const report = restore(place.name, { path: place.path, replace: true });
  assert.deepEqual([report.entries, report.present], [10, 0]);
  assert.deepEqual(held?.bytes.slice(), bytesOf("mine", 100)); // while it is held
  held.release();
  using hit = pool.get("key-3");
  assert.deepEqual(hit?.bytes.slice(), bytesOf(3, 3000));
  assert.equal(pool.status().entries, 10);
  assertWhole(pool);
});

test("restore() refuses a snapshot of another namespace", () => {
  using place = new TempSnapshot();
  save(place, 3, { namespace: "llama-8b" });
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M", namespace: "llama-70b" });
    const refusal = { code: "FAILED", message: /"llama-8b", not "llama-70b"/ };
    assert.throws(() => restore(name, { path }), refusal);
    assert.throws(() => restore(name, { path, merge: true }), refusal);
    assert.throws(() => restore(name, { path, replace: true }), refusal);
    assert.equal(pool.status().entries, 0);
  }
  place.destroy();
  assert.throws(() => restore(name, { path, namespace: "" }), {
    code: "FAILED",
  });
  assert.ok(!Pool.list().includes(name));
  assert.equal(restore(name, { path, namespace: "llama-8b" }).entries, 3);
});

test("restore() into a pool that is too small keeps what its policy values most", () => {
  const best: Record<string, (i: number) => boolean> = {
    lru: (i) => i >= 50,
    fifo: (i) => i >= 50,
    priority: (i) => i % 4 === 3 || (i % 4 === 2 && i >= 18),
  };
  for (const [policy, isBest] of Object.entries(best)) {
    using place = new TempSnapshot();
    const priorities = policy === "priority";
    save(place, 100, { size_bytes: 20_000, priorities });
    using pool = Pool.create(place.name, {
      size: "1M",
      policy: policy as PolicyName,
    });
    const report = restore(place.name, { path: place.path });
    assert.equal(report.entries + report.left_out, 100);
    assert.ok(report.entries >= 40 && report.entries < 60, `${report.entries}`);
    const kept = keysOf(pool).map((key) => Number(key.slice(4)));
    const good = kept.filter(isBest).length;
    assert.ok(good >= kept.length - 6, `${policy}: ${kept.join()}`);
    assert.equal(pool.status().evictions, 0);
    assertWhole(pool);
  }
});

test("restore() into a pool with fewer records keeps the most recently used", () => {
  using place = new TempSnapshot();
  save(place, 30);
  using pool = Pool.create(place.name, {
    size: "4M",
    maxEntries: 16,
    policy: "lru",
  });
  const report = restore(place.name, { path: place.path });
  assert.deepEqual([report.entries, report.left_out], [16, 14]);
  assert.ok(keysOf(pool).every((key) => Number(key.slice(4)) >= 14));
});

test("entries come the most recently used first, and a reader elsewhere sees them come", () => {
  using place = new TempSnapshot();
  // Each is more than a stretch that is loaded in the order of the disk.
  {
    using pool = Pool.create(place.name, { size: "320M" });
    for (let i = 0; i < 4; i++) {
      pool.reserve(`key-${i}`, 65 << 20).seal();
    }
    pool.get("key-1")?.release();
    persist(pool, { path: place.path });
  }
  place.destroy();
  const loading = restoringSteps(place.name, { path: place.path });
  const first: string[] = [];
  for (let step = loading.next(); !step.done; step = loading.next()) {
    using reader = Pool.open(place.name);
    first.push(...keysOf(reader).filter((key) => !first.includes(key)));
    assert.equal(reader.status().loading, true);
  }
  using pool = Pool.open(place.name);
  first.push(...keysOf(pool).filter((key) => !first.includes(key)));
  assert.deepEqual(first, ["key-1", "key-3", "key-2", "key-0"]);
  assert.equal(pool.status().loading, false);
});

test("two restores of one pool at once: the second says busy, the first goes on", () => {
  using place = new TempSnapshot();
  save(place);
  const { name, path } = place;
  const loading = restoringSteps(name, { path });
  loading.next();
  assert.throws(() => restore(name, { path }), { code: "BUSY" });
  assert.throws(() => restore(name, { path, merge: true }), { code: "BUSY" });
  let step = loading.next();
  while (!step.done) step = loading.next();
  assert.equal((step.value as { entries: number }).entries, 10);
});

test("a restore that is ended early leaves a used pool as it was or better, and unmarked", () => {
  using place = new TempSnapshot();
  save(place);
  using pool = Pool.create(place.name, { size: "1M" });
  pool.put("mine", bytesOf("mine", 100));
  const loading = restoringSteps(place.name, { path: place.path, merge: true });
  for (let i = 0; i < 4; i++) loading.next();
  loading.return(undefined as never);
  assert.ok(pool.has("mine"));
  assert.equal(pool.status().loading, false);
  assertWhole(pool);
  persist(pool, { path: `${place.path}/else` });
});

test("what the disk cannot read costs that entry", () => {
  using place = new TempSnapshot();
  save(place, 10, { size_bytes: 100_000 });
  let reads = 0;
  const host = hostWith({});
  const platform = hostWith({
    openTransfers: (depth) => {
      const transfers = host.openTransfers(depth);
      return {
        get pending() {
          return transfers.pending;
        },
        start: (transfer) => transfers.start(transfer),
        close: () => transfers.close(),
        wait: () => {
          const transfer = transfers.wait();
          if (transfer && ++reads === 4) transfer.done = 0;
          return transfer;
        },
      };
    },
  });
  const report = restore(place.name, { path: place.path, platform });
  assert.deepEqual([report.entries, report.damaged], [9, 1]);
  place.destroy();
  const files = new Proxy(host.files, {
    get(target, key) {
      if (key !== "read") return Reflect.get(target, key);
      return (fd: number, into: Uint8Array, at: number) => {
        // Where the heads are.
        if (at > 0 && at < 4096) throw new OsError("read", "EIO");
        return target.read(fd, into, at);
      };
    },
  });
  assert.throws(
    () =>
      restore(place.name, { path: place.path, platform: hostWith({ files }) }),
    { code: "CORRUPT", message: /none of its 10 entries/ },
  );
  assert.ok(!Pool.list().includes(place.name));
});
