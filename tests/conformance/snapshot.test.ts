/** Snapshots: everything comes back, and no failure costs the former one. */
import assert from "node:assert/strict";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { cases, fc } from "../cases.ts";
import { hostPlatform, OsError, type Platform } from "../../ffi/mod.ts";
import { CortexError, persist, Pool, restore } from "../../lib/mod.ts";
import { readCatalogue } from "../../lib/snapshot/generations.ts";
import type { Manifest } from "../../lib/snapshot/manifest.ts";
import { persistSteps, restoringSteps } from "../../lib/snapshot/mod.ts";

let made = 0;

/** A pool's name and a directory of one test's own. */
function temporary() {
  const name = `test-snapshot-${process.pid}-${++made}`;
  const path = mkdtempSync(join(tmpdir(), "cortex-snapshot-"));
  const destroy = () => {
    try {
      Pool.destroy(name);
    } catch {
      // It never was.
    }
  };
  return {
    name,
    path,
    destroy,
    [Symbol.dispose]() {
      destroy();
      rmSync(path, { recursive: true });
    },
  };
}

/** The newest generation of a directory. */
function generationOf(path: string): Manifest {
  return readCatalogue(hostPlatform(), path, "read").generations[0]!.manifest;
}

/** All that is known of a pool's entries, values included. */
function contents(pool: Pool) {
  const core = pool.core;
  return [...pool.entries()].sort((a, b) => a.key < b.key ? -1 : 1)
    .map((entry) => {
      using hit = core.attachment ? pool.get(entry.key) : undefined;
      return { ...entry, value: hit && [...hit.verify().bytes].join() };
    });
}

const anEntry = fc.record({
  key: fc.string({ minLength: 1, maxLength: 80, unit: "binary" }),
  value: fc.uint8Array({ maxLength: 20_000 }),
  parent: fc.option(
    fc.string({ minLength: 1, maxLength: 80, unit: "binary" }),
    {
      nil: undefined,
    },
  ),
  tokens: fc.nat(),
  priority: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  meta: fc.option(fc.jsonValue({ maxDepth: 2 }), { nil: undefined }),
  uses: fc.nat({ max: 3 }),
});

test("persist and restore bring back values, keys, metadata, times, counts and parents", () => {
  fc.assert(
    fc.property(fc.array(anEntry, { maxLength: 25 }), (entries) => {
      using place = temporary();
      const { name, path } = place;
      let before: ReturnType<typeof contents>, status;
      {
        using pool = Pool.create(name, {
          size: "2M",
          policy: "lfu",
          namespace: "nämespace",
          maxEntries: 40,
        });
        for (const { key, value, uses, ...options } of entries) {
          if (!key.isWellFormed()) continue;
          pool.put(key, value, options);
          for (let i = 0; i < uses; i++) pool.get(key)?.release();
        }
        contents(pool); // counts as a use of each
        const report = persist(pool, { path });
        before = contents(pool);
        status = pool.status();
        assert.equal(report.entries, before.length);
        assert.equal(report.skipped + report.damaged, 0);
      }
      Pool.destroy(name);
      const report = restore(name, { path });
      assert.equal(report.entries, before.length);
      assert.equal(report.damaged + report.left_out, 0);
      using pool = Pool.open(name);
      assert.deepEqual(pool.check({ values: true }), {
        ok: true,
        problems: [],
      });
      // The uses by `contents` come after the save, so the counts are one less.
      const after = contents(pool);
      assert.deepEqual(
        after.map(({ last_access_at: _, ...rest }) => rest),
        before.map(({ last_access_at: _, ...rest }) => rest),
      );
      const restored = pool.status();
      for (
        const field of [
          "policy",
          "namespace",
          "size_bytes",
          "blocks",
          "max_entries",
          "puts",
          "used_bytes",
          "entries",
          "evictions",
        ] as const // deno-fmt-ignore
      ) assert.equal(restored[field], status[field], field);
    }),
    { numRuns: cases(60) },
  );
});

/** The host, with one call of its files failing. */
function failing(nth: number, code: string) {
  const host = hostPlatform();
  let calls = 0;
  const files = new Proxy(host.files, {
    get(target, name) {
      const method = target[name as keyof typeof target] as (
        ...args: unknown[]
      ) => unknown;
      // Closing and tidying up must work: they are what is tested.
      if (["close", "remove", "exists", "size"].includes(String(name))) {
        return method;
      }
      return (...args: unknown[]) => {
        if (++calls === nth) throw new OsError(String(name), code);
        return method(...args);
      };
    },
  });
  const platform = new Proxy(host, {
    get(target, name) {
      if (name === "files") return files;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  }) as Platform;
  return { platform, calls: () => calls };
}

test("persist that fails at any call of the disk leaves the former snapshot or the new one", () => {
  for (const code of ["ENOSPC", "EIO"]) {
    for (let nth = 1;; nth++) {
      using place = temporary();
      const { name, path } = place;
      {
        using pool = Pool.create(name, { size: "1M" });
        pool.put("old", new Uint8Array(5000).fill(1));
        persist(pool, { path });
        pool.put("new", new Uint8Array(5000).fill(2));
      }
      const { platform, calls } = failing(nth, code);
      let failure: unknown;
      {
        using pool = Pool.open(name, { platform });
        try {
          persist(pool, { path });
        } catch (error) {
          failure = error;
        }
      }
      if (calls() < nth) {
        assert.equal(failure, undefined);
        assert.ok(nth > 8, "every step of it was failed");
        break;
      }
      // A reading that fails only means that the generation starts anew.
      if (failure !== undefined) {
        assert.ok(failure instanceof CortexError, String(failure));
        assert.equal(failure.code, code === "ENOSPC" ? "NO_SPACE" : "FAILED");
      }
      const litter = readdirSync(path).filter((file) => file.endsWith(".tmp"));
      assert.deepEqual(litter, [], `call ${nth}`);
      place.destroy();
      const { entries } = restore(name, { path });
      assert.ok(entries === 1 || entries === 2, `${entries} entries`);
      if (failure === undefined) assert.equal(entries, 2);
    }
  }
});

test("any flipped bit of a snapshot is a typed error or a smaller truth", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    for (let i = 0; i < 6; i++) {
      pool.put(`key-${i}`, new Uint8Array(700).fill(i), { meta: { i } });
    }
    persist(pool, { path });
  }
  place.destroy();
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.nat(),
      fc.nat({ max: 7 }),
      (inBase, at, bit) => {
        const file = readdirSync(path).find((file) =>
          file.startsWith("base-") === inBase
        )!;
        const whole = readFileSync(join(path, file));
        const damaged = Buffer.from(whole);
        damaged[at % damaged.length]! ^= 1 << bit;
        writeFileSync(join(path, file), damaged);
        try {
          const report = restore(name, { path });
          assert.ok(report.entries >= 5, `${report.entries} entries`);
          assert.equal(report.entries + report.damaged, 6);
          using pool = Pool.open(name);
          for (const { key, value } of contents(pool)) {
            const fill = Number(key.slice(4));
            assert.equal(value, Array(700).fill(fill).join());
          }
        } catch (error) {
          if (!(error instanceof CortexError)) throw error;
          assert.ok(
            ["CORRUPT", "NOT_FOUND"].includes(error.code),
            error.message,
          );
        } finally {
          writeFileSync(join(path, file), whole);
          place.destroy();
        }
      },
    ),
    { numRuns: cases(400) },
  );
});

test("a snapshot truncated anywhere is refused, or gives what is whole if asked", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    for (let i = 0; i < 6; i++) {
      pool.put(`key-${i}`, new Uint8Array(700).fill(i));
    }
    persist(pool, { path });
  }
  place.destroy();
  const { files, lines } = generationOf(path);
  const file = join(path, files[0]!.name);
  const whole = readFileSync(file);
  /** How many heads and values end before `length`. */
  const wholeBefore = (length: number) =>
    lines.filter((line) =>
      line.position + 112 + "key-0".length <= length &&
      line.value_position + line.size_bytes <= length
    ).length;
  for (let length = 0; length < whole.length; length += 331) {
    writeFileSync(file, whole.subarray(0, length));
    assert.throws(() => restore(name, { path }), { code: "CORRUPT" });
    assert.ok(!Pool.list().includes(name));
    try {
      const report = restore(name, { path, partial: true });
      assert.equal(report.entries, wholeBefore(length));
      assert.equal(report.entries + report.damaged, 6);
      place.destroy();
    } catch (error) {
      assert.equal((error as CortexError).code, "CORRUPT", String(error));
      assert.equal(wholeBefore(length), 0, "nothing was whole");
    }
  }
});

test("a value that holds another snapshot's records never passes for them", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    pool.put("inner", new Uint8Array(100).fill(1));
    persist(pool, { path });
    const base = readdirSync(path).find((file) => file.startsWith("base-"))!;
    pool.put("outer", new Uint8Array(readFileSync(join(path, base))));
    pool.delete("inner");
    persist(pool, { path });
  }
  place.destroy();
  const { files, lines } = generationOf(path);
  const base = join(path, files[0]!.name);
  const bytes = readFileSync(base);
  assert.equal(lines.length, 1);
  bytes[lines[0]!.position + 20]! ^= 1; // the head of the only record
  writeFileSync(base, bytes);
  assert.throws(() => restore(name, { path }), { code: "CORRUPT" });
});

test("ending a save early leaves no file, and ending a restore early no pool", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    for (let i = 0; i < 5; i++) pool.put(`key-${i}`, new Uint8Array(100));
    const saving = persistSteps(pool, { path });
    saving.next();
    saving.return(undefined as never);
    assert.deepEqual(readdirSync(path), []);
    persist(pool, { path });
    using hit = pool.get("key-0");
    assert.ok(hit);
  }
  place.destroy();
  const loading = restoringSteps(name, { path });
  loading.next();
  assert.ok(Pool.list().includes(name), "entries can be used as they come");
  loading.return(undefined as never);
  assert.ok(!Pool.list().includes(name));
});

test("an entry that is put while a restore goes on is kept", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    for (let i = 0; i < 5; i++) {
      pool.put(`key-${i}`, new Uint8Array(100).fill(1));
    }
    persist(pool, { path });
  }
  place.destroy();
  const loading = restoringSteps(name, { path });
  loading.next(); // the most recently used is in: key-4
  using pool = Pool.open(name);
  pool.put("key-0", new Uint8Array(100).fill(2));
  while (!loading.next().done);
  using hit = pool.get("key-0");
  assert.equal(hit?.bytes[0], 2);
  assert.equal(pool.status().entries, 5);
  assert.deepEqual(pool.check({ values: true }), { ok: true, problems: [] });
});

function fill(pool: Pool, fill: number): void {
  for (let i = 0; i < 5; i++) {
    pool.put(`key-${i}`, new Uint8Array(100).fill(fill));
  }
}

test("a restore that fails destroys no pool that took the name meanwhile", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    fill(pool, 1);
    persist(pool, { path });
  }
  place.destroy();
  const loading = restoringSteps(name, { path });
  loading.next();
  Pool.destroy(name);
  using other = Pool.create(name, { size: "1M" });
  other.put("mine", new Uint8Array(10));
  assert.throws(() => {
    while (!loading.next().done);
  }, { code: "NOT_FOUND" });
  assert.ok(Pool.list().includes(name));
  assert.ok(other.has("mine"));
});

test("a pool that is being restored is not saved over its snapshot", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M", mode: 0o640 });
    fill(pool, 1);
    persist(pool, { path });
  }
  place.destroy();
  const loading = restoringSteps(name, { path });
  loading.next(); // and no more as yet
  {
    using pool = Pool.open(name);
    assert.throws(() => persist(pool, { path }), { code: "BUSY" });
    assert.equal(pool.core.platform.stat(pool.core.fd).mode, 0o640);
  }
  place.destroy();
  assert.equal(restore(name, { path }).entries, 5);
  using pool = Pool.open(name);
  persist(pool, { path });
});

test("a save removes what killed ones left, and nothing of others", () => {
  using place = temporary();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "1M" });
  fill(pool, 1);
  persist(pool, { path });
  const litter = [
    "base-00000002-0123abcd.cortex.tmp",
    "base-00000002-0123abcd.cortex",
    `MANIFEST.${"0".repeat(32)}.tmp`,
  ];
  for (const file of [...litter, "notes.txt"]) {
    writeFileSync(join(path, file), "x");
  }
  persist(pool, { path });
  const left = readdirSync(path).sort();
  assert.equal(left.length, 4, left.join());
  assert.deepEqual([left[0], left[1], left[3]], [
    "MANIFEST",
    "MANIFEST-00000001", // the former generation
    "notes.txt",
  ]);
});

test("a save replaces no manifest that is not ours, or of another version", () => {
  using place = temporary();
  const { name, path } = place;
  using pool = Pool.create(name, { size: "1M" });
  const manifest = join(path, "MANIFEST");
  for (
    const text of [
      "include *.py\n",
      '{"format":"cortex-snapshot","version":3}\n',
    ]
  ) {
    writeFileSync(manifest, text);
    assert.throws(() => persist(pool, { path }), { code: "CORRUPT" });
    assert.equal(readFileSync(manifest, "utf8"), text);
  }
});

test("keys that are replaced while a save goes on are in it, in one version", () => {
  using place = temporary();
  const { name, path } = place;
  {
    using pool = Pool.create(name, { size: "1M" });
    fill(pool, 1);
    const saving = persistSteps(pool, { path });
    saving.next();
    fill(pool, 2);
    while (!saving.next().done);
  }
  place.destroy();
  const report = restore(name, { path });
  assert.deepEqual([report.entries, report.damaged], [5, 0]);
  using pool = Pool.open(name);
  for (const { value } of contents(pool)) {
    assert.equal(value, Array(100).fill(2).join());
  }
});
