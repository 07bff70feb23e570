/**
 * What the tests share: pools that go away by themselves, values whose bytes
 * are known from their key, a host that fails on demand, and damage.
 *
 * Nothing here names a runtime: the same files run under Deno and Bun.
 *
 * @module
 */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { hostPlatform } from "../ffi/mod.ts";
import type { Platform } from "../ffi/platform.ts";
import { Control } from "../lib/control.ts";
import type { Core } from "../lib/core.ts";
import type { EncodedKey, KeyEncoder } from "../lib/key.ts";
import type { CortexError } from "../lib/errors.ts";
import { layOut } from "../lib/geometry.ts";
import { type Identity, writeIdentity } from "../lib/header.ts";
import {
  EntryState,
  HEADER,
  IDENTITY_END,
  PAGE_BYTES,
  RECORD,
  RECORD_BYTES,
} from "../lib/layout.ts";
import {
  type CreateOptions,
  type HandleOptions,
  type OpenOptions,
  Pool,
} from "../lib/pool.ts";

export { Pool };

/** A name that no other test, run or process has. */
export function uniqueName(): string {
  return `test-${process.pid}-${randomBytes(6).toString("hex")}`;
}

/**
 * With CORTEX_TEST_TIER=disk, the pools of `tempPool` are files in a directory of
 * this process: the same tests then show that tier disk is the same pool.
 */
const DISK = process.env["CORTEX_TEST_TIER"] === "disk"
  ? join(tmpdir(), "cortex-test-disk")
  : undefined;
// The processes that a test starts inherit it.
if (DISK) process.env["CORTEX_HOME"] = DISK;
const diskFile = (name: string) => `${DISK}/${name}.pool`;

/** Where a pool's segment is seen as a file. */
export function segmentFile(name: string): string {
  return DISK && existsSync(diskFile(name))
    ? diskFile(name)
    : `/dev/shm/cortex.${name}`;
}

/** A pool for one test: `using` closes its handles and removes it, come what may. */
export class TempPool implements Disposable {
  readonly name: string;
  readonly pool: Pool;
  readonly #handles: Pool[] = [];

  constructor(options: Partial<CreateOptions> = {}) {
    this.name = uniqueName();
    if (DISK) mkdirSync(DISK, { recursive: true });
    try {
      this.pool = Pool.create(this.name, {
        size: "1M",
        ...(DISK ? { tier: "disk", path: diskFile(this.name) } : {}),
        ...options,
      });
    } catch (error) {
      // It may have been made, and then not opened.
      rmSync(segmentFile(this.name), { force: true });
      throw error;
    }
    this.#handles.push(this.pool);
  }

  /** Another handle, closed with the rest. */
  open(options: OpenOptions = {}): Pool {
    const handle = Pool.open(this.name, options);
    this.#handles.push(handle);
    return handle;
  }

  [Symbol.dispose](): void {
    for (const handle of this.#handles) {
      // A test may have left the handle in any state: it is gone all the same.
      try {
        handle.close();
      } catch {
        handle.core.close();
      }
    }
    // Not by Pool.destroy: the test may have damaged the pool, or locked it.
    rmSync(segmentFile(this.name), { force: true });
    if (DISK) rmSync(`${DISK}/pools/${this.name}`, { force: true });
  }
}

export function tempPool(options: Partial<CreateOptions> = {}): TempPool {
  return new TempPool(options);
}

/** A reserved name whose segment is removed afterwards, however it came to be. */
export function tempName(): Disposable & { readonly name: string } {
  const name = uniqueName();
  return {
    name,
    [Symbol.dispose]: () => rmSync(segmentFile(name), { force: true }),
  };
}

/** Bytes that follow from a seed: different seeds differ nearly everywhere. */
export function bytesOf(seed: string | number, length: number): Uint8Array {
  let state = 0x811c_9dc5;
  for (const char of String(seed)) {
    state = Math.imul(state ^ char.codePointAt(0)!, 0x0100_0193);
  }
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) {
    // xorshift32: its state must not be 0.
    state ^= state << 13, state ^= state >>> 17, state ^= state << 5;
    if (state === 0) state = 1;
    bytes[i] = state >>> 11;
  }
  return bytes;
}

export function sameBytes(actual: Uint8Array, expected: Uint8Array): boolean {
  return Buffer.compare(actual, expected) === 0;
}

/** Fails with the first byte that differs, not with two dumps. */
export function assertBytes(
  actual: Uint8Array | undefined,
  expected: Uint8Array,
  what = "the value",
): void {
  assert.ok(actual, `${what} is missing`);
  assert.equal(actual.length, expected.length, `${what} has another length`);
  if (sameBytes(actual, expected)) return;
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  assert.fail(
    `${what} differs from byte ${at} on: ${actual[at]}, not ${expected[at]}`,
  );
}

/** The value of a key, copied out; `undefined` on a miss. */
export function valueOf(pool: Pool, key: string): Uint8Array | undefined {
  using hit = pool.get(key);
  return hit?.bytes.slice();
}

/** `check` with values finds nothing. */
export function assertWhole(pool: Pool, when = ""): void {
  const { ok, problems } = pool.check({ values: true });
  assert.deepEqual(problems, [], when);
  assert.equal(ok, true, when);
}

/** Keys of the sealed entries, sorted. */
export function keysOf(pool: Pool): string[] {
  return [...pool.entries()].map(({ key }) => key).sort();
}

type ErrorClass = abstract new (...args: never[]) => CortexError;

/**
 * Fails unless `run` refuses with that class of error, in words that a person
 * can act on.
 */
export function assertRefuses(
  run: () => unknown,
  expected: ErrorClass,
  pattern: RegExp = /./,
): CortexError {
  let thrown: unknown;
  try {
    run();
  } catch (error) {
    thrown = error;
  }
  assert.ok(thrown !== undefined, `nothing was thrown, not ${expected.name}`);
  assert.ok(
    thrown instanceof expected,
    `threw ${String(thrown)}, not a ${expected.name}`,
  );
  assert.match(thrown.message, pattern);
  assert.match(thrown.message, /^Cannot \S.* .*: \S.*[^.]$/s);
  assert.doesNotMatch(thrown.message, /undefined|\[object/);
  return thrown;
}

type Overrides = {
  [Name in keyof Platform]?: Platform[Name];
};

/** The host with some calls replaced. */
export function hostWith(overrides: Overrides): Platform {
  const host = hostPlatform();
  return new Proxy(host, {
    get(_, name) {
      if (Object.hasOwn(overrides, name)) {
        return overrides[name as keyof Platform];
      }
      const value: unknown = Reflect.get(host, name, host);
      // The host's own methods need the host itself for their private fields.
      return typeof value === "function" ? value.bind(host) : value;
    },
  });
}

/** Reads a range of a segment from beside the library. */
export function readSegment(
  name: string,
  offset: number,
  length: number,
): Buffer {
  const fd = openSync(segmentFile(name), "r");
  try {
    const bytes = Buffer.alloc(length);
    assert.equal(readSync(fd, bytes, 0, length, offset), length);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/** Writes into a segment from beside the library: every mapping sees it. */
export function writeSegment(
  name: string,
  offset: number,
  bytes: Uint8Array,
): void {
  const fd = openSync(segmentFile(name), "r+");
  try {
    assert.equal(writeSync(fd, bytes, 0, bytes.length, offset), bytes.length);
  } finally {
    closeSync(fd);
  }
}

/** A header that is whole, and gives the policy other room than it takes. */
export function forgePolicyRoom(
  name: string,
  identity: Identity,
  policy_bytes: number,
): void {
  const { size_bytes, block_bytes, max_entries } = identity.geometry;
  const geometry = layOut({
    size_bytes,
    block_bytes,
    max_entries,
    policyBytes: () => policy_bytes,
  });
  const page = new Control(new ArrayBuffer(PAGE_BYTES));
  writeIdentity(page, { ...identity, geometry }, hostPlatform());
  writeSegment(name, 0, page.u8.subarray(0, IDENTITY_END));
}

/** Turns every bit of one byte over. */
export function flipByte(name: string, offset: number): void {
  const [byte] = readSegment(name, offset, 1);
  writeSegment(name, offset, Uint8Array.of(byte! ^ 0xff));
}

export function segmentExists(name: string): boolean {
  return existsSync(segmentFile(name));
}

/** Offset in the segment of a field of a record. */
export function recordOffset(
  core: Core,
  entry: number,
  field: keyof typeof RECORD,
): number {
  return core.geometry.records_offset + entry * RECORD_BYTES + RECORD[field];
}

/** A key as the pool looks for it, to be kept. */
export function encoded(keys: KeyEncoder, key: string): EncodedKey {
  const { bytes, hash } = keys.encode(key);
  return { bytes: bytes.slice(), hash: hash.slice() };
}

/** The record of a sealed entry. */
export function recordOf(core: Core, key: string): number {
  for (let entry = 0; entry < core.table.count; entry++) {
    if (
      core.table.state(entry) === EntryState.SEALED &&
      core.contents.read(entry)?.key === key
    ) return entry;
  }
  assert.fail(`there is no entry ${key}`);
}

/** Makes a record's checksum right again after it was changed from beside. */
export function resealRecord(core: Core, entry: number): void {
  const from = recordOffset(core, entry, "crc") + 4;
  const to = recordOffset(core, entry, "state") + RECORD_BYTES;
  core.control.u32[recordOffset(core, entry, "crc") >> 2] = core.platform.crc32(
    core.control.u8.subarray(from, to),
  );
}

/** A handle's pool, as if its last holder of the lock had died in a change. */
export function markDirty(core: Core): void {
  core.header.set("dirty", 1);
}

/** Offset of a bit's byte in the free list, and the bit in it. */
export function freeListBit(block: number): { offset: number; bit: number } {
  return { offset: PAGE_BYTES + (block >>> 3), bit: 1 << (block & 7) };
}

export function headerOffset(field: keyof typeof HEADER): number {
  return HEADER[field];
}

/** Lock timeouts short enough for a test. */
export const IMPATIENT: HandleOptions = { lockTimeout_ms: 50 };

/**
 * Fills the pool up, then frees `holes` runs of `hole_blocks` blocks, no two of
 * them next to each other. Whatever is larger than a hole has to be split.
 */
export function fragment(
  pool: Pool,
  options: { readonly holes: number; readonly hole_blocks: number },
): void {
  const { holes, hole_blocks } = options;
  const { block_size_bytes, free_blocks } = pool.status();
  const put = (key: string, blocks: number) =>
    pool.put(key, bytesOf(key, blocks * block_size_bytes));
  for (let i = 0; i < holes; i++) {
    put(`hole-${i}`, hole_blocks);
    put(`wall-${i}`, 1);
  }
  const rest = free_blocks - holes * (hole_blocks + 1);
  assert.ok(rest >= 0, "the pool is too small for that many holes");
  if (rest > 0) put("rest", rest);
  assert.equal(pool.status().free_blocks, 0);
  for (let i = 0; i < holes; i++) pool.delete(`hole-${i}`);
}

/** Puts entries of one block under these keys, in this order. */
export function putBlocks(pool: Pool, keys: readonly string[]): void {
  for (const key of keys) pool.put(key, bytesOf(key, 4096));
}

/** So many keys. */
export function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `e${i}`);
}
