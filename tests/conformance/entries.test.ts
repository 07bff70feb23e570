/** Entries: which keys find them, and what is kept of them beside the value. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { UsageError } from "../../lib/errors.ts";
import { META_MAX_BYTES } from "../../lib/layout.ts";
import {
  assertBytes,
  assertRefuses,
  assertWhole,
  bytesOf,
  fragment,
  keysOf,
  recordOf,
  tempPool,
  valueOf,
} from "../helpers.ts";

test("Pool.get() misses what is not there", () => {
  using temp = tempPool();
  assert.equal(temp.pool.get("k"), undefined);
  temp.pool.put("k", bytesOf("k", 1));
  assert.equal(temp.pool.get("K"), undefined);
  assert.equal(temp.pool.get("k "), undefined);
  assert.equal(temp.pool.get("kk"), undefined);
});

test("Pool.get() keeps apart keys that fall into one bucket", () => {
  using temp = tempPool({ maxEntries: 64 });
  const { core } = temp.pool;
  const keys: string[] = [];
  for (let i = 0; keys.length < 12; i++) {
    const key = `key-${i}`;
    const bucket = core.keys.encode(key).hash[0]! & (core.geometry.buckets - 1);
    if (bucket === 5) keys.push(key);
  }
  for (const key of keys) temp.pool.put(key, bytesOf(key, 50));
  for (const gone of [11, 0, 5]) {
    assert.equal(temp.pool.delete(keys[gone]!), true);
    keys.splice(gone, 1);
    for (const key of keys) {
      assertBytes(valueOf(temp.pool, key), bytesOf(key, 50));
    }
    assertWhole(temp.pool);
  }
});

test("an equal hash is no equal key", () => {
  using temp = tempPool();
  temp.pool.put("one", bytesOf("one", 100));
  const { core } = temp.pool;
  // A hash that every key has: only the key itself can tell them apart.
  const encode = core.keys.encode.bind(core.keys);
  core.keys.encode = (key, verb) => ({
    bytes: new TextEncoder().encode(key),
    hash: encode("one", verb).hash,
  });
  assert.equal(temp.pool.has("one"), true);
  assert.equal(temp.pool.has("two"), false);
  assert.equal(temp.pool.get("other"), undefined);
  // And what was looked at on the way is not held.
  assert.equal(temp.pool.evict({ percent: 100 }).evicted_entries, 1);
});

test("Pool.put() keeps what is said of an entry", () => {
  using temp = tempPool();
  const before = Date.now();
  temp.pool.put("child", bytesOf("c", 10), {
    parent: "mother",
    tokens: 2 ** 32 - 1,
    priority: -(2 ** 31),
    meta: { model: "llama", layers: [1, null, "ü"], nested: { deep: true } },
  });
  temp.pool.put("plain", bytesOf("p", 20));
  using hit = temp.pool.get("child");
  assert.equal(hit?.parent, "mother");
  assert.equal(hit?.tokens, 2 ** 32 - 1);
  assert.equal(hit?.priority, -(2 ** 31));
  const meta = {
    model: "llama",
    layers: [1, null, "ü"],
    nested: { deep: true },
  };
  assert.deepEqual(hit?.meta, meta);
  const info = temp.pool.info("child")!;
  assert.deepEqual(
    { ...info, created_at: 0, last_access_at: 0 },
    {
      key: "child",
      size_bytes: 10,
      tokens: 2 ** 32 - 1,
      priority: -(2 ** 31),
      parent: "mother",
      created_at: 0,
      last_access_at: 0,
      access_count: 2,
      meta,
    },
  );
  assert.ok(info.created_at >= before && info.created_at <= Date.now());
  assert.ok(info.last_access_at >= info.created_at);
  const plain = temp.pool.info("plain")!;
  assert.equal(plain.parent, null);
  assert.equal(plain.meta, null);
  assert.equal(plain.tokens, 0);
  using plainHit = temp.pool.get("plain");
  assert.equal(plainHit?.parent, undefined);
  assert.equal(plainHit?.meta, undefined);
});

test("metadata may be any JSON value, false ones too", () => {
  using temp = tempPool();
  for (const meta of [null, false, 0, "", [], {}, "text", [[]], -1.5e300]) {
    temp.pool.put("k", bytesOf("k", 1), { meta });
    using hit = temp.pool.get("k");
    assert.deepEqual(hit?.meta, meta);
    assert.deepEqual(temp.pool.info("k")?.meta, meta);
  }
});

test("metadata of up to 4 KiB is kept, and more is refused", () => {
  using temp = tempPool();
  const meta = "m".repeat(META_MAX_BYTES - 2); // and two quotes
  temp.pool.put("k", bytesOf("k", 5000), { meta });
  assert.equal(temp.pool.info("k")?.meta, meta);
  assertBytes(valueOf(temp.pool, "k"), bytesOf("k", 5000));
  assertRefuses(
    () => temp.pool.put("big", new Uint8Array(1), { meta: meta + "m" }),
    UsageError,
    /longer than 4096 bytes/,
  );
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  for (const wrong of [circular, 1n, () => 1, Symbol("x")]) {
    assertRefuses(
      () => temp.pool.put("k2", new Uint8Array(1), { meta: wrong }),
      UsageError,
      /metadata/,
    );
  }
  assert.deepEqual(keysOf(temp.pool), ["k"]);
  assertWhole(temp.pool);
});

test("text too long for a record lies behind the value, and comes back whole", () => {
  using temp = tempPool();
  const other = temp.open();
  for (const size of [0, 1, 8, 4088, 4096, 10_001]) {
    for (const length of [296, 297, 700, 1024]) {
      const key = `${size}-`.padEnd(length, "k");
      const parent = "p".repeat(1024);
      const meta = { text: "m".repeat(3000) };
      temp.pool.put(key, bytesOf(key, size), { parent, meta });
      using hit = other.get(key);
      assertBytes(hit?.bytes, bytesOf(key, size));
      assert.equal(hit?.parent, parent);
      assert.deepEqual(hit?.meta, meta);
      hit?.verify();
      assert.equal(other.info(key)?.parent, parent);
    }
  }
  assertWhole(temp.pool);
});

test("spilled text that crosses from one extent to the next comes back whole", () => {
  using temp = tempPool({ size: "512K" });
  fragment(temp.pool, { holes: 10, hole_blocks: 1 });
  const meta = "m".repeat(4000);
  // Value and text end in the third block: the text begins in the second.
  temp.pool.put("split", bytesOf("split", 5000), { meta, parent: "wall-1" });
  const { core } = temp.pool;
  assert.equal(core.table.extents(recordOf(core, "split"))?.length, 3);
  using hit = temp.pool.get("split");
  assertBytes(hit?.bytes, bytesOf("split", 5000));
  assert.equal(hit?.meta, meta);
  assert.equal(hit?.parent, "wall-1");
  assertWhole(temp.pool);
});

test("Pool.delete() says whether there was one", () => {
  using temp = tempPool();
  assert.equal(temp.pool.delete("k"), false);
  temp.pool.put("k", bytesOf("k", 1));
  assert.equal(temp.pool.delete("k"), true);
  assert.equal(temp.pool.delete("k"), false);
  assert.equal(temp.pool.status().deletes, 1);
});

test("Pool.put() and reserve() refuse numbers that no entry can have", () => {
  using temp = tempPool();
  const value = new Uint8Array(1);
  const wrong: [() => unknown, RegExp][] = [
    [() => temp.pool.put("k", value, { tokens: -1 }), /token count -1/],
    [() => temp.pool.put("k", value, { tokens: 2 ** 32 }), /token count/],
    [() => temp.pool.put("k", value, { tokens: 1.5 }), /token count/],
    [() => temp.pool.put("k", value, { tokens: NaN }), /token count/],
    [() => temp.pool.put("k", value, { priority: 2 ** 31 }), /priority/],
    [() => temp.pool.put("k", value, { priority: -(2 ** 31) - 1 }), /priority/],
    [() => temp.pool.put("k", value, { priority: 0.1 }), /priority/],
    [() => temp.pool.reserve("k", -1), /size -1/],
    [() => temp.pool.reserve("k", 1.5), /size 1.5/],
    [() => temp.pool.reserve("k", NaN), /size/],
    [() => temp.pool.reserve("k", Infinity), /size/],
    [() => temp.pool.put("", value), /key/],
    [() => temp.pool.put("k".repeat(1025), value), /longer than 1024/],
    [() => temp.pool.put("\ud800", value), /not Unicode/],
    [() => temp.pool.put("k", value, { parent: "" }), /key/],
    [() => temp.pool.put("k", value, { parent: "p".repeat(1025) }), /longer/],
    [() => temp.pool.get(""), /key/],
    [() => temp.pool.has("k".repeat(1025)), /longer than 1024/],
    [() => temp.pool.delete("\udfff"), /not Unicode/],
    [() => temp.pool.match(["k", ""]), /key/],
  ];
  temp.pool.put("k", value);
  for (const [run, pattern] of wrong) assertRefuses(run, UsageError, pattern);
  assert.deepEqual(keysOf(temp.pool), ["k"]);
  assert.equal(temp.pool.status().puts, 1);
});

test("keys may hold any Unicode, and are compared byte by byte", () => {
  using temp = tempPool();
  const keys = [
    "é",
    "e\u0301",
    "日本語",
    "😀",
    "a\u0000b",
    "a\u0000",
    "\n",
    "A",
    "a",
  ];
  for (const key of keys) temp.pool.put(key, bytesOf(key, 30));
  assert.equal(temp.pool.status().entries, keys.length);
  for (const key of keys) {
    assertBytes(valueOf(temp.pool, key), bytesOf(key, 30));
  }
  assert.deepEqual(keysOf(temp.pool), [...keys].sort());
});

test("Pool.match() counts leading keys, deepest() finds the last", () => {
  using temp = tempPool();
  const chain = ["a", "b", "c", "d"];
  assert.equal(temp.pool.match(chain), 0);
  assert.equal(temp.pool.deepest(chain), undefined);
  assert.equal(temp.pool.match([]), 0);
  for (const key of ["a", "b", "d"]) temp.pool.put(key, bytesOf(key, 1));
  assert.equal(temp.pool.match(chain), 2);
  assert.equal(temp.pool.deepest(chain), "d");
  temp.pool.put("c", bytesOf("c", 1));
  assert.equal(temp.pool.match(chain), 4);
  temp.pool.delete("a");
  assert.equal(temp.pool.match(chain), 0);
  assert.equal(temp.pool.deepest(chain), "d");
});

test("only get() counts as a use", () => {
  using temp = tempPool();
  temp.pool.put("k", bytesOf("k", 1));
  temp.pool.has("k");
  temp.pool.match(["k"]);
  temp.pool.deepest(["k"]);
  temp.pool.info("k");
  [...temp.pool.entries()];
  temp.pool.has("absent");
  assert.equal(temp.pool.info("k")?.access_count, 1);
  assert.equal(temp.pool.status().hits + temp.pool.status().misses, 0);
  temp.pool.get("k")?.release();
  assert.equal(temp.pool.info("k")?.access_count, 2);
  assert.equal(temp.pool.status().hits, 1);
});

test("Pool.entries() gives every sealed entry once", () => {
  using temp = tempPool();
  const keys = Array.from({ length: 50 }, (_, i) => `key-${i}`);
  for (const key of keys) temp.pool.put(key, bytesOf(key, 10), { tokens: 4 });
  using _open = temp.pool.reserve("not yet", 5);
  temp.pool.delete("key-7");
  const infos = [...temp.pool.entries()];
  assert.deepEqual(
    infos.map(({ key }) => key).sort(),
    keys.filter((key) => key !== "key-7").sort(),
  );
  assert.ok(
    infos.every(({ tokens, size_bytes }) => tokens * 10 === 4 * size_bytes),
  );
});

test("a namespace changes the keys' hashes, and nothing a user sees", () => {
  using a = tempPool({ namespace: "model-a" });
  using b = tempPool({ namespace: "model-b" });
  for (const { pool } of [a, b]) {
    pool.put("k", bytesOf("k", 100));
    assertBytes(valueOf(pool, "k"), bytesOf("k", 100));
    assertWhole(pool);
  }
  const hash = ({ pool: { core } }: typeof a) =>
    [...core.table.keyHash(recordOf(core, "k"))].join();
  assert.notEqual(hash(a), hash(b));
});

test("an entry of another namespace is not found", () => {
  using temp = tempPool({ namespace: "ours" });
  temp.pool.put("k", bytesOf("k", 10));
  const { core } = temp.pool;
  const entry = recordOf(core, "k");
  const at = core.geometry.records_offset + entry * 512 + 96;
  core.control.u32[at >> 2]! ^= 1;
  assert.equal(temp.pool.has("k"), false);
  assert.equal(temp.pool.get("k"), undefined);
});
