import { test } from "node:test";
import assert from "node:assert/strict";
import { linkSync } from "node:fs";
import process from "node:process";
import { hostPlatform } from "../../ffi/mod.ts";
import { BusyError, ClosedError, NotFoundError } from "../../lib/errors.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  hostWith,
  IMPATIENT,
  keysOf,
  Pool,
  segmentFile,
  tempName,
  tempPool,
  valueOf,
} from "../helpers.ts";

test("two handles of one process see each other's work", () => {
  using temp = tempPool();
  const other = temp.open();
  temp.pool.put("a", bytesOf("a", 5000));
  assertBytes(valueOf(other, "a"), bytesOf("a", 5000));
  other.put("a", bytesOf("b", 100));
  assertBytes(valueOf(temp.pool, "a"), bytesOf("b", 100));
  other.delete("a");
  assert.equal(temp.pool.has("a"), false);
  assert.equal(temp.pool.status().uuid, other.status().uuid);
});

test("one handle's pins are not another's to let go", () => {
  using temp = tempPool();
  const other = temp.open();
  temp.pool.put("k", bytesOf("k", 4096));
  using hit = temp.pool.get("k");
  other.get("k")!.release();
  other.close();
  temp.open().evict({ percent: 100 });
  assert.equal(temp.pool.has("k"), true);
  assertBytes(hit?.bytes, bytesOf("k", 4096));
});

test("an observer sees everything and changes nothing", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 5000), { tokens: 7, meta: { a: 1 } });
  temp.pool.put("k".repeat(500), bytesOf("long", 10));
  const observer = temp.open({ observe: true });
  assert.equal(observer.has("k"), true);
  assert.equal(observer.has("absent"), false);
  assert.equal(observer.has("k".repeat(500)), true);
  assert.equal(observer.match(["k", "absent"]), 1);
  assert.equal(observer.deepest(["absent", "k"]), "k");
  assert.equal(observer.info("k")?.tokens, 7);
  assert.deepEqual(observer.info("k")?.meta, { a: 1 });
  assert.deepEqual(keysOf(observer), keysOf(temp.pool));
  const { attached, ...seen } = observer.status();
  const { attached: really, ...status } = temp.pool.status();
  assert.deepEqual(seen, status);
  assert.deepEqual([attached, really], [1, 1]);
  for (
    const use of [
      () => observer.put("x", new Uint8Array(1)),
      () => observer.reserve("x", 1),
      () => observer.get("k"),
      () => observer.delete("k"),
      () => observer.evict(),
      () => observer.check(),
      () => observer.repair(),
    ]
  ) assertRefuses(use, ClosedError, /only observes/);
  temp.pool.put("later", bytesOf("later", 10));
  assert.equal(observer.has("later"), true);
  observer.close();
  assertRefuses(() => observer.has("k"), ClosedError, /closed/);
});

test("an observer needs no lock", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  temp.pool.core.lock.acquire("hold");
  try {
    const observer = temp.open({ observe: true });
    assert.equal(observer.has("k"), true);
    assert.equal(observer.status().entries, 1);
  } finally {
    temp.pool.core.lock.release();
  }
});

test("look-ups need no lock", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  const reader = temp.open();
  temp.pool.core.lock.acquire("hold");
  try {
    assertBytes(valueOf(reader, "k"), bytesOf("k", 10));
    assert.equal(reader.match(["k"]), 1);
    assert.equal(reader.info("k")?.size_bytes, 10);
    assert.equal(reader.get("absent"), undefined);
    assert.equal([...reader.entries()].length, 1);
  } finally {
    temp.pool.core.lock.release();
  }
});

test("a lock that is held too long gives an error that names the holder", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  const other = temp.open(IMPATIENT);
  temp.pool.core.lock.acquire("hold");
  try {
    for (
      const [verb, use] of [
        ["put", () => other.put("x", new Uint8Array(1))],
        ["delete", () => other.delete("k")],
        ["evict", () => other.evict()],
        ["check", () => other.check()],
        ["repair", () => other.repair()],
        ["open", () => Pool.open(temp.name, IMPATIENT)],
        ["destroy", () => Pool.destroy(temp.name, IMPATIENT)],
      ] as const
    ) {
      const started = performance.now();
      const error = assertRefuses(
        use,
        BusyError,
        new RegExp(
          `Cannot ${verb} pool "${temp.name}": process ${process.pid} has held its lock for 0.05 s`,
        ),
      );
      const waited_ms = performance.now() - started;
      assert.ok(waited_ms >= 45 && waited_ms < 3000, `${waited_ms} ms`);
      assert.ok(error.hint);
    }
    assert.ok(temp.pool.has("k"));
  } finally {
    temp.pool.core.lock.release();
  }
  other.put("x", new Uint8Array(1));
  assert.deepEqual(keysOf(other), ["k", "x"]);
});

test("a lock timeout of 0 tries once", () => {
  using temp = tempPool();
  const other = temp.open({ lockTimeout_ms: 0 });
  other.put("k", bytesOf("k", 1));
  temp.pool.core.lock.acquire("hold");
  try {
    assertRefuses(() => other.put("x", new Uint8Array(1)), BusyError);
  } finally {
    temp.pool.core.lock.release();
  }
});

test("seal() of a busy pool can be tried again", () => {
  using temp = tempPool();
  const other = temp.open(IMPATIENT);
  const slot = other.reserve("k", 5000);
  slot.bytes.set(bytesOf("k", 5000));
  temp.pool.core.lock.acquire("hold");
  assertRefuses(() => slot.seal(), BusyError);
  temp.pool.core.lock.release();
  slot.seal();
  assertBytes(valueOf(temp.pool, "k"), bytesOf("k", 5000));
  assertWhole(temp.pool);
});

test("put() of a pool that becomes busy half-way throws one typed error", () => {
  using temp = tempPool();
  const other = temp.open(IMPATIENT);
  assertRefuses(
    () => {
      using slot = other.reserve("k", 10);
      temp.pool.core.lock.acquire("hold");
      slot.seal();
    },
    BusyError,
  );
  temp.pool.core.lock.release();
  // The room is not lost: the handle gives it back in the end.
  other.close();
  assert.equal(temp.pool.status().used_bytes, 0);
  assertWhole(temp.pool);
});

test("room is given back when the pool becomes busy before it is handed out", () => {
  using temp = tempPool();
  // Busy from the moment its room has memory.
  const host = hostPlatform();
  const other = temp.open({
    ...IMPATIENT,
    platform: hostWith({
      allocate: (fd, offset, length) => {
        host.allocate(fd, offset, length);
        temp.pool.core.lock.acquire("hold");
      },
    }),
  });
  assertRefuses(() => other.put("k", bytesOf("k", 10)), BusyError);
  temp.pool.core.lock.release();
  // Not while another has the lock, but with the next thing the handle does.
  other.delete("nothing");
  assert.equal(temp.pool.status().used_bytes, 0);
  assert.equal(temp.pool.core.header.get("reserved"), 0);
});

test("close() of a busy pool leaves nothing behind that is not cleared later", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 4096));
  const other = temp.open(IMPATIENT);
  const { bytes } = other.get("k")!;
  other.reserve("half", 4096);
  temp.pool.core.lock.acquire("hold");
  try {
    other.close();
  } finally {
    temp.pool.core.lock.release();
  }
  assert.equal(bytes.length, 0);
  assert.equal(temp.pool.status().attached, 1);
  // Its pin and its reservation are gone with the next who looks for room.
  temp.pool.evict({ percent: 100 });
  assert.equal(temp.pool.status().used_bytes, 0);
  assertWhole(temp.pool);
});

test("a destroyed pool refuses changes of those who still have it open", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 5000));
  using hit = temp.pool.get("k");
  Pool.destroy(temp.name);
  for (
    const use of [
      () => temp.pool.put("x", new Uint8Array(1)),
      () => temp.pool.reserve("x", 1),
      () => temp.pool.delete("k"),
      () => temp.pool.evict({ percent: 100 }),
      () => temp.pool.check(),
      () => temp.pool.repair(),
    ]
  ) assertRefuses(use, NotFoundError, /it was destroyed/);
  // What it held stays what it was.
  assertBytes(hit?.bytes, bytesOf("k", 5000));
});

test("a pool made anew under the name is not touched by those of the old one", () => {
  using temp = tempPool();
  const old = temp.pool;
  old.put("k", bytesOf("old", 5000));
  using hit = old.get("k");
  using slot = old.reserve("half", 100);
  slot.bytes.fill(0xaa);
  Pool.destroy(temp.name);
  using fresh = Pool.create(temp.name, { size: "1M" });
  fresh.put("k", bytesOf("new", 6000));
  assertRefuses(() => old.put("x", new Uint8Array(1)), NotFoundError);
  assertRefuses(() => old.delete("k"), NotFoundError);
  assertRefuses(() => slot.seal(), NotFoundError);
  assertBytes(hit?.bytes, bytesOf("old", 5000));
  assertBytes(valueOf(fresh, "k"), bytesOf("new", 6000));
  assert.deepEqual(keysOf(fresh), ["k"]);
  assert.notEqual(fresh.status().uuid, old.status().uuid);
  hit?.release();
  old.close();
  assertWhole(fresh);
});

test("a segment that was unlinked by hand refuses changes too", () => {
  using temp = tempPool();
  hostPlatform().unlinkSegment(`cortex.${temp.name}`);
  assertRefuses(
    () => temp.pool.put("x", new Uint8Array(1)),
    NotFoundError,
    /destroyed/,
  );
});

test("a destroyed pool stays destroyed, whatever other name leads to it", () => {
  using temp = tempPool();
  using second = tempName();
  linkSync(segmentFile(temp.name), segmentFile(second.name));
  Pool.destroy(temp.name);
  assertRefuses(() => temp.pool.put("x", new Uint8Array(1)), NotFoundError);
  assertRefuses(() => Pool.open(second.name), NotFoundError, /destroyed/);
});

test("put() into a pool destroyed half-way throws one typed error", () => {
  using temp = tempPool();
  assertRefuses(
    () => {
      using slot = temp.pool.reserve("k", 10);
      Pool.destroy(temp.name);
      slot.seal();
    },
    NotFoundError,
    /destroyed/,
  );
});

test("a reservation in a destroyed pool can be let go", () => {
  using temp = tempPool();
  const slot = temp.pool.reserve("k", 10);
  Pool.destroy(temp.name);
  // There is nothing left to give the room back to: that is no failure.
  slot.abort();
  slot.abort();
});

test("close() of a destroyed pool is quiet", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  const hit = temp.pool.get("k")!;
  Pool.destroy(temp.name);
  temp.pool.close();
  hit.release();
});

test("a pool can be destroyed while others have it open, once", () => {
  using temp = tempPool();
  temp.open();
  Pool.destroy(temp.name);
  assertRefuses(() => Pool.destroy(temp.name), NotFoundError);
  assertRefuses(() => Pool.open(temp.name), NotFoundError);
});

test("an observer may look until the compiler takes over", () => {
  using temp = tempPool({ size: "4M", maxEntries: 1000 });
  for (let i = 0; i < 500; i++) temp.pool.put(`k${i}`, bytesOf(i, 10));
  const observer = temp.open({ observe: true });
  for (let round = 0; round < 100; round++) {
    assert.equal([...observer.entries()].length, 500);
    assert.ok(observer.has(`k${round}`));
  }
});
