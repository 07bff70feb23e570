import { test } from "node:test";
import assert from "node:assert/strict";
import { EntryTable } from "../../lib/entry_table.ts";
import { Hit } from "../../lib/hit.ts";
import { Links } from "../../lib/key_index.ts";
import { OWN_RUNTIME } from "../processes.ts";
import { fuzzCommands } from "./commands.ts";
import { Finding } from "./judge.ts";
import { fuzzPools } from "./pools.ts";
import { fuzzSnapshots } from "./snapshots.ts";

const SEED = Number(process.env["CORTEX_FUZZ_SEED"] ?? 1);
/** Bun's views cost more: it does a part. */
const SHARE = OWN_RUNTIME === "deno" ? 1 : 0.1;

test(`pools with damaged headers and tables (seed ${SEED})`, {
  timeout: 300_000,
}, () => {
  const { outcomes } = fuzzPools(SEED, 20_000 * SHARE);
  assert.ok(outcomes.get("open refused CORRUPT")! > 1000 * SHARE);
  assert.ok(outcomes.get("get refused CORRUPT")! > 1000 * SHARE);
  assert.ok(outcomes.get("repair done")! > 10_000 * SHARE);
});

test(`damaged snapshots (seed ${SEED})`, { timeout: 300_000 }, () => {
  const { outcomes } = fuzzSnapshots(SEED, 2000 * SHARE);
  assert.ok(outcomes.get("restore done")! > 300 * SHARE);
});

test(`command lines of every kind (seed ${SEED})`, {
  timeout: 300_000,
}, async () => {
  const { outcomes } = await fuzzCommands(SEED, 5000 * SHARE);
  for (const wanted of ["put 0", "evict 0", "check 0", "get 3", "put 2"]) {
    assert.ok(outcomes.get(wanted)! > 10 * SHARE, wanted);
  }
});

/** Replaces a method, for as long as `run` runs. */
function withDefect<T extends object, K extends keyof T>(
  target: T,
  method: K,
  replacement: T[K],
  run: () => void,
): void {
  const original = target[method];
  target[method] = replacement;
  try {
    run();
  } finally {
    target[method] = original;
  }
}

test("the fuzzer finds out that links are not checked", () => {
  withDefect(Links.prototype, "target", (link) => link - 1, () => {
    assert.throws(() => fuzzPools(SEED, 20_000), Finding);
  });
});

test("the fuzzer finds out that extents are not checked", () => {
  const { extents } = EntryTable.prototype;
  const unchecked: typeof extents = function (this: EntryTable, entry) {
    return extents.call(this, entry) ?? [{ start: 0, count: 1 }];
  };
  withDefect(EntryTable.prototype, "extents", unchecked, () => {
    assert.throws(() => fuzzPools(SEED, 20_000), Finding);
  });
});

test("the fuzzer finds out that value checksums are not looked at", () => {
  withDefect(Hit.prototype, "verify", function (this: Hit) {
    return this;
  }, () => {
    assert.throws(() => fuzzPools(SEED, 20_000), Finding);
  });
});
