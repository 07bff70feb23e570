/** Segments and snapshots are taken only from those who are trusted. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { hostPlatform } from "../../ffi/mod.ts";
import {
  CorruptError,
  FailedError,
  NotFoundError,
  UsageError,
} from "../../lib/errors.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import {
  assertRefuses,
  bytesOf,
  hostWith,
  Pool,
  segmentExists,
  segmentFile,
  tempName,
  tempPool,
} from "../helpers.ts";
import { skip } from "../processes.ts";

const host = hostPlatform();

/** A pool with an entry, its snapshot, and a name to restore it to. */
function furnished(mode = 0o600) {
  const place = mkdtempSync(join(tmpdir(), "cortex-directories-"));
  const temp = tempPool({ size: "1M", mode });
  const again = tempName();
  temp.pool.put("k", bytesOf("k", 9000));
  const path = join(place, "snapshot");
  return {
    pool: temp.pool,
    place,
    path,
    again: again.name,
    [Symbol.dispose]() {
      again[Symbol.dispose]();
      temp[Symbol.dispose]();
      rmSync(place, { recursive: true, force: true });
    },
  };
}

/** Both ways refuse, and neither changes anything. */
function assertBothRefuse(
  it: ReturnType<typeof furnished>,
  error: typeof FailedError | typeof CorruptError,
  pattern: RegExp,
): void {
  const { path } = it;
  const list = () => existsSync(path) ? readdirSync(path) : [];
  const before = list();
  assertRefuses(() => persist(it.pool, { path }), error, pattern);
  assertRefuses(() => restore(it.again, { path }), error, pattern);
  assert.deepEqual(list(), before);
  assert.ok(!segmentExists(it.again));
}

test("a snapshot's directory is refused where any user can write", () => {
  using it = furnished();
  persist(it.pool, { path: it.path });
  for (const mode of [0o777, 0o702, 0o1777]) {
    chmodSync(it.path, mode);
    assertBothRefuse(it, FailedError, /: any user can write to it$/);
  }
  chmodSync(it.path, 0o755);
  assert.equal(restore(it.again, { path: it.path }).entries, 1);
});

test("a snapshot's directory is refused where a group can write that is not ours", () => {
  using it = furnished();
  persist(it.pool, { path: it.path });
  const mine = process.getgid!();
  assert.ok(!host.groups().includes(54_321));
  const foreign = hostWith({
    stat: (fd) => ({ ...host.stat(fd), gid: 54_321 }),
  });
  chmodSync(it.path, 0o770);
  assertRefuses(
    () => restore(it.again, { path: it.path, platform: foreign }),
    FailedError,
    /: group 54321, which is not yours, can write to it$/,
  );
  // Who shares a directory with a group of his own trusts it.
  assert.equal(statSync(it.path).gid, mine);
  assert.equal(restore(it.again, { path: it.path }).entries, 1);
});

test("a snapshot's directory is refused where it belongs to another", (t) => {
  if (process.getuid!() !== 0) return skip(t, "chown");
  using it = furnished();
  persist(it.pool, { path: it.path });
  chownSync(it.path, 12_345, 12_345);
  assertBothRefuse(
    it,
    FailedError,
    /: it belongs to user 12345, who could replace what is in it$/,
  );
});

test("a snapshot's directory is refused below one where any can put another in its place", () => {
  using it = furnished();
  persist(it.pool, { path: it.path });
  chmodSync(it.place, 0o777);
  assertBothRefuse(it, FailedError, /because any can write to \/\S+$/);
  chmodSync(it.place, 0o1777); // sticky: only its owner may rename it
  assert.equal(restore(it.again, { path: it.path }).entries, 1);
});

test("a snapshot's directory is not followed to where a link leads", () => {
  using it = furnished();
  const real = join(it.place, "real");
  persist(it.pool, { path: real });
  symlinkSync(real, it.path);
  assertBothRefuse(it, CorruptError, /: it is a symbolic link$/);
  unlinkSync(it.path);
  writeFileSync(it.path, "");
  assertRefuses(
    () => restore(it.again, { path: it.path }),
    CorruptError,
    /: it is not a snapshot: those are directories$/,
  );
  unlinkSync(it.path);
  assertRefuses(
    () => restore(it.again, { path: it.path }),
    NotFoundError,
    /: there is none$/,
  );
});

test("links and pipes in the place of a snapshot's files are refused, and hang nobody", () => {
  for (const victim of ["MANIFEST", "base"]) {
    for (const kind of ["link", "pipe", "directory"]) {
      using it = furnished();
      persist(it.pool, { path: it.path });
      const name = readdirSync(it.path).find((f) => f.startsWith(victim))!;
      const file = join(it.path, name);
      const moved = join(it.place, "moved");
      host.files.rename(file, moved);
      if (kind === "link") symlinkSync(moved, file);
      else if (kind === "directory") mkdirSync(file);
      else assert.equal(spawnSync("mkfifo", [file]).status, 0);
      assertRefuses(
        () => restore(it.again, { path: it.path }),
        CorruptError,
        /symbolic link|not a regular file|directory/,
      );
      assert.ok(!segmentExists(it.again), `${victim} as a ${kind}`);
    }
  }
});

test("a save writes through no link that waits for it", () => {
  using it = furnished();
  mkdirSync(it.path, 0o700);
  const victim = join(it.place, "victim");
  writeFileSync(victim, "untouched");
  // The random part of its names is known to whoever watches: say it is.
  const platform = hostWith({ randomBytes: (n) => new Uint8Array(n) });
  using pool = Pool.open(it.pool.name, { platform });
  const base = join(it.path, "base-00000001-00000000.cortex.tmp");
  const manifest = join(it.path, `MANIFEST.${"0".repeat(32)}.tmp`);
  for (const trap of [base, manifest]) {
    symlinkSync(victim, trap);
    persist(pool, { path: it.path });
    assert.equal(statSync(victim).size, "untouched".length);
    assert.ok(!existsSync(trap), "the link is still there");
  }
});

test("snapshots are made past any umask: for the owner, or as the pool is shared", () => {
  for (const umask of [0o777, 0o077, 0o000]) {
    for (
      const [mode, ofDirectory, ofFile] of [
        [0o600, 0o700, 0o600],
        [0o660, 0o770, 0o660],
        [0o640, 0o700, 0o640],
      ] as const
    ) {
      using it = furnished(mode);
      const path = join(it.place, "a", "b", "snapshot");
      const before = process.umask(umask);
      try {
        persist(it.pool, { path });
      } finally {
        process.umask(before);
      }
      const modeOf = (file: string) => statSync(file).mode & 0o7777;
      for (const part of ["a", "a/b", "a/b/snapshot"]) {
        assert.equal(modeOf(join(it.place, part)), ofDirectory, part);
      }
      for (const file of readdirSync(path)) {
        assert.equal(modeOf(join(path, file)), ofFile, file);
      }
      assert.equal(restore(it.again, { path }).entries, 1);
    }
  }
});

test("no pool is made that any user could write to", () => {
  using temp = tempName();
  for (const mode of [0o666, 0o602, 0o777, 0o662]) {
    assertRefuses(
      () => Pool.create(temp.name, { size: "1M", mode }),
      UsageError,
      /: with that mode any user could write to it$/,
    );
  }
  assert.ok(!segmentExists(temp.name));
});

test("no pool is opened that any user can write to", () => {
  using temp = tempPool({ size: "1M" });
  chmodSync(segmentFile(temp.name), 0o606);
  for (const observe of [false, true]) {
    assertRefuses(
      () => Pool.open(temp.name, { observe }),
      FailedError,
      /: any user can write to it$/,
    );
  }
  assertRefuses(
    () => Pool.destroy(temp.name),
    FailedError,
    /: any user can write to it$/,
  );
  chmodSync(segmentFile(temp.name), 0o600);
  Pool.open(temp.name).close();
});

test("a pipe or a device in the place of a pool is refused, and hangs nobody", (t) => {
  using temp = tempName();
  const file = segmentFile(temp.name);
  const kinds: [string, string[]][] = [["mkfifo", [file]]];
  if (process.getuid!() === 0) kinds.push(["mknod", [file, "c", "1", "5"]]);
  else t.diagnostic("without the device: only root may make one");
  for (const [command, args] of kinds) {
    assert.equal(spawnSync(command, args).status, 0);
    for (const act of [Pool.open, Pool.destroy]) {
      assertRefuses(() => act(temp.name), CorruptError, /not a cortex pool$/);
    }
    assert.throws(() => Pool.create(temp.name, { size: "1M" }), {
      code: "EXISTS",
    });
    rmSync(file);
  }
});
