/** What was cached stays with who may see it: no byte of it shows elsewhere. */
import assert from "node:assert/strict";
import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { CortexError } from "../../lib/errors.ts";
import { persist } from "../../lib/snapshot/mod.ts";
import {
  assertBytes,
  assertWhole,
  flipByte,
  fragment,
  Pool,
  recordOf,
  recordOffset,
  resealRecord,
  segmentFile,
  tempPool,
  uniqueName,
  valueOf,
} from "../helpers.ts";
import { RUNTIMES, Worker } from "../processes.ts";

const SECRET = "the-prompt-of-somebody-else";
const BLOCK = 4096;

/** A value that is nothing but the secret, again and again. */
function secretValue(length: number): Uint8Array {
  return Buffer.alloc(length, SECRET);
}

function holdsSecret(bytes: Uint8Array): boolean {
  // Any part of it that is long enough to be told from chance.
  const found = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return found.includes(SECRET.slice(3, 15));
}

/** A pool whose every block once held the secret, and is free again. */
function haunted(blocks = 60) {
  const temp = tempPool({ size: "512K", maxEntries: 32 });
  const { free_blocks } = temp.pool.status();
  temp.pool.put("secret", secretValue(free_blocks * BLOCK));
  temp.pool.delete("secret");
  assert.ok(blocks < free_blocks);
  const file = readFileSync(segmentFile(temp.name));
  assert.ok(holdsSecret(file), "or this proves nothing");
  return temp;
}

test("a reservation shows nothing of what lay there before", () => {
  using temp = haunted();
  using slot = temp.pool.reserve("k", 5 * BLOCK + 7);
  assertBytes(slot.bytes, new Uint8Array(5 * BLOCK + 7));
  assert.ok(slot.views.every((view) => view.every((byte) => byte === 0)));
});

test("a reservation that is sealed half-filled, or not at all, publishes zeros", () => {
  using temp = haunted();
  {
    using slot = temp.pool.reserve("untouched", 3 * BLOCK);
    slot.seal();
  }
  {
    using slot = temp.pool.reserve("half", 3 * BLOCK);
    slot.bytes.fill(1, 0, 5000);
    slot.seal();
  }
  assertBytes(valueOf(temp.pool, "untouched"), new Uint8Array(3 * BLOCK));
  assertBytes(
    valueOf(temp.pool, "half"),
    new Uint8Array(3 * BLOCK).fill(1, 0, 5000),
  );
  assertWhole(temp.pool);
});

test("the same holds in pieces, by bytes, by views and by neither", () => {
  using temp = haunted();
  fragment(temp.pool, { holes: 12, hole_blocks: 1 });
  // The holes' own values are of another pattern: put the secret into them.
  for (let i = 0; i < 12; i++) {
    temp.pool.put(`s-${i}`, secretValue(BLOCK));
  }
  for (let i = 0; i < 12; i++) temp.pool.delete(`s-${i}`);
  const size = 3 * BLOCK;
  for (const how of ["bytes", "views", "neither"] as const) {
    using slot = temp.pool.reserve(how, size);
    if (how === "bytes") assert.equal(slot.bytes.length, size);
    if (how === "views") assert.ok(slot.views.length > 1);
    slot.seal();
    assertBytes(valueOf(temp.pool, how), new Uint8Array(size), how);
  }
});

test("what is put in whole is not cleared away again", () => {
  using temp = haunted();
  using slot = temp.pool.reserve("k", 2 * BLOCK);
  slot.write(secretValue(2 * BLOCK));
  assertBytes(slot.bytes, secretValue(2 * BLOCK));
  slot.seal();
  assertBytes(valueOf(temp.pool, "k"), secretValue(2 * BLOCK));
});

test("a hit gives its own bytes, and no view of it reaches further", () => {
  using temp = haunted();
  for (const size of [1, 100, BLOCK - 1, BLOCK, BLOCK + 1, 9 * BLOCK - 5]) {
    temp.pool.put("k", new Uint8Array(size).fill(7));
    using hit = temp.pool.get("k");
    for (const view of [hit!.bytes, ...hit!.views]) {
      assert.equal(view.buffer.byteLength, view.length);
      assert.ok(!holdsSecret(view));
    }
  }
});

test("a new pool is zeros, whatever memory it is given", () => {
  const name = uniqueName();
  for (let round = 0; round < 3; round++) {
    const pool = Pool.create(name, { size: "8M", populate: true });
    try {
      const { data_offset } = pool.core.geometry;
      const data = readFileSync(segmentFile(name)).subarray(data_offset);
      const { system_blocks } = pool.core.geometry;
      const entries = data.subarray(system_blocks * BLOCK);
      assert.ok(entries.every((byte) => byte === 0), `round ${round}`);
      pool.put("secret", secretValue(6 << 20));
    } finally {
      pool.destroy();
    }
  }
});

test("a snapshot has what is in the pool, and nothing of what was", () => {
  using temp = haunted();
  const path = mkdtempSync(join(tmpdir(), "cortex-secrets-"));
  try {
    for (let i = 0; i < 9; i++) {
      temp.pool.put(`k${i}`, new Uint8Array(i * 1000 + 1), {
        meta: i % 2 ? "m".repeat(500) : undefined, // some of it is spilled
      });
    }
    persist(temp.pool, { path });
    for (const file of readdirSync(path)) {
      assert.ok(!holdsSecret(readFileSync(join(path, file))), file);
      assert.equal(statSync(join(path, file)).mode & 0o777, 0o600);
    }
  } finally {
    rmSync(path, { recursive: true });
  }
});

/** The flags of every mapping of a process that is of a pool's segment. */
function segmentFlags(pid: number | "self", name: string): string[] {
  const flags: string[] = [];
  let isOurs = false;
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    if (/^[0-9a-f]+-[0-9a-f]+ /.test(line)) {
      isOurs = line.endsWith(segmentFile(name));
    } else if (isOurs && line.startsWith("VmFlags:")) {
      flags.push(line);
    }
  }
  return flags;
}

test("no mapping of a pool goes into a core dump", async () => {
  using temp = tempPool({ size: "8M" });
  temp.pool.put("k", secretValue(1 << 20));
  using _hit = temp.pool.get("k");
  using _observer = temp.open({ observe: true });
  const script = new URL("../multiprocess/subject.ts", import.meta.url);
  for (const runtime of RUNTIMES) {
    using subject = new Worker(runtime, script, [temp.name]);
    await subject.line();
    await subject.ask("pin k");
    const flags = segmentFlags(subject.pid, temp.name);
    assert.ok(flags.length > 0);
    for (const line of flags) assert.match(line, /\bdd\b/, line);
  }
  const own = segmentFlags("self", temp.name);
  assert.ok(own.length >= 2);
  for (const line of own) assert.match(line, /\bdd\b/, line);
});

/** Everything that an error could put into a log. */
function textOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { message, stack = "", cause } = error;
  const hint = error instanceof CortexError ? error.hint ?? "" : "";
  return [message, hint, stack, cause === undefined ? "" : textOf(cause)]
    .join("\n");
}

test("no error says anything of a value or of metadata", () => {
  using temp = tempPool({ size: "512K", maxEntries: 8 });
  const { pool } = temp;
  const value = secretValue(9000);
  const meta = { prompt: SECRET };
  pool.put("k", value, { meta });
  const other = temp.open({ lockTimeout_ms: 0 });
  const refusals: (() => unknown)[] = [
    () => pool.put("large", secretValue(1 << 20), { meta }),
    () => pool.put("", value, { meta }),
    () => pool.put("k", value, { meta, tokens: -1 }),
    () => pool.put("k", value, { meta: SECRET.repeat(300) }),
    () => pool.put("k", value, { meta: { toJSON: () => BigInt(1), SECRET } }),
    () => pool.put("k", SECRET as unknown as Uint8Array),
    () => pool.reserve("r", 100).write(value),
    () => {
      pool.core.lock.acquire("hold");
      try {
        other.put("k", value, { meta });
      } finally {
        pool.core.lock.release();
      }
    },
    () => {
      const entry = recordOf(pool.core, "k");
      flipByte(temp.name, recordOffset(pool.core, entry, "text") + 1);
      resealRecord(pool.core, entry);
      using hit = pool.get("k");
      return hit!.meta; // not JSON any more, and a parser would quote it
    },
    () => {
      const entry = recordOf(pool.core, "k");
      const { start } = pool.core.table.extents(entry)![0]!;
      flipByte(temp.name, pool.core.geometry.data_offset + start * BLOCK);
      using hit = pool.get("k");
      return hit!.verify();
    },
  ];
  for (const refusal of refusals) {
    let thrown: unknown;
    try {
      refusal();
    } catch (error) {
      thrown = error;
    }
    assert.ok(thrown, refusal.toString());
    assert.ok(!textOf(thrown).includes(SECRET), textOf(thrown));
    assert.ok(!textOf(thrown).includes(SECRET.slice(4)), textOf(thrown));
  }
  const { problems } = pool.check({ values: true });
  assert.ok(problems.length > 0);
  const dropped = pool.repair({ values: true });
  assert.ok(dropped.length > 0);
  assert.ok(!JSON.stringify([problems, dropped]).includes(SECRET));
});
