import { test } from "node:test";
import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { hostPlatform } from "../../ffi/mod.ts";
import { OsError, type Platform } from "../../ffi/platform.ts";
import {
  CortexError,
  FailedError,
  NoSpaceError,
  NotFoundError,
} from "../../lib/errors.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  fragment,
  hostWith,
  keysOf,
  Pool,
  segmentExists,
  tempName,
  tempPool,
  valueOf,
} from "../helpers.ts";

const BLOCK = 4096;
const host = hostPlatform();

/** A host that has memory for so many blocks more. */
function scarce(blocks: number) {
  const state = { left_bytes: blocks * BLOCK, refusals: 0 };
  const platform = hostWith({
    allocate: (fd, offset, length) => {
      if (length > state.left_bytes) {
        state.refusals++;
        throw new OsError("fallocate", "ENOSPC");
      }
      state.left_bytes -= length;
      host.allocate(fd, offset, length);
    },
  });
  return { state, platform };
}

test("Pool.put() without memory on the host evicts among what is backed", () => {
  using temp = tempPool();
  const { platform, state } = scarce(10);
  const pool = temp.open({ platform });
  for (let i = 0; i < 10; i++) pool.put(`e${i}`, bytesOf(i, BLOCK));
  assert.equal(state.refusals, 0);
  assert.equal(pool.status().evictions, 0);
  pool.put("three", bytesOf("three", 3 * BLOCK));
  assert.equal(state.refusals, 1);
  assertBytes(valueOf(pool, "three"), bytesOf("three", 3 * BLOCK));
  const { evictions, committed_bytes } = pool.status();
  assert.ok(evictions >= 3 && evictions < 10, `${evictions} evictions`);
  assert.equal(
    committed_bytes,
    pool.core.geometry.control_bytes + 10 * BLOCK,
  );
  assert.equal(pool.has("e0"), false);
  assert.equal(pool.has("e9"), true);
  assertWhole(temp.pool);
});

test("Pool.put() without memory on the host, and none to evict, says so", () => {
  using temp = tempPool();
  const { platform } = scarce(4);
  const pool = temp.open({ platform });
  pool.put("a", bytesOf("a", 2 * BLOCK));
  using _hit = pool.get("a");
  const error = assertRefuses(
    () => pool.put("b", bytesOf("b", 3 * BLOCK)),
    NoSpaceError,
    /the host has no shared memory left for its 12.0 KiB/,
  );
  assert.match(error.hint ?? "", /\/dev\/shm/);
  assert.deepEqual(keysOf(pool), ["a"]);
  assert.equal(pool.status().used_bytes, 2 * BLOCK);
  pool.put("c", bytesOf("c", 2 * BLOCK));
  assert.deepEqual(keysOf(pool), ["a", "c"]);
  assertWhole(temp.pool);
});

test("Pool.put() without any memory on the host evicts nothing in vain", () => {
  using temp = tempPool();
  temp.pool.put("a", bytesOf("a", BLOCK));
  const pool = temp.open({ platform: scarce(0).platform });
  assertRefuses(() => pool.put("b", bytesOf("b", 2 * BLOCK)), NoSpaceError);
  assert.deepEqual(keysOf(pool), ["a"]);
  // One block is backed: there is room for one.
  pool.put("b", bytesOf("b", BLOCK));
  assert.deepEqual(keysOf(pool), ["b"]);
  assertWhole(temp.pool);
});

test("no block is touched that the host did not back with memory", () => {
  using temp = tempPool({ size: "512K" });
  const backed = new Set<number>();
  const { geometry } = temp.pool.core;
  const platform = hostWith({
    allocate: (fd, offset, length) => {
      for (let at = offset; at < offset + length; at += BLOCK) {
        backed.add((at - geometry.data_offset) / BLOCK);
      }
      host.allocate(fd, offset, length);
    },
  });
  const pool = temp.open({ platform });
  const { table } = pool.core;
  fragment(pool, { holes: 9, hole_blocks: 2 });
  for (let i = 0; i < 200; i++) {
    pool.put(`k${i % 17}`, bytesOf(i, (i * 7919) % 60_000), {
      meta: i % 5 ? undefined : "m".repeat(3000),
    });
    for (let entry = 0; entry < table.count; entry++) {
      if (table.state(entry) === 0) continue;
      for (const { start, count } of table.extents(entry)!) {
        for (let b = start; b < start + count; b++) assert.ok(backed.has(b));
      }
    }
  }
  assertWhole(temp.pool);
});

test("a refusal of the host gives the room back", () => {
  for (const code of ["EIO", "EPERM", "EINTR2", "EFBIG"]) {
    using temp = tempPool();
    const pool = temp.open({
      platform: hostWith({
        allocate: () => {
          throw new OsError("fallocate", code);
        },
      }),
    });
    assertRefuses(() => pool.put("k", bytesOf("k", 10)), CortexError);
    const { used_bytes, entries } = temp.pool.status();
    assert.deepEqual([used_bytes, entries], [0, 0], code);
    assert.equal(temp.pool.core.header.get("reserved"), 0);
    assertWhole(temp.pool);
  }
});

test("what fails while it is sealed can be put again", () => {
  using temp = tempPool();
  let fail = false;
  const pool = temp.open({
    platform: hostWith({
      crc32: (bytes, seed) => {
        if (fail) throw new OsError("crc", "EIO");
        return host.crc32(bytes, seed);
      },
    }),
  });
  pool.put("k", bytesOf("old", 5000));
  fail = true;
  assert.throws(() => pool.put("k", bytesOf("new", 5000)));
  fail = false;
  assertBytes(valueOf(temp.pool, "k"), bytesOf("old", 5000));
  pool.put("k", bytesOf("new", 5000));
  assertBytes(valueOf(temp.pool, "k"), bytesOf("new", 5000));
  assert.equal(temp.pool.status().used_bytes, 8192);
  assertWhole(temp.pool);
});

/** Calls that creating or opening a pool makes, each to fail in its turn. */
const CALLS = [
  "createSegment",
  "openSegment",
  "renameSegment",
  "listSegments",
  "stat",
  "setMode",
  "truncate",
  "allocate",
  "map",
  "tryLock",
  "tryLockByte",
] as const;

for (const call of CALLS) {
  test(`Pool.create() for which the host refuses ${call} leaves nothing behind`, () => {
    using temp = tempName();
    let fds = 0;
    let made = 0;
    const counted = {
      createSegment: (name: string, mode: number) => {
        const fd = host.createSegment(name, mode);
        fds++;
        return fd;
      },
      close: (fd: number) => {
        host.close(fd);
        fds--;
      },
    };
    const platform = hostWith({
      ...counted,
      [call]: () => {
        made++;
        throw new OsError(call, "ENOSPC");
      },
    });
    const create = () => Pool.create(temp.name, { size: "1M", platform });
    if (call === "openSegment") {
      create().close();
    } else {
      assertRefuses(create, CortexError);
      assert.ok(made > 0, `${call} was not called`);
    }
    assert.equal(fds, 0, `${call}: a descriptor stays open`);
    const left = readdirSync("/dev/shm").filter((name) =>
      name.startsWith(`.cortex.${temp.name}`)
    );
    assert.deepEqual(left, [], call);
    // A pool that is whole may stay: the next attempt opens it or makes it.
    if (segmentExists(temp.name)) {
      using pool = Pool.open(temp.name);
      assertWhole(pool, call);
    } else {
      Pool.create(temp.name, { size: "1M" }).close();
    }
  });
}

for (const call of ["stat", "map", "tryLock", "tryLockByte"] as const) {
  test(`Pool.open() for which the host refuses ${call} leaves nothing behind`, () => {
    using temp = tempPool();
    let fds = 0;
    const platform = hostWith({
      openSegment: (name: string) => {
        const fd = host.openSegment(name);
        fds++;
        return fd;
      },
      close: (fd: number) => {
        host.close(fd);
        fds--;
      },
      [call]: () => {
        throw new OsError(call, "ENOMEM");
      },
    });
    assertRefuses(() => Pool.open(temp.name, { platform }), CortexError);
    assert.equal(fds, 0, `${call}: a descriptor stays open`);
    temp.pool.put("k", bytesOf("k", 10));
    assertWhole(temp.pool, call);
  });
}

test("Pool.create() without memory on the host makes no pool", () => {
  using temp = tempName();
  const platform = scarce(10).platform;
  const create = (populate: boolean) => () =>
    Pool.create(temp.name, { size: "64M", populate, platform });
  assertRefuses(create(false), NoSpaceError, /no space left/);
  assertRefuses(create(true), NoSpaceError, /no space left/);
  assert.equal(segmentExists(temp.name), false);
  assertRefuses(() => Pool.open(temp.name), NotFoundError);
});

test("Pool.list() gives the host's refusal our words", () => {
  const platform = hostWith({
    listSegments: () => {
      throw new OsError("scandir", "EACCES");
    },
  });
  assertRefuses(
    () => Pool.list({ platform }),
    FailedError,
    /Cannot list the pools: permission denied/,
  );
});

test("a clock that goes back breaks nothing", () => {
  using temp = tempPool();
  let now = 2_000_000_000_000;
  const pool = temp.open({ platform: hostWith({ now: () => now }) });
  pool.put("a", bytesOf("a", 10));
  now = 5;
  pool.put("b", bytesOf("b", 10));
  pool.get("a")!.release();
  // Order is by ticks, never by the clock.
  pool.evict({ percent: 1 });
  assert.deepEqual(keysOf(pool), ["a"]);
  assert.equal(pool.info("a")?.last_access_at, 5);
  assertWhole(pool);
});

test("every call of the host is one that the interface has", () => {
  // A wrapped host must do as well as the host itself: nothing is reached past it.
  const seen = new Set<string>();
  const platform = new Proxy({} as Platform, {
    get: (_, name) => {
      seen.add(String(name));
      const value: unknown = Reflect.get(host, name, host);
      return typeof value === "function" ? value.bind(host) : value;
    },
  });
  using temp = tempName();
  {
    using pool = Pool.create(temp.name, { size: "1M", platform });
    pool.put("k", bytesOf("k", 10));
    pool.get("k")?.release();
    assertWhole(pool);
  }
  Pool.destroy(temp.name, { platform });
  for (const name of ["map", "allocate", "tryLock", "tryLockByte", "crc32"]) {
    assert.ok(seen.has(name), name);
  }
});
