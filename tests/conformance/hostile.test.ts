import { test } from "node:test";
import assert from "node:assert/strict";
import {
  mkdirSync,
  rmdirSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { hostPlatform } from "../../ffi/mod.ts";
import {
  CorruptError,
  CortexError,
  FailedError,
  NotFoundError,
} from "../../lib/errors.ts";
import {
  EntryState,
  IDENTITY,
  IDENTITY_END,
  PAGE_BYTES,
  POLICY_IDS,
  PoolState,
  RECORD_BYTES,
  SHARED,
} from "../../lib/layout.ts";
import type { PolicyName } from "../../lib/policy/mod.ts";
import { planGeometry } from "../../lib/pool_geometry.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  flipByte,
  forgePolicyRoom,
  headerOffset,
  hostWith,
  keysOf,
  markDirty,
  Pool,
  readSegment,
  recordOf,
  recordOffset,
  resealRecord,
  segmentExists,
  segmentFile,
  tempName,
  tempPool,
  valueOf,
  writeSegment,
} from "../helpers.ts";

const u32 = (value: number) => new Uint8Array(Uint32Array.of(value).buffer);

test("Pool.open() refuses a header with any byte of its identity changed", () => {
  using temp = tempPool();
  temp.pool.close();
  for (let at = 0; at < IDENTITY_END; at++) {
    flipByte(temp.name, at);
    for (const observe of [false, true]) {
      assertRefuses(() => Pool.open(temp.name, { observe }), CorruptError);
    }
    flipByte(temp.name, at);
  }
  Pool.open(temp.name).close();
});

test("Pool.open() lets no policy work in less or more room than it takes", () => {
  const room = (policy: PolicyName, entries: number) =>
    planGeometry({ size_bytes: 2 ** 20, max_entries: entries, policy })
      .policy_bytes;
  for (const policy of Object.keys(POLICY_IDS) as PolicyName[]) {
    const own = room(policy, 64);
    for (const bytes of [0, 64, own - 64, own + 64, 2 * own]) {
      using temp = tempPool({ size: "1M", maxEntries: 64, policy });
      const { identity } = temp.pool.core;
      temp.pool.close();
      forgePolicyRoom(temp.name, identity, bytes);
      const before = readSegment(temp.name, 0, 2 ** 20);
      assertRefuses(() => Pool.open(temp.name), CorruptError, /geometry/);
      assert.deepEqual(
        readSegment(temp.name, 0, 2 ** 20),
        before,
        `${policy} ${bytes}`,
      );
      using observer = Pool.open(temp.name, { observe: true });
      assert.equal(observer.status().policy, policy);
    }
  }
});

test("Pool.open() names both versions of a pool of another version", () => {
  using temp = tempPool();
  temp.pool.close();
  writeSegment(temp.name, IDENTITY.version, u32(1));
  assertRefuses(
    () => Pool.open(temp.name),
    CorruptError,
    /format version 1, this cortex speaks version 3/,
  );
});

test("Pool.open() refuses a segment that was cut or grown", () => {
  for (const size of [2 ** 20 - 4096, 2 ** 20 + 4096, 4096]) {
    using temp = tempPool();
    temp.pool.close();
    truncateSync(segmentFile(temp.name), size);
    assertRefuses(() => Pool.open(temp.name), CorruptError);
  }
  using temp = tempPool();
  temp.pool.close();
  truncateSync(segmentFile(temp.name), 100);
  assertRefuses(() => Pool.open(temp.name), CorruptError, /not a cortex pool/);
});

test("Pool.open() refuses what is no pool", () => {
  for (const bytes of [0, 1, 4095, 4096, 100_000]) {
    using temp = tempName();
    writeFileSync(segmentFile(temp.name), bytesOf("noise", bytes));
    for (const observe of [false, true]) {
      assertRefuses(
        () => Pool.open(temp.name, { observe }),
        CorruptError,
        /it is not a cortex pool/,
      );
    }
    // Nor is it ours to remove.
    const error = assertRefuses(() => Pool.destroy(temp.name), CorruptError);
    assert.ok(bytes < 4096 || error.hint?.includes("/dev/shm/cortex."));
    assert.ok(segmentExists(temp.name));
  }
});

test("Pool.open() refuses a directory and a link in a pool's place", () => {
  using temp = tempName();
  mkdirSync(segmentFile(temp.name));
  try {
    assertRefuses(() => Pool.open(temp.name), CortexError);
    assertRefuses(() => Pool.destroy(temp.name), CortexError);
  } finally {
    rmdirSync(segmentFile(temp.name));
  }
  using real = tempPool();
  symlinkSync(segmentFile(real.name), segmentFile(temp.name));
  assertRefuses(() => Pool.open(temp.name), CorruptError, /symbolic link/);
});

test("Pool.open() refuses another user's segment, unless it is shared by group", () => {
  using temp = tempPool({ mode: 0o660 });
  temp.pool.put("k", bytesOf("k", 10));
  const host = hostPlatform();
  const as = (options: { uid: number; mode: number; groups: number[] }) =>
    hostWith({
      uid: 4242,
      groups: () => options.groups,
      stat: (fd) => ({
        ...host.stat(fd),
        uid: options.uid,
        gid: 77,
        mode: options.mode,
      }),
    });
  const refused = [
    { uid: 999, mode: 0o600, groups: [77] },
    { uid: 999, mode: 0o660, groups: [1, 2] },
    { uid: 999, mode: 0o666, groups: [77] },
    { uid: 999, mode: 0o640, groups: [77] },
    { uid: 999, mode: 0o620, groups: [77] },
  ];
  for (const options of refused) {
    assertRefuses(
      () => Pool.open(temp.name, { platform: as(options) }),
      FailedError,
      /belongs to user 999/,
    );
    assertRefuses(
      () => Pool.destroy(temp.name, { platform: as(options) }),
      FailedError,
      /belongs to user 999/,
    );
  }
  const accepted = [
    { uid: 4242, mode: 0o600, groups: [] },
    { uid: 0, mode: 0o600, groups: [] },
    { uid: 999, mode: 0o660, groups: [1, 77] },
    { uid: 999, mode: 0o664, groups: [77] },
  ];
  for (const options of accepted) {
    using pool = Pool.open(temp.name, { platform: as(options) });
    assert.equal(pool.has("k"), true);
  }
});

test("Pool.open() refuses a pool that is being destroyed", () => {
  using temp = tempPool();
  temp.pool.close();
  for (const state of [PoolState.BUILDING, PoolState.DESTROYED]) {
    writeSegment(temp.name, headerOffset("state"), u32(state));
    assertRefuses(() => Pool.open(temp.name), NotFoundError);
  }
});

test("Pool.destroy() removes a pool whose header is damaged", () => {
  using temp = tempPool();
  temp.pool.close();
  flipByte(temp.name, IDENTITY.crc);
  assertRefuses(() => Pool.open(temp.name), CorruptError);
  Pool.destroy(temp.name);
  assert.equal(segmentExists(temp.name), false);
});

test("Pool.open() that fails leaves no descriptor and no lock behind", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  const host = hostPlatform();
  let open = 0;
  const counted = (fd: number) => {
    open++;
    return fd;
  };
  const platform = hostWith({
    openSegment: (name) => counted(host.openSegment(name)),
    openFile: (path) => counted(host.openFile(path)),
    close: (fd) => {
      open--;
      host.close(fd);
    },
  });
  flipByte(temp.name, IDENTITY.namespace);
  for (let i = 0; i < 20; i++) {
    assertRefuses(() => Pool.open(temp.name, { platform }), CorruptError);
  }
  assert.equal(open, 0);
  flipByte(temp.name, IDENTITY.namespace);
  Pool.open(temp.name, { platform }).close();
  assert.equal(open, 0);
  assertRefuses(() => Pool.open(`${temp.name}-no`, { platform }), CortexError);
  Pool.destroy(temp.name, { platform });
  assert.equal(open, 0);
  assertRefuses(() => Pool.destroy(temp.name, { platform }), NotFoundError);
  assert.equal(open, 0);
});

test("statistics that cannot be are shown as 0", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  for (const field of ["puts", "hits", "evictions", "modified_at"] as const) {
    writeSegment(temp.name, headerOffset(field), new Uint8Array(8).fill(0xff));
  }
  writeSegment(temp.name, headerOffset("used_blocks"), u32(2 ** 32 - 1));
  const status = temp.pool.status();
  assert.deepEqual([status.puts, status.hits, status.evictions], [0, 0, 0]);
  assert.ok(status.free_bytes >= 0 && status.used_bytes <= status.data_bytes);
});

test("a chain that bites its tail ends in a miss", () => {
  using temp = tempPool({ maxEntries: 16 });
  const { core } = temp.pool;
  for (let i = 0; i < 16; i++) temp.pool.put(`k${i}`, bytesOf(i, 10));
  for (let entry = 0; entry < 16; entry++) core.links.set(entry, entry + 1);
  for (const key of ["absent", "k99", "x"]) {
    assert.equal(temp.pool.get(key), undefined);
    assert.equal(temp.pool.has(key), false);
  }
});

test("an index that is stuck in a change ends in a hit or a miss", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10));
  temp.pool.core.control.u32[SHARED.index_sequence >> 2] = 7;
  assert.equal(temp.pool.has("k"), true);
  assert.equal(temp.pool.has("absent"), false);
});

test("records of noise crash no reader and no writer", () => {
  // Whoever may write to the segment may write this; nobody else may suffer.
  for (let round = 0; round < 40; round++) {
    using temp = tempPool({ size: "512K", maxEntries: 32 });
    const observer = temp.open({ observe: true });
    for (let i = 0; i < 20; i++) temp.pool.put(`k${i}`, bytesOf(i, 5000));
    const { core } = temp.pool;
    for (let entry = 0; entry < 32; entry++) {
      if ((entry + round) % 3) continue;
      const at = recordOffset(core, entry, "state");
      const noise = bytesOf(`${round}-${entry}`, RECORD_BYTES);
      if (round % 2) noise.set(u32(EntryState.SEALED));
      writeSegment(temp.name, at, noise);
      if (round % 4 === 3) resealRecord(core, entry);
    }
    const typed = (run: () => unknown) => {
      try {
        run();
      } catch (error) {
        assert.ok(error instanceof CortexError, String(error));
      }
    };
    for (let i = 0; i < 20; i++) {
      typed(() => temp.pool.get(`k${i}`)?.bytes);
      typed(() => observer.info(`k${i}`));
    }
    typed(() => [...observer.entries()]);
    typed(() => temp.pool.status());
    typed(() => temp.pool.evict({ percent: 10 }));
    typed(() => temp.pool.put("new", bytesOf("new", 3000)));
    temp.pool.check({ values: true });
    temp.pool.repair({ values: true });
    assertWhole(temp.pool, `round ${round}`);
  }
});

test("a tables region of noise is mended by repair, or refused with a typed error", () => {
  for (let round = 0; round < 25; round++) {
    using temp = tempPool({ size: "512K", maxEntries: 32 });
    for (let i = 0; i < 20; i++) temp.pool.put(`k${i}`, bytesOf(i, 5000));
    const { geometry } = temp.pool.core;
    // Free list, buckets, links: all that is worked out from the records.
    for (
      const [offset, length] of [
        [PAGE_BYTES, 32],
        [geometry.buckets_offset, geometry.buckets * 4],
        [geometry.links_offset, geometry.max_entries * 4],
      ] as const
    ) writeSegment(temp.name, offset, bytesOf(round + offset, length));
    markDirty(temp.pool.core);
    assertWhole(temp.pool, `round ${round}`);
    assert.equal(temp.pool.status().entries, 20);
    for (let i = 0; i < 20; i++) {
      assertBytes(valueOf(temp.pool, `k${i}`), bytesOf(i, 5000));
    }
  }
});

test("a record that points at the tables is not believed", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 4096));
  const { core } = temp.pool;
  const entry = recordOf(core, "k");
  const before = readSegment(temp.name, 0, core.geometry.control_bytes);
  for (const start of [0, 1, core.geometry.blocks, 2 ** 32 - 1]) {
    writeSegment(
      temp.name,
      recordOffset(core, entry, "extents"),
      u32(start),
    );
    resealRecord(core, entry);
    const hit = temp.pool.get("k");
    assertRefuses(() => hit!.bytes, CorruptError, /record is damaged/);
    hit!.release();
  }
  assert.equal(temp.pool.repair().length, 1);
  assert.deepEqual(keysOf(temp.pool), []);
  assertWhole(temp.pool);
  // Giving such an entry back must free no block of the tables.
  const { system_blocks } = core.geometry;
  assert.ok(core.freeList.all(0, system_blocks));
  assert.deepEqual(
    before.subarray(0, IDENTITY_END),
    readSegment(temp.name, 0, IDENTITY_END),
  );
});

test("a put over a record that points at the tables frees none of them", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 4096));
  const { core } = temp.pool;
  const at = recordOffset(core, recordOf(core, "k"), "extents");
  writeSegment(temp.name, at, u32(0));
  temp.pool.put("k", bytesOf("new", 4096));
  assert.ok(core.freeList.all(0, core.geometry.system_blocks));
  assertBytes(valueOf(temp.pool, "k"), bytesOf("new", 4096));
});

test("a chain of doomed records that leads to a live entry frees nothing of it", () => {
  using temp = tempPool();
  temp.pool.put("live", bytesOf("live", 4096));
  temp.pool.put("held", bytesOf("held", 4096));
  using _hit = temp.pool.get("held");
  temp.pool.delete("held");
  const { core } = temp.pool;
  writeSegment(
    temp.name,
    headerOffset("doomed_record"),
    u32(recordOf(core, "live") + 1),
  );
  temp.pool.put("next", bytesOf("next", 4096));
  assertBytes(valueOf(temp.pool, "live"), bytesOf("live", 4096));
  temp.pool.put("more", bytesOf("more", 4096));
  assertBytes(valueOf(temp.pool, "live"), bytesOf("live", 4096));
});

test("a key that is no UTF-8 stops neither a check nor a recovery", () => {
  // Each byte of it is read as a replacement of three: longer than a key may be.
  using temp = tempPool();
  const key = "k".repeat(1024);
  temp.pool.put(key, bytesOf("v", 4096));
  temp.pool.put("other", bytesOf("other", 10));
  const { core } = temp.pool;
  const entry = recordOf(core, key);
  const { start } = core.table.extents(entry)![0]!;
  const { data_offset, block_bytes } = core.geometry;
  const text = new Uint8Array(1024).fill(0xff);
  writeSegment(temp.name, data_offset + start * block_bytes + 4096, text);
  core.control.u32[recordOffset(core, entry, "text_crc") >> 2] = core.platform
    .crc32(text);
  resealRecord(core, entry);
  assert.equal(temp.pool.check().ok, false);
  markDirty(core);
  assertWhole(temp.pool);
  assert.deepEqual(keysOf(temp.pool), ["other"]);
});

test("metadata that is no JSON is refused with a typed error", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 10), { meta: [1] });
  const { core } = temp.pool;
  const entry = recordOf(core, "k");
  writeSegment(
    temp.name,
    recordOffset(core, entry, "text"),
    new TextEncoder().encode("k[1,"),
  );
  resealRecord(core, entry);
  assert.equal(temp.pool.info("k")?.meta, null);
  using hit = temp.pool.get("k");
  assertRefuses(() => hit?.meta, CorruptError, /metadata/);
});

test("a record whose extents were changed gives no other entry's bytes", () => {
  using temp = tempPool();
  temp.pool.put("a", bytesOf("a", 4096));
  temp.pool.put("b", bytesOf("b", 4096));
  const { core } = temp.pool;
  const [a, b] = [recordOf(core, "a"), recordOf(core, "b")];
  core.control.u32[recordOffset(core, a, "extents") >> 2] =
    core.table.extents(b)![0]!.start;
  {
    using hit = temp.pool.get("a");
    assertRefuses(() => hit?.bytes, CorruptError);
  }
  // And letting it go frees no block of the other's.
  temp.pool.delete("a");
  for (const key of ["c", "d"]) temp.pool.put(key, bytesOf(key, 4096));
  assertBytes(valueOf(temp.pool, "b"), bytesOf("b", 4096));
  assertWhole(temp.pool);
});

test("a wrong total refuses no put: it is counted again", () => {
  for (const field of ["used_blocks", "committed_blocks"] as const) {
    for (const wrong of [0, 1, 250, 0xffff_fff0]) {
      using temp = tempPool({ size: "1M", maxEntries: 64 });
      const { core } = temp.pool;
      const whole = temp.pool.status().data_bytes - (1 << 16);
      const half = whole / 2;
      temp.pool.put("a", bytesOf("a", half));
      core.header.set(field, wrong);
      temp.pool.put("b", bytesOf("b", half));
      assertBytes(valueOf(temp.pool, "b"), bytesOf("b", half));
      temp.pool.put("c", bytesOf("c", whole));
      assertBytes(valueOf(temp.pool, "c"), bytesOf("c", whole));
    }
  }
});

test("a create removes what a killed one of its name left, and no other's", () => {
  using temp = tempName();
  const host = hostPlatform();
  const left = [
    `.cortex.${temp.name}.00000000`,
    `.cortex.${temp.name}.x.00000000`,
  ];
  for (const name of left) {
    const fd = host.createSegment(name, 0o600);
    host.truncate(fd, 4096);
    host.close(fd);
  }
  Pool.create(temp.name, { size: "1M" }).close();
  const names = host.listSegments();
  assert.deepEqual(left.map((name) => names.includes(name)), [false, true]);
  host.unlinkSegment(left[1]!);
});
