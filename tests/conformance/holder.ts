/**
 * A process that takes something of a pool, says so, and waits to be killed.
 *
 *     holder.ts NAME WHAT
 */
import process from "node:process";
import { Pool } from "../helpers.ts";

const [name, what] = process.argv.slice(2);
const pool = Pool.open(name!);
const { core } = pool;

switch (what) {
  case "pins":
    pool.get("pinned")!.bytes;
    break;
  case "reservation": {
    const slot = pool.reserve("half-written", 3 * 4096, { tokens: 7 });
    slot.bytes.fill(0xaa);
    break;
  }
  case "lock":
    core.lock.acquire("hold");
    break;
  case "change":
    // In the midst of a change: a block taken in the free list, nothing else.
    core.lock.acquire("hold");
    core.header.set("dirty", 1);
    core.freeList.set(core.geometry.blocks - 1, 1);
    core.header.add("used_blocks", 1);
    break;
  default:
    throw new Error(`what is ${what}?`);
}
console.log("holding");
setInterval(() => {}, 1 << 30);
