/** Holds an entry of a pool until it is killed: `holder.ts POOL KEY`. */
import process from "node:process";
import { Pool } from "../../lib/pool.ts";

const [name, key] = process.argv.slice(2);
const pool = Pool.open(name!);
const hit = pool.get(key!);
console.log(hit ? "held" : "missed");
// Waits for its end; `hit` is used after that, so it is not let go before.
process.stdin.resume().on("end", () => hit?.release());
