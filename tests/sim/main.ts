/**
 * Simulates by hand: `deno task sim [--seed N] [--steps N] [--mutant NAME]`.
 *
 * It prints its seed; the same seed does everything again.
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { MUTANTS } from "./mutants.ts";
import { simulate, Violation } from "./simulation.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    steps: { type: "string", default: "100000" },
    mutant: { type: "string" },
    processes: { type: "string", default: "4" },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31));
const begun = performance.now();
console.log(`seed ${seed}`);
if (values.mutant !== undefined && !MUTANTS[values.mutant]) {
  console.error(
    `there is no such mutant; there are: ${
      Object.keys(MUTANTS).map((name) => `\n  ${name}`).join("")
    }`,
  );
  process.exit(2);
}
try {
  const report = await simulate({
    seed,
    steps: Number(values.steps),
    processes: Number(values.processes),
    ...(values.mutant === undefined ? {} : { mutant: values.mutant }),
    onEpisode: ({ steps, episodes }) => {
      if (process.stdout.isTTY) {
        process.stdout.write(`\r${steps} steps, ${episodes} episodes`);
      }
    },
  });
  const { outcomes, ...totals } = report;
  console.log(totals);
  for (const [name, count] of [...outcomes].sort()) {
    console.log(`${String(count).padStart(8)}  ${name}`);
  }
  const seconds = (performance.now() - begun) / 1000;
  console.log(`nothing was wrong, in ${seconds.toFixed(1)} s`);
} catch (error) {
  if (!(error instanceof Violation)) throw error;
  console.error(`\n${error.message}`);
  process.exit(1);
}
