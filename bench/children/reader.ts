/**
 * A process that reads or writes as fast as it can. It takes lines such as
 * `hits 200` (what to do, for how many milliseconds) and answers each by a
 * number: operations a second, or the 99th percentile in microseconds.
 *
 * @module
 */
import process from "node:process";
import { createInterface } from "node:readline";
import { Pool } from "../../lib/mod.ts";
import { percentile } from "../measure.ts";
import { randomBytes } from "../suite.ts";

const [name = "", keys = "1", size_bytes = "1"] = process.argv.slice(2);
const KEYS = Number(keys), SIZE_BYTES = Number(size_bytes);
/** Operations between two looks at the clock. */
const BATCH = 32;

const value = randomBytes(SIZE_BYTES);
const pool = Pool.open(name);
let turn = process.pid;

const nextKey = () => `shared-${turn++ % KEYS}`;

function hit(): void {
  using found = pool.get(nextKey());
  if (found?.bytes.length !== SIZE_BYTES) throw new Error("a miss");
}

function put(): void {
  pool.put(nextKey(), value);
}

/** Operations a second. */
function rateOf(operation: () => void, milliseconds: number): number {
  const begun = performance.now();
  let count = 0, now = begun;
  while (now < begun + milliseconds) {
    for (let i = 0; i < BATCH; i++) operation();
    count += BATCH;
    now = performance.now();
  }
  return count * 1000 / (now - begun);
}

function p99_us(operation: () => void, milliseconds: number): number {
  const took_us: number[] = [];
  const begun = performance.now();
  for (let before = begun; before < begun + milliseconds;) {
    operation();
    const after = performance.now();
    took_us.push((after - before) * 1000);
    before = after;
  }
  return percentile(took_us, 0.99);
}

const JOBS: Record<string, (milliseconds: number) => number> = {
  hits: (milliseconds) => rateOf(hit, milliseconds),
  puts: (milliseconds) => rateOf(put, milliseconds),
  "p99-hit": (milliseconds) => p99_us(hit, milliseconds),
};

// Ends with the process that gives the orders, however that ends.
const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => {
  const [job = "", milliseconds] = line.split(" ");
  console.log(JOBS[job]!(Number(milliseconds)));
});
lines.on("close", () => pool.close());
console.log("ready");
