/**
 * What the tests of snapshots share: a pool's name and a directory of one test's
 * own, what is put into a pool and known of it, and hosts that count or refuse.
 *
 * @module
 */
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
import { hostPlatform } from "../ffi/mod.ts";
import type { Platform } from "../ffi/platform.ts";
import { Pool, restore } from "../lib/mod.ts";
import { readCatalogue } from "../lib/snapshot/generations.ts";
import type { Manifest } from "../lib/snapshot/manifest.ts";
import { bytesOf } from "./helpers.ts";

let made = 0;

/** Names for pools, and a directory, all gone at the end. */
export class TempSnapshot implements Disposable {
  readonly name = `test-snapshot-${process.pid}-${++made}`;
  readonly other = `${this.name}-other`;
  readonly path = mkdtempSync(join(tmpdir(), "cortex-snapshot-"));

  /** Removes the pools, and keeps what was saved of them. */
  destroy(): void {
    for (const name of [this.name, this.other]) {
      rmSync(`/dev/shm/cortex.${name}`, { force: true });
    }
  }

  files(): string[] {
    return readdirSync(this.path).sort();
  }

  [Symbol.dispose](): void {
    this.destroy();
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Puts so many entries: the same ones at every call, with other bytes by the seed. */
export function fill(
  pool: Pool,
  count: number,
  size_bytes = 40_000,
  seed = "",
): void {
  for (let i = 0; i < count; i++) {
    pool.put(`key-${i}`, bytesOf(`${i}${seed}`, size_bytes), { meta: { i } });
  }
}

/** The newest generation of a directory. */
export function generationOf(path: string): Manifest {
  return readCatalogue(hostPlatform(), path, "read").generations[0]!.manifest;
}

/** All that is known of a pool's entries, values included, without a use of any. */
export function contentsOf(pool: Pool) {
  return [...pool.entries()].sort((a, b) => a.key < b.key ? -1 : 1)
    .map((entry) => {
      const { core } = pool;
      const number = [...Array(core.table.count).keys()].find((number) =>
        core.table.state(number) === 2 &&
        core.contents.read(number)?.key === entry.key
      )!;
      const before = {
        access_tick: core.table.real(number, "access_tick"),
        sequence: core.table.real(number, "sequence"),
        last_access_at: core.table.real(number, "last_access_at"),
        access_count: core.table.word(number, "access_count"),
      };
      using hit = core.attachment ? pool.get(entry.key) : undefined;
      const value = hit && Buffer.from(hit.verify().bytes).toString("base64");
      return { ...entry, ...before, value };
    });
}

/** The snapshot, restored under another name, has what the pool has. */
export function assertSame(place: TempSnapshot, pool: Pool, when = ""): void {
  const expected = contentsOf(Pool.open(pool.name, { observe: true }));
  restore(place.other, { path: place.path });
  using copy = Pool.open(place.other, { observe: true });
  assert.deepEqual(contentsOf(copy), expected, when);
  copy.close();
  Pool.destroy(place.other);
}

/** A host of which every call is seen, those of its files and transfers included. */
export function watchedHost(
  before: (call: string, args: readonly unknown[]) => void,
): Platform {
  const watch = <T extends object>(target: T, prefix: string): T =>
    new Proxy(target, {
      get(_, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (name === "files") return watch(value as object, "files.");
        if (typeof value !== "function") return value;
        return (...args: unknown[]) => {
          before(prefix + String(name), args);
          const result: unknown = value.apply(target, args);
          return name === "openTransfers"
            ? watch(result as object, "transfers.")
            : result;
        };
      },
    });
  return watch(hostPlatform(), "");
}

/** Bytes that a host is asked to read from files, and to write to them. */
export function meteredHost() {
  const moved = { read: 0, written: 0 };
  const platform = watchedHost((call, args) => {
    if (call === "files.read") moved.read += (args[1] as Uint8Array).length;
    if (call === "files.write") moved.written += (args[1] as Uint8Array).length;
    if (call !== "transfers.start") return;
    const { kind, length } = args[0] as { kind: string; length: number };
    moved[kind === "read" ? "read" : "written"] += length;
  });
  return { platform, moved };
}

/** Turns over one byte in the midst of a file of a snapshot. */
export function flipFileByte(path: string, file: string): void {
  const bytes = readFileSync(join(path, file));
  bytes[bytes.length >> 1]! ^= 0xff;
  writeFileSync(join(path, file), bytes);
}
