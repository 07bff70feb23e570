import { test } from "node:test";
import assert from "node:assert/strict";
import process from "node:process";
import { killAtRandom, killHolders } from "./campaign.ts";
import { OPERATION_NAMES, walkSites } from "./sites.ts";

const KILLS = 300, HOLDERS = 20;

test(`${KILLS} random kills of writers and readers cost nobody a byte`, {
  timeout: 400_000,
}, async () => {
  const { kills, recoveries } = await killAtRandom(KILLS);
  assert.equal(kills, KILLS);
  assert.ok(recoveries > 0, "nobody was killed in the midst of a change");
});

test(`what ${HOLDERS} killed holders had pinned is free again`, {
  timeout: 120_000,
}, async () => {
  await killHolders(HOLDERS);
});

for (const operation of OPERATION_NAMES) {
  test(`${operation}, killed at every call of its host, leaves all in order`, {
    timeout: 120_000,
  }, () => {
    const { sites } = walkSites(operation);
    assert.ok(sites > 5, `${sites} sites`);
  });
}

// In the midst of a change: there are hundreds of these, so some of them.
for (
  const operation of [
    "put under pressure",
    "replace",
    "evict",
    "check",
  ] as const
) {
  test(`${operation}, killed between stores, leaves all in order`, {
    timeout: 120_000,
  }, () => {
    const { sites } = walkSites(operation, "store", 7);
    assert.ok(sites > 5, `${sites} sites`);
  });
}

/** With a defect built into every process that is started. */
async function withMutant(
  mutant: string,
  run: () => Promise<unknown>,
): Promise<void> {
  process.env["CORTEX_TEST_MUTANT"] = mutant;
  try {
    await run();
  } finally {
    delete process.env["CORTEX_TEST_MUTANT"];
  }
}

test("the walk finds out that changes are not marked", async () => {
  await withMutant("dirty is not set", async () => {
    await assert.rejects(async () => await walkSites("evict", "store", 3));
  });
});

test("the campaign finds out that the lock is not taken", {
  timeout: 120_000,
}, async () => {
  await withMutant(
    "the lock is not taken",
    () => assert.rejects(killAtRandom(KILLS)),
  );
});
