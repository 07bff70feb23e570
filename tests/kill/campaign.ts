/**
 * Kills processes at random moments, again and again, while others go on.
 *
 * @module
 */
import assert from "node:assert/strict";
import { setPriority } from "node:os";
import type { Pool } from "../../lib/pool.ts";
import { tempPool } from "../helpers.ts";
import { stampedValue } from "../multiprocess/stamped.ts";
import { RUNTIMES, Worker } from "../processes.ts";

const WORKER = new URL("../multiprocess/worker.ts", import.meta.url);
const HOLDER = new URL("./holder.ts", import.meta.url);
const WRITERS = 4, READERS = 2;
/** Longer than any campaign. */
const FOR_EVER_MS = 10 ** 8;
const NEXT_LOCK_MS = 1000;
const HOT_KEYS = 8;

/** What a campaign found. Anything wrong is thrown. */
export interface Campaign {
  readonly kills: number;
  readonly recoveries: number;
  readonly longest_lock_ms: number;
  /** Of each kill, sorted. */
  readonly lock_ms: readonly number[];
}

/** One of the processes that are killed. */
interface Victim {
  readonly job: "write" | "read-among-the-dying";
  worker: Worker;
}

/**
 * Four writers and two readers, of both runtimes; one of them is killed at a
 * random moment, and another takes its place. After each kill the lock must be
 * free within a second and the pool whole; readers check every byte they see.
 */
export async function killAtRandom(
  kills: number,
  onKill: (done: number) => void = () => {},
): Promise<Campaign> {
  using temp = tempPool({ size: "16M", policy: "priority", blockSize: "4K" });
  putHotKeys(temp.pool);
  const victims = await startAll(temp.name);
  const lock_ms: number[] = [];
  try {
    for (let kill = 0; kill < kills; kill++) {
      const victim = victims[Math.floor(Math.random() * victims.length)]!;
      // Nobody ever had that number: readers tell writers apart by it.
      const next = start(victim.job, temp.name, victims.length + kill + 1);
      assert.equal(await next.line(), "ready");
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 10));
      ahead(victim.worker);
      await victim.worker.kill();
      assert.equal(victim.worker.failure, "");
      lock_ms.push(lookAt(temp.pool, `after kill ${kill + 1}`));
      behind(next);
      victim.worker = next;
      onKill(kill + 1);
    }
  } finally {
    for (const { worker } of victims) await worker.kill();
  }
  for (const { worker } of victims) assert.equal(worker.failure, "");
  lookAt(temp.pool, "at the end");
  assert.deepEqual(temp.pool.check({ values: true }).problems, []);
  assert.equal(temp.pool.core.header.get("reserved"), 0);
  lock_ms.sort((a, b) => a - b);
  return {
    kills,
    recoveries: temp.pool.status().recoveries,
    longest_lock_ms: lock_ms.at(-1) ?? 0,
    lock_ms,
  };
}

/**
 * Processes that hold an entry and are killed: what they held must be free for
 * others within a second.
 */
export async function killHolders(
  count: number,
  onKill: (done: number) => void = () => {},
): Promise<Campaign> {
  using temp = tempPool({ size: "1M" });
  const lock_ms: number[] = [];
  for (let kill = 0; kill < count; kill++) {
    temp.pool.put("held", stampedValue("held", 1, kill, 50_000));
    const holder = new Worker(RUNTIMES[kill % 2]!, HOLDER, [temp.name, "held"]);
    assert.equal(await holder.line(), "held");
    temp.pool.delete("held");
    assert.ok(temp.pool.status().used_bytes > 0, "it was not held");
    await holder.kill();
    const begun = performance.now();
    temp.pool.evict({ percent: 0 });
    lock_ms.push(performance.now() - begun);
    assert.equal(temp.pool.status().used_bytes, 0, "it is still held");
    assert.ok(lock_ms.at(-1)! < NEXT_LOCK_MS, `${lock_ms.at(-1)} ms`);
    onKill(kill + 1);
  }
  assert.deepEqual(temp.pool.check({ values: true }).problems, []);
  lock_ms.sort((a, b) => a - b);
  return {
    kills: count,
    recoveries: temp.pool.status().recoveries,
    longest_lock_ms: lock_ms.at(-1) ?? 0,
    lock_ms,
  };
}

function putHotKeys(pool: Pool): void {
  for (let i = 0; i < HOT_KEYS; i++) {
    pool.put(`hot-${i}`, stampedValue(`hot-${i}`, 99, 1, 500), {
      priority: 9,
      tokens: 1,
      meta: { writer: 99 },
    });
  }
}

function start(job: Victim["job"], name: string, number: number): Worker {
  return new Worker(RUNTIMES[number % 2]!, WORKER, [
    job,
    name,
    String(number),
    String(FOR_EVER_MS),
  ]);
}

async function startAll(name: string): Promise<Victim[]> {
  const victims = Array.from({ length: WRITERS + READERS }, (_, i): Victim => {
    const job = i < WRITERS ? "write" : "read-among-the-dying";
    return { job, worker: start(job, name, i + 1) };
  });
  for (const { worker } of victims) {
    assert.equal(await worker.line(), "ready");
    behind(worker);
  }
  return victims;
}

/** Those at work go behind the one that is being started: so it comes up at once. */
function behind({ pid }: Worker): void {
  setPriority(pid, 10);
}

/**
 * Who is killed gives back what it held once it runs again: on a busy machine that
 * must not be behind all others.
 */
function ahead({ pid }: Worker): void {
  try {
    setPriority(pid, 0);
  } catch {
    // Only some users may.
  }
}

/**
 * Takes the lock as the next one would, and has the pool checked.
 *
 * @returns how long it took to get the lock, recovery and all.
 */
function lookAt(pool: Pool, when: string): number {
  const begun = performance.now();
  pool.evict({ percent: 0 });
  const waited_ms = performance.now() - begun;
  assert.ok(waited_ms < NEXT_LOCK_MS, `${when}: ${waited_ms} ms for the lock`);
  assert.deepEqual(pool.check().problems, [], when);
  return waited_ms;
}
