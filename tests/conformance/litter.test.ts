/** What crashes leave is taken away; what lives, or may be of use, is not. */
import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hostPlatform } from "../../ffi/mod.ts";
import type { Platform } from "../../ffi/platform.ts";
import { NotFoundError } from "../../lib/errors.ts";
import { IDENTITY } from "../../lib/layout.ts";
import { collectLitter } from "../../lib/litter/mod.ts";
import { persist, restore, restoringSteps } from "../../lib/snapshot/mod.ts";
import {
  assertRefuses,
  assertWhole,
  bytesOf,
  flipByte,
  forgePolicyRoom,
  hostWith,
  markDirty,
  Pool,
  readSegment,
  segmentExists,
  segmentFile,
  tempName,
  tempPool,
  uniqueName,
  writeSegment,
} from "../helpers.ts";

const host = hostPlatform();

/** The host, with no segment in sight but those of one name, and no snapshots. */
function only(name: string, overrides: Partial<Platform> = {}): Platform {
  return hostWith({
    listSegments: () =>
      host.listSegments().filter((segment) => segment.includes(name)),
    environment: (variable) =>
      variable === "CORTEX_HOME" ? "/nonexistent" : host.environment(variable),
    ...overrides,
  });
}

function collect(name: string, options = {}) {
  return collectLitter({ platform: only(name), ...options });
}

/** What a maker leaves that is killed: before the size, or after it. */
function halfMade(name: string, size_bytes: number) {
  const segment = `.cortex.${name}.0123abcd`;
  const fd = host.createSegment(segment, 0o600);
  if (size_bytes > 0) {
    host.truncate(fd, size_bytes);
    host.allocate(fd, 0, size_bytes);
  }
  return { segment, path: `/dev/shm/${segment}`, fd };
}

function scratch() {
  const path = mkdtempSync(join(tmpdir(), "cortex-litter-"));
  return {
    path,
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}

test("collectLitter() takes away a segment whose maker is dead, and says so", () => {
  using temp = tempName();
  const { path, fd } = halfMade(temp.name, 8192);
  host.close(fd);
  const expected = [{
    kind: "half-made segment",
    path,
    reason: `pool "${temp.name}" was being made; its maker is dead`,
    size_bytes: 8192,
  }];
  assert.deepEqual(collect(temp.name, { dryRun: true }).removed, expected);
  assert.ok(existsSync(path), "a dry run takes nothing away");
  const report = collect(temp.name);
  assert.deepEqual(report, {
    removed: expected,
    left: [],
    freed_bytes: 8192,
  });
  assert.ok(!existsSync(path));
  assert.deepEqual(collect(temp.name).removed, []);
});

test("collectLitter() leaves a segment whose maker lives", () => {
  using temp = tempName();
  const { path, fd } = halfMade(temp.name, 8192);
  assert.ok(host.tryLock(fd));
  assert.deepEqual(collect(temp.name).removed, []);
  assert.ok(existsSync(path));
  host.close(fd);
  assert.equal(collect(temp.name).removed.length, 1);
});

test("collectLitter() gives a maker who has not locked its segment yet a minute", () => {
  using temp = tempName();
  const { path, fd } = halfMade(temp.name, 0);
  host.close(fd);
  assert.deepEqual(collect(temp.name).removed, []);
  const late = only(temp.name, { now: () => Date.now() + 61_000 });
  assert.equal(collectLitter({ platform: late }).removed.length, 1);
  assert.ok(!existsSync(path));
});

test("a maker whose segment is taken away before it could lock it makes another", () => {
  using temp = tempName();
  let taken = 0;
  const platform = hostWith({
    createSegment: (segment, mode) => {
      const fd = host.createSegment(segment, mode);
      // It is stopped here, for longer than a minute, three times.
      if (taken++ < 3) {
        const late = only(temp.name, { now: () => Date.now() + 61_000 });
        assert.equal(collectLitter({ platform: late }).removed.length, 1);
      }
      return fd;
    },
  });
  using pool = Pool.create(temp.name, { size: "1M", platform });
  assert.equal(taken, 4);
  pool.put("k", bytesOf("k", 100));
  assertWhole(pool);
  assert.deepEqual(collect(temp.name).removed, []);
});

test("collectLitter() takes away what nobody can open", () => {
  const cases: [string, RegExp, (name: string) => void][] = [
    [
      "a damaged header",
      /^its header is damaged \(checksum\); nobody can open it$/,
      (name) => flipByte(name, IDENTITY.uuid),
    ],
    [
      "cut short",
      /^its header is damaged \(geometry\); nobody can open it$/,
      (name) => truncateSync(segmentFile(name), 65536),
    ],
    [
      "cut to nothing",
      /^it is empty: somebody cut it short; nobody can open it$/,
      (name) => truncateSync(segmentFile(name), 0),
    ],
  ];
  for (const [what, says, damage] of cases) {
    using temp = tempName();
    Pool.create(temp.name, { size: "1M" }).close();
    using attached = Pool.open(temp.name);
    damage(temp.name);
    // A process still has it: who knows what it reads there.
    const report = collect(temp.name);
    assert.deepEqual(report.removed, [], what);
    assert.match(report.left[0]?.reason ?? "", /but a process still has it$/);
    attached.core.close(); // not by close: it would touch what is not there
    const { removed } = collect(temp.name);
    assert.equal(removed.length, 1, what);
    assert.equal(removed[0]!.kind, "unusable segment");
    assert.match(removed[0]!.reason, says);
    assert.ok(!segmentExists(temp.name));
  }
});

test("collectLitter() leaves whole pools, pools of other versions, and what is no pool", () => {
  using whole = tempPool();
  whole.pool.put("k", bytesOf("k", 100));
  assert.deepEqual(collect(whole.name), {
    removed: [],
    left: [],
    freed_bytes: 0,
  });

  using other = tempName();
  Pool.create(other.name, { size: "1M" }).close();
  writeSegment(other.name, IDENTITY.version, Uint8Array.of(77, 0, 0, 0));
  assert.match(collect(other.name).left[0]!.reason, /format version 77/);
  assert.ok(segmentExists(other.name));

  using none = tempName();
  writeFileSync(segmentFile(none.name), "something of somebody else's");
  assert.match(
    collect(none.name).left[0]!.reason,
    /^it is not a cortex pool; remove it by hand: rm \/dev\/shm\//,
  );
  assert.ok(segmentExists(none.name));

  using link = tempName();
  symlinkSync(segmentFile(whole.name), segmentFile(link.name));
  assert.deepEqual(collect(link.name).removed, []);
  assert.ok(segmentExists(link.name));
});

test("collectLitter() is not led to another's segment by a name that changes hands", () => {
  using temp = tempName();
  const { segment, fd } = halfMade(temp.name, 8192);
  host.close(fd);
  // Between the lock and the look at the name, another takes the name.
  const platform = only(temp.name, {
    isByteLocked: (...args) => {
      rmSync(`/dev/shm/${segment}`);
      host.close(host.createSegment(segment, 0o600));
      return host.isByteLocked(...args);
    },
  });
  assert.deepEqual(collectLitter({ platform }).removed, []);
  assert.ok(existsSync(`/dev/shm/${segment}`));
  rmSync(`/dev/shm/${segment}`);
});

test("a killed restore's pool is told of, and the next one goes on with it", () => {
  using place = scratch();
  using temp = tempName();
  const path = join(place.path, "snapshot");
  {
    using pool = Pool.create(temp.name, { size: "1M" });
    for (let i = 0; i < 5; i++) pool.put(`k${i}`, bytesOf(i, 9000));
    persist(pool, { path });
  }
  const begin = () => {
    if (segmentExists(temp.name)) Pool.destroy(temp.name);
    let kill = () => {};
    const platform = hostWith({
      map: (fd, size_bytes) => {
        const mapping = host.map(fd, size_bytes);
        kill = () => {
          mapping.close(); // it holds the locks as much as the descriptor
          host.close(fd);
        };
        return mapping;
      },
    });
    const steps = restoringSteps(temp.name, { path, platform });
    for (let step = 0; step < 3; step++) steps.next();
    // As the kernel does when it is killed here.
    return { kill, steps };
  };
  const restoring = begin();
  assert.deepEqual(collect(temp.name).removed, [], "it goes on");
  restoring.kill();
  {
    using attached = Pool.open(temp.name);
    assert.deepEqual(collect(temp.name).removed, [], "somebody is attached");
    assert.ok(attached.has("k4"), "the last used comes first");
  }
  // Others may have put something into it: it is told of, and stays.
  const { removed, left } = collect(temp.name);
  assert.deepEqual(removed.filter(({ kind }) => kind !== "dead slots"), []);
  assert.match(left[0]!.reason, /^its restore was killed: go on with it/);
  // And the next restore goes on with what one left.
  assert.ok(segmentExists(temp.name));
  const report = restore(temp.name, { path });
  assert.equal(report.entries + report.present, 5);
  using pool = Pool.open(temp.name);
  assertWhole(pool);
});

test("collectLitter() gives back what handles had that ended without closing", () => {
  using temp = tempPool({ size: "1M" });
  temp.pool.put("pinned", bytesOf("pinned", 9000));
  const other = temp.open();
  other.get("pinned");
  other.reserve("half", 20_000);
  other.core.close(); // as if it had been killed
  const [dead] = collect(temp.name, { dryRun: true }).removed;
  assert.equal(dead!.kind, "dead slots");
  assert.equal(
    dead!.reason,
    "1 of its handles ended without closing: 1 pinned, 1 reserved",
  );
  assert.equal(dead!.size_bytes, 20_480);
  assert.equal(temp.pool.core.header.get("reserved"), 1);
  assert.equal(collect(temp.name).removed.length, 1);
  assert.equal(temp.pool.core.header.get("reserved"), 0);
  assert.equal(temp.pool.core.slots.allPins().count(), 0);
  assert.deepEqual(collect(temp.name).removed, []);
  assertWhole(temp.pool);
});

test("collectLitter() changes no pool that has not its policy's room, and says why", () => {
  for (const policy_bytes of [64, 1 << 16]) {
    for (const isDirty of [false, true]) {
      using temp = tempPool({ size: "1M", maxEntries: 64 });
      const { core } = temp.pool;
      temp.pool.put("k", bytesOf("k", 9000));
      temp.pool.reserve("half", 9000);
      if (isDirty) markDirty(core);
      core.close(); // as if it had been killed
      forgePolicyRoom(temp.name, core.identity, policy_bytes);
      const before = readSegment(temp.name, 0, 2 ** 20);
      for (const dryRun of [true, false]) {
        const { removed, left } = collect(temp.name, { dryRun });
        assert.deepEqual(removed, []);
        assert.deepEqual(left.map(({ reason }) => reason), [
          "its header is damaged (geometry)",
        ]);
      }
      assert.deepEqual(readSegment(temp.name, 0, 2 ** 20), before);
    }
  }
});

test("collectLitter() does not wait for a pool that is busy", () => {
  using temp = tempPool({ size: "1M" });
  const other = temp.open();
  other.core.close();
  temp.pool.core.lock.acquire("hold");
  const report = collect(temp.name);
  temp.pool.core.lock.release();
  assert.deepEqual(report.removed, []);
  assert.match(report.left[0]!.reason, /dead slots, but is busy/);
});

test("collectLitter() of a pool that a crash left in a change leaves it whole", () => {
  using temp = tempPool({ size: "1M" });
  temp.pool.put("k", bytesOf("k", 9000));
  temp.open().core.close();
  markDirty(temp.pool.core);
  temp.pool.core.freeList.clearAll();
  assert.equal(collect(temp.name).removed.length, 1);
  assertWhole(temp.pool);
  assert.ok(temp.pool.has("k"));
});

test("collectLitter() takes away what killed saves left, and no part of a snapshot", () => {
  using place = scratch();
  using temp = tempPool({ size: "1M" });
  const name = uniqueName();
  const directory = join(place.path, "snapshots", name);
  for (let i = 0; i < 3; i++) {
    temp.pool.put(`k${i}`, bytesOf(i, 9000));
    persist(temp.pool, { path: directory });
  }
  const whole = readdirSync(directory).sort();
  const litter = [
    "base-00000009-0123abcd.cortex.tmp",
    "base-00000002-0123abcd.cortex",
    `MANIFEST.${"0".repeat(32)}.tmp`,
  ];
  for (const file of litter) writeFileSync(join(directory, file), "litter");
  const others = ["notes.txt", "base.tmp", "MANIFEST.bak"];
  for (const file of others) writeFileSync(join(directory, file), "mine");
  mkdirSync(join(place.path, "snapshots", "empty"));
  writeFileSync(join(place.path, "snapshots", "file"), "");
  const platform = only(name, { environment: () => place.path });

  const lock = host.files.openDirectory(directory);
  assert.ok(host.tryLock(lock));
  const busy = collectLitter({ platform });
  assert.deepEqual(busy.removed, [], "a save is at work");
  assert.equal(busy.left[0]!.reason, "a process saves into it");
  host.files.close(lock);

  const { removed, freed_bytes } = collectLitter({ platform });
  assert.deepEqual(
    removed.map(({ path }) => path).sort(),
    litter.map((file) => join(directory, file)).sort(),
  );
  assert.equal(freed_bytes, 3 * "litter".length);
  assert.deepEqual(readdirSync(directory).sort(), [...whole, ...others].sort());
  using again = tempName();
  assert.equal(restore(again.name, { path: directory }).entries, 3);
});

test("collectLitter() takes no base file away where the manifest cannot be believed", () => {
  using place = scratch();
  using temp = tempPool({ size: "1M" });
  temp.pool.put("k", bytesOf("k", 9000));
  persist(temp.pool, { path: place.path });
  writeFileSync(join(place.path, "base-00000009-0123abcd.cortex.tmp"), "x");
  const manifest = join(place.path, "MANIFEST");
  rmSync(manifest);
  for (const text of [undefined, "garbage", '{"format":"cortex-snapshot"']) {
    if (text !== undefined) writeFileSync(manifest, text);
    const bases = readdirSync(place.path).filter((f) => f.endsWith(".cortex"));
    collect(temp.name, { paths: [place.path] });
    assert.equal(bases.length, 1);
    assert.ok(existsSync(join(place.path, bases[0]!)));
  }
  assert.ok(!readdirSync(place.path).some((file) => file.endsWith(".tmp")));
});

test("collectLitter() refuses a place that it is told of and that is not there", () => {
  assertRefuses(
    () => collect(uniqueName(), { paths: ["/nonexistent/snapshot"] }),
    NotFoundError,
  );
});

test("collectLitter() leaves a directory that others can write", () => {
  using place = scratch();
  const directory = join(place.path, "open");
  mkdirSync(directory);
  host.files.makeDirectory(directory, 0o700);
  const file = join(directory, "base-00000009-0123abcd.cortex.tmp");
  writeFileSync(file, "x");
  utimesSync(file, 0, 0);
  const before = statSync(directory).mode;
  const fd = host.files.openDirectory(directory);
  host.setMode(fd, 0o777);
  host.files.close(fd);
  const report = collect(uniqueName(), { paths: [directory] });
  assert.deepEqual(report.removed, []);
  assert.equal(report.left[0]!.reason, "any user can write to it");
  assert.ok(existsSync(file));
  assert.notEqual(statSync(directory).mode, before);
});
