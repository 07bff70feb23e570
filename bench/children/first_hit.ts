/**
 * A new process that wants one value: loads a library, opens what it finds in
 * its first argument, reads a key, and prints the milliseconds it took.
 *
 * @module
 */
import process from "node:process";

const [kind, place = "", key = ""] = process.argv.slice(2);
const begun = performance.now();

async function hitPool(): Promise<number | undefined> {
  const { Pool } = await import("../../lib/mod.ts");
  using pool = Pool.open(place);
  using hit = pool.get(key);
  return hit?.bytes.length;
}

async function hitLmdb(): Promise<number> {
  const { lmdb } = await import("../peers/lmdb.ts");
  const peer = await lmdb.open(place);
  const { length } = await peer.get(key);
  await peer.close();
  return length;
}

const length = await (kind === "pool" ? hitPool() : hitLmdb());
if (!length) throw new Error("a miss");
console.log(performance.now() - begun);
