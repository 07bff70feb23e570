/** Whose snapshot a directory has, and memory that is not there. */
import assert from "node:assert/strict";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hostPlatform } from "../../ffi/mod.ts";
import { OsError } from "../../ffi/platform.ts";
import { CorruptError, FailedError, NoSpaceError } from "../../lib/errors.ts";
import { persist, restore, snapshotInfo } from "../../lib/snapshot/mod.ts";
import {
  assertRefuses,
  bytesOf,
  hostWith,
  keysOf,
  Pool,
  segmentExists,
  tempName,
  tempPool,
  valueOf,
} from "../helpers.ts";

test("persist() replaces no other pool's snapshot", () => {
  const path = mkdtempSync(join(tmpdir(), "cortex-owners-"));
  using mine = tempPool();
  using other = tempPool();
  mine.pool.put("k", bytesOf("mine", 5000));
  other.pool.put("k", bytesOf("other", 5000));
  persist(mine.pool, { path });
  assertRefuses(
    () => persist(other.pool, { path }),
    FailedError,
    /: it is of pool "/,
  );
  using again = tempName();
  restore(again.name, { path });
  using pool = Pool.open(again.name);
  assert.deepEqual(valueOf(pool, "k"), bytesOf("mine", 5000));
  rmSync(path, { recursive: true });
});

test("a pool of another life under the same name goes on with its snapshots", () => {
  const path = mkdtempSync(join(tmpdir(), "cortex-owners-"));
  using temp = tempName();
  for (const life of ["first", "second"]) {
    using pool = Pool.create(temp.name, { size: "1M" });
    pool.put("k", bytesOf(life, 5000));
    persist(pool, { path });
    pool.destroy();
  }
  restore(temp.name, { path });
  using pool = Pool.open(temp.name);
  assert.deepEqual(valueOf(pool, "k"), bytesOf("second", 5000));
  rmSync(path, { recursive: true });
});

test("Pool.create() with populate asks first whether there is that much memory", () => {
  using temp = tempName();
  assertRefuses(
    () => Pool.create(temp.name, { size: "900G", populate: true }),
    NoSpaceError,
    /: the host has .* of memory left for its 900\.0 GiB$/,
  );
  assert.ok(!segmentExists(temp.name));
});

test("persist() takes no record of another life for one of this", () => {
  const path = mkdtempSync(join(tmpdir(), "cortex-owners-"));
  using temp = tempName();
  const platform = hostWith({ now: () => 1_800_000_000_000 });
  for (const note of ["old", "new"]) {
    using pool = Pool.create(temp.name, { size: "1M", platform });
    pool.put("k", bytesOf("same", 5000), { meta: { note } });
    persist(pool, { path });
    pool.destroy();
  }
  restore(temp.name, { path });
  using pool = Pool.open(temp.name);
  assert.deepEqual(pool.info("k")?.meta, { note: "new" });
  rmSync(path, { recursive: true });
});

test("a restore for which the host has no memory fails, and its snapshot stays", () => {
  const path = mkdtempSync(join(tmpdir(), "cortex-owners-"));
  using temp = tempName();
  {
    using pool = Pool.create(temp.name, { size: "1M" });
    for (let i = 0; i < 5; i++) pool.put(`k${i}`, bytesOf(i, 9000));
    persist(pool, { path });
    pool.destroy();
  }
  let left_bytes = 1 << 18;
  const host = hostPlatform();
  const platform = hostWith({
    allocate: (fd, offset, length) => {
      left_bytes -= length;
      if (left_bytes < 0) throw new OsError("fallocate", "ENOSPC");
      host.allocate(fd, offset, length);
    },
  });
  left_bytes = 200_000;
  assertRefuses(() => restore(temp.name, { path, platform }), NoSpaceError);
  assert.ok(!segmentExists(temp.name));
  assert.equal(restore(temp.name, { path }).entries, 5);
  rmSync(path, { recursive: true });
});

/** Turns over what is in all data files of a snapshot. */
function ruin(path: string): void {
  for (const name of readdirSync(path)) {
    if (!name.endsWith(".cortex")) continue;
    const file = join(path, name);
    writeFileSync(
      file,
      readFileSync(file).map((b, at) => at < 64 ? b : b ^ 85),
    );
  }
}

test("a snapshot that is damaged through and through costs a pool nothing", () => {
  const path = mkdtempSync(join(tmpdir(), "cortex-owners-"));
  using temp = tempPool();
  temp.pool.put("saved", bytesOf("saved", 5000));
  persist(temp.pool, { path });
  temp.pool.put("mine", bytesOf("mine", 5000));
  ruin(path);
  assertRefuses(
    () => restore(temp.name, { path, replace: true }),
    CorruptError,
    /cannot be read whole/,
  );
  assert.deepEqual(keysOf(temp.pool), ["mine", "saved"]);
  // And one that was empty can be saved afterwards.
  temp.pool.evict({ percent: 100 });
  assertRefuses(() => restore(temp.name, { path }), CorruptError);
  temp.pool.put("after", bytesOf("after", 5000));
  assert.equal(persist(temp.pool, { path }).entries, 1);
  rmSync(path, { recursive: true });
});

test("a former generation that is not whole pushes out none that is", () => {
  const path = mkdtempSync(join(tmpdir(), "cortex-owners-"));
  using temp = tempPool();
  for (const key of ["a", "b"]) {
    temp.pool.put(key, bytesOf(key, 5000));
    persist(temp.pool, { path, full: true });
  }
  const newest = readdirSync(path).find((name) => /^base-0+2-/.test(name))!;
  truncateSync(join(path, newest), 4096);
  temp.pool.put("c", bytesOf("c", 5000));
  persist(temp.pool, { path });
  const generations = snapshotInfo(temp.name, { path }).generations.map(
    ({ generation }) => generation,
  );
  assert.deepEqual(generations, [3, 1]);
  rmSync(path, { recursive: true });
});
