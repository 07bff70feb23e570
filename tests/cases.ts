/**
 * Property tests: the cases are drawn by chance, but are the same in every run,
 * so that the gate says of two commits the same thing. `CORTEX_SEED=random` (or a
 * number) draws others, `CORTEX_CASES=50` fifty times as many: `deno task cases`.
 *
 * @module
 */
import process from "node:process";
import fc from "fast-check";

const { CORTEX_SEED = "1", CORTEX_CASES = "1" } = process.env;
const TIMES = Number(CORTEX_CASES);
const CASES_DEFAULT = 100;

/** How many cases to draw of a property that has so many in the gate. */
export function cases(count: number): number {
  return count * TIMES;
}

fc.configureGlobal({
  numRuns: cases(CASES_DEFAULT),
  ...(CORTEX_SEED === "random" ? {} : { seed: Number(CORTEX_SEED) }),
});

export { fc };
