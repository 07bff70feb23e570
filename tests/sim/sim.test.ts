import { test } from "node:test";
import assert from "node:assert/strict";
import { OWN_RUNTIME } from "../processes.ts";
import { MUTANTS } from "./mutants.ts";
import { simulate, Violation } from "./simulation.ts";

// A thread costs Bun more to wake: it simulates less.
const STEPS = OWN_RUNTIME === "deno" ? 100_000 : 10_000;
const SEED = Number(process.env["CORTEX_SIM_SEED"] ?? 1);
/** In which every mutant must be found; a row of short ones varies more. */
const MUTANT_STEPS = 300_000;
const SLICE_STEPS = 2500;
/** The first of their seeds, from which the rarest is found soon. */
const MUTANT_SEED = 11;

test(`${STEPS} steps of four processes break nothing (seed ${SEED})`, {
  timeout: 600_000,
}, async () => {
  const report = await simulate({ seed: SEED, steps: STEPS });
  // Enough happened for that to mean something.
  const { deaths, faults, recoveries, powerLosses, checks } = report;
  for (const count of [deaths, faults, recoveries, powerLosses, checks]) {
    assert.ok(count > STEPS / 5000, JSON.stringify(report));
  }
  for (
    const outcome of [
      "put done",
      "get done",
      "seal done",
      "delete done",
      "evict done",
      "persist done",
      "restore done",
      "destroy done",
      "check done",
      "repair done",
      "put died",
      "persist died",
      "put refused NO_SPACE",
    ]
  ) assert.ok(report.outcomes.has(outcome), `there was no ${outcome}`);
});

test("a seed does the same again", { timeout: 120_000 }, async () => {
  const run = () => simulate({ seed: 77, steps: 1500 });
  assert.deepEqual(await run(), await run());
});

// What a runtime does not change is proved under one of them.
for (const mutant of OWN_RUNTIME === "deno" ? Object.keys(MUTANTS) : []) {
  test(`the simulation finds out that ${mutant}`, {
    timeout: 300_000,
  }, async () => {
    for (let slice = 0; slice * SLICE_STEPS < MUTANT_STEPS; slice++) {
      try {
        const seed = MUTANT_SEED + slice;
        await simulate({ seed, steps: SLICE_STEPS, mutant });
      } catch (error) {
        assert.ok(error instanceof Violation, String(error));
        return;
      }
    }
    assert.fail(`not in ${MUTANT_STEPS} steps`);
  });
}
