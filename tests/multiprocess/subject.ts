/**
 * A process that does with a pool what it is told, a line a time, and answers
 * each with a line.
 *
 *     subject.ts NAME
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { CortexError } from "../../lib/errors.ts";
import type { Hit } from "../../lib/hit.ts";
import { Pool } from "../../lib/pool.ts";
import { spawn } from "node:child_process";
import { rawFork } from "./fork.ts";
import { readStamp, stampedValue } from "./stamped.ts";

const pool = Pool.open(process.argv[2]!);
const hits = new Map<string, Hit>();

const JOBS: Record<string, (...args: string[]) => unknown> = {
  put: (key, size) => {
    pool.put(key!, stampedValue(key!, 1, 1, Number(size)));
    return "put";
  },
  pin: (key) => {
    const hit = pool.get(key!);
    if (hit) hits.set(key!, hit);
    return hit ? "pinned" : "missed";
  },
  /** Reads what it has pinned, every byte of it. */
  verify: (key) => {
    readStamp(key!, hits.get(key!)!.bytes);
    return "same";
  },
  unpin: (key) => {
    hits.get(key!)!.release();
    return "unpinned";
  },
  reserve: (key, size) => {
    pool.reserve(key!, Number(size)).bytes.fill(0xaa);
    return "reserved";
  },
  lock: () => {
    pool.core.lock.acquire("hold");
    return "locked";
  },
  unlock: () => {
    pool.core.lock.release();
    return "unlocked";
  },
  /** In the midst of a change: a block taken in the free list, nothing else. */
  change: () => {
    const { core } = pool;
    core.lock.acquire("hold");
    core.header.set("dirty", 1);
    core.freeList.set(core.geometry.blocks - 1, 1);
    core.header.add("used_blocks", 1);
    return "changing";
  },
  fork: () => rawFork(),
  child: () => spawn("sleep", ["1000"], { stdio: "ignore" }).pid,
  close: () => {
    pool.close();
    return "closed";
  },
  exit: () => process.exit(0),
};

console.log(`ready ${process.pid}`);
for await (const line of createInterface({ input: process.stdin })) {
  const [job, ...args] = line.split(" ");
  try {
    console.log(String(JOBS[job!]!(...args)));
  } catch (error) {
    if (!(error instanceof CortexError)) throw error;
    console.log(`${error.code} ${error.message}`);
  }
}
