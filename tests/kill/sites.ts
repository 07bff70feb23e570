/**
 * Kills a process at every call of its host, one after the other, in every
 * operation, and looks each time at what it leaves. And at every store to shared
 * memory, which is where a change is half-way.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { NotFoundError } from "../../lib/errors.ts";
import { Pool } from "../../lib/pool.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import {
  segmentExists,
  uniqueName,
  valueOf as bytesUnder,
} from "../helpers.ts";
import { readStamp } from "../multiprocess/stamped.ts";
import { binaryOf, RUNTIMES } from "../processes.ts";
import {
  DELETED_KEY,
  NEW_KEY,
  OLD_KEYS,
  type OperationName,
  OPERATIONS,
  REPLACED_KEY,
  SIZE_BYTES,
  valueOf,
} from "./operations.ts";

const SCRIPT = fileURLToPath(new URL("./suicide.ts", import.meta.url));
/** Whoever comes next must have the lock within this. */
const NEXT_LOCK_MS = 1000;

/** What a walk found. */
export interface Walk {
  readonly sites: number;
  /** The longest that the next one had to wait for the pool. */
  readonly longest_wait_ms: number;
}

/** Where a process is killed: at its n-th call of the host, or its n-th store. */
export type SiteKind = "call" | "store";

/**
 * Kills at every site of an operation, or at every `stride`-th; both runtimes in
 * turn.
 */
export function walkSites(
  operation: OperationName,
  kind: SiteKind = "call",
  stride = 1,
): Walk {
  let longest_wait_ms = 0, sites = 0;
  for (let site = 1;; site += stride) {
    using stage = new Stage(operation, kind, site);
    if (stage.run()) return { sites, longest_wait_ms };
    longest_wait_ms = Math.max(longest_wait_ms, stage.look());
    sites++;
  }
}

/** A pool and a snapshot, made anew for each kill. */
class Stage implements Disposable {
  readonly #operation: OperationName;
  readonly #kind: SiteKind;
  readonly #site: number;
  readonly #name = uniqueName();
  readonly #directory = mkdtempSync(join(tmpdir(), "cortex-kill-"));

  constructor(operation: OperationName, kind: SiteKind, site: number) {
    this.#operation = operation;
    this.#kind = kind;
    this.#site = site;
    using pool = Pool.create(this.#name, { size: SIZE_BYTES });
    for (const key of OLD_KEYS) pool.put(key, valueOf(key, 1));
    persist(pool, { path: this.#directory });
    if (operation === "create" || operation === "restore") pool.destroy();
    // So that the next snapshot differs from the first.
    if (operation === "persist") pool.put(NEW_KEY, valueOf(NEW_KEY, 2));
  }

  /** Whether it came to its end. */
  run(): boolean {
    const runtime = RUNTIMES[(this.#site >> 1) % RUNTIMES.length]!;
    const flags = runtime === "deno" ? ["run", "-A", "-q"] : ["run"];
    const { status, signal, stderr } = spawnSync(
      binaryOf(runtime),
      [...flags, SCRIPT, this.#operation, this.#name, this.#directory],
      {
        encoding: "utf8",
        env: {
          ...process.env,
          [`CORTEX_KILL_AT_${this.#kind.toUpperCase()}`]: String(this.#site),
        },
      },
    );
    if (signal === "SIGKILL") return false;
    assert.equal(status, 0, `${this.#what}: ${stderr}`);
    return true;
  }

  /**
   * Proves that whoever comes next finds all in order.
   *
   * @returns how long he had to wait, in milliseconds.
   */
  look(): number {
    const begun = performance.now();
    const pool = this.#open();
    const waited_ms = performance.now() - begun;
    assert.ok(
      waited_ms < NEXT_LOCK_MS,
      `${this.#what}: the next had to wait ${waited_ms} ms`,
    );
    try {
      const { problems } = pool.check({ values: true });
      assert.deepEqual(problems, [], this.#what);
      assert.equal(pool.core.header.get("reserved"), 0, this.#what);
      this.#expectValues(pool);
      pool.put("after", valueOf("after", 2));
    } finally {
      pool.destroy();
    }
    this.#expectSnapshot();
    return waited_ms;
  }

  /** The pool as it was left; made if it was not there, or not any more. */
  #open(): Pool {
    try {
      return Pool.open(this.#name);
    } catch (error) {
      const mayMiss = ["create", "restore", "destroy"].includes(
        this.#operation,
      );
      assert.ok(error instanceof NotFoundError && mayMiss, String(error));
      return Pool.create(this.#name, { size: SIZE_BYTES });
    }
  }

  #expectValues(pool: Pool): void {
    const mayMissAll = [
      "create",
      "destroy",
      "restore",
      "evict",
      "put under pressure",
    ].includes(this.#operation);
    for (const key of OLD_KEYS) {
      const bytes = bytesUnder(pool, key);
      if (bytes === undefined) {
        const mayMiss = mayMissAll ||
          (this.#operation === "delete" && key === DELETED_KEY);
        assert.ok(mayMiss, `${this.#what}: ${key} is lost`);
        continue;
      }
      const { version } = readStamp(key, bytes);
      const mayBeNew = this.#operation === "replace" && key === REPLACED_KEY;
      assert.ok(version === 1 || mayBeNew, `${this.#what}: ${key}`);
    }
    const made = bytesUnder(pool, NEW_KEY);
    if (made && this.#operation !== "put under pressure") {
      readStamp(NEW_KEY, made);
    }
  }

  /** The former snapshot loads, or the new one, and the next persist tidies up. */
  #expectSnapshot(): void {
    restore(this.#name, { path: this.#directory });
    using pool = Pool.open(this.#name);
    for (const key of OLD_KEYS) {
      readStamp(key, bytesUnder(pool, key) ?? new Uint8Array());
    }
    assert.deepEqual(pool.check({ values: true }).problems, [], this.#what);
    persist(pool, { path: this.#directory });
    const litter = readdirSync(this.#directory).filter((file) =>
      file.endsWith(".tmp")
    );
    assert.deepEqual(litter, [], this.#what);
    pool.destroy();
  }

  get #what(): string {
    return `${this.#operation}, killed at ${this.#kind} ${this.#site}`;
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
    if (segmentExists(this.#name)) Pool.destroy(this.#name);
    // What a killed create left is for the next one of that name.
    Pool.create(this.#name, { size: SIZE_BYTES }).destroy();
  }
}

export const OPERATION_NAMES = Object.keys(OPERATIONS) as OperationName[];
