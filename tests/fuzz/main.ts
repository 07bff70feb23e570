/**
 * Damages things by hand: `deno task fuzz --what pools|snapshots|commands
 * [--seed N] [--rounds N]`.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { fuzzCommands } from "./commands.ts";
import { fuzzPools } from "./pools.ts";
import { fuzzSnapshots } from "./snapshots.ts";

const KINDS = {
  pools: fuzzPools,
  snapshots: fuzzSnapshots,
  commands: fuzzCommands,
};

const { values } = parseArgs({
  options: {
    what: { type: "string", default: "pools" },
    seed: { type: "string" },
    rounds: { type: "string", default: "20000" },
  },
});
const fuzz = KINDS[values.what as keyof typeof KINDS];
if (!fuzz) throw new Error(`--what is one of ${Object.keys(KINDS).join(", ")}`);
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
console.log(`seed ${seed}`);
const begun = performance.now();
const report = await fuzz(seed, Number(values.rounds), (done) => {
  if (process.stdout.isTTY && done % 100 === 0) {
    process.stdout.write(`\r${done}`);
  }
});
for (const [name, count] of [...report.outcomes].sort()) {
  console.log(`${String(count).padStart(9)}  ${name}`);
}
const seconds = (performance.now() - begun) / 1000;
console.log(
  `${report.rounds} rounds, nothing was wrong, in ${seconds.toFixed(1)} s`,
);
