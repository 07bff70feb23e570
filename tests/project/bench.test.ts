/** The bench tells a true story: of both runtimes, and of what got slower. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { judge } from "../../bench/limits.ts";
import { inTurn, percentile } from "../../bench/measure.ts";
import {
  findSlower,
  formatLoad,
  formatTable,
  type Report,
  type Result,
  toBaseline,
  toResult,
} from "../../bench/report.ts";
import { binaryOf } from "../processes.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const finding = {
  what: "put",
  at: "64 KiB",
  value: 10,
  unit: "us",
  against: "plain copy",
  against_value: 5,
  ratio: 0.5,
  better: "higher",
  spread: 0.1,
} as const;

function report(...results: Result[]): Report {
  return {
    begun_at: "2026-11-24T00:00:00.000Z",
    machine: { processor: "", cores: 2, memory_bytes: 0, kernel: "", load: 0 },
    scale: "usual",
    rounds: 1,
    results,
    left_out: [],
  };
}

/** What is slower by so much than it was, both ways a ratio can go. */
function slowerBy(times: number): string[] {
  const before = [
    toResult("pool", "deno 2.9.6", finding),
    toResult("pool", "bun 1.4.5", { ...finding, better: "lower" }),
  ];
  const now = before.map((result) => ({
    ...result,
    // Another version of a runtime is compared with the one before it.
    runtime: `${result.runtime}0`,
    ratio: result.better === "higher"
      ? result.ratio / times
      : result.ratio * times,
  }));
  return findSlower(toBaseline(report(...before)), now).map(({ name }) => name);
}

test("what got slower by 11% is named, and by 9% is not", () => {
  assert.deepEqual(slowerBy(1.11).sort(), [
    "bun, pool: put, 64 KiB / plain copy",
    "deno, pool: put, 64 KiB / plain copy",
  ]);
  assert.deepEqual(slowerBy(1.09), []);
  assert.deepEqual(slowerBy(0.5), []);
});

test("a figure that the baseline lacks is not slower", () => {
  const result = toResult("pool", "deno 2.9.6", finding);
  assert.deepEqual(findSlower(toBaseline(report()), [result]), []);
});

test("a bar is for its sizes, and for the ratio or the figure", () => {
  const at = (finding: Parameters<typeof judge>[1]) => judge("pool", finding);
  assert.deepEqual(at(finding), { limit: ">= 0.45", holds: true });
  assert.equal(at({ ...finding, ratio: 0.44 })?.holds, false);
  assert.equal(at({ ...finding, at: "4 KiB" }), undefined);
  assert.equal(judge("reserve", finding), undefined);
  const hit = { ...finding, what: "hit", value: 2.4 };
  assert.deepEqual(at(hit), { limit: "<= 2.5 us", holds: true });
  assert.equal(at({ ...hit, value: 2.6 })?.holds, false);
});

test("a busy machine is named", () => {
  const { machine } = report();
  assert.equal(formatLoad(machine), undefined);
  assert.match(formatLoad({ ...machine, load: 3 })!, /load 3\.0 on 2 cores/);
});

test("rounds are taken in turn, backwards every other time", async () => {
  let order = "";
  const contender = (name: string) => ({
    name,
    count: 1,
    run: () => void (order += name),
  });
  const samples = await inTurn([contender("a"), contender("b")], 2);
  assert.equal(order, "abbaab");
  assert.ok(samples.median("a") >= 0);
  assert.equal(percentile([3, 1, 2], 0.5), 2);
  assert.throws(() => samples.median("c"), /median of nothing/);
});

test("bench runs under both runtimes, writes its figures, and leaves nothing", () => {
  const scratch = mkdtempSync(join(tmpdir(), "cortex-bench-test-"));
  const output = join(scratch, "results.json");
  const baseline = join(scratch, "baseline.json");
  const bench = (...args: string[]) =>
    spawnSync(
      binaryOf("deno"),
      ["run", "-A", "bench/main.ts", "--quick", "--suite", "pool"]
        .concat(["--output", output, "--baseline", baseline], args),
      { cwd: ROOT, encoding: "utf8" },
    );
  const { pid, status, stdout, stderr } = bench("--save-baseline");
  assert.equal(status, 0, stderr);
  const { results, ...rest } = JSON.parse(
    readFileSync(output, "utf8"),
  ) as Report;
  assert.equal(rest.rounds, 1);
  assert.deepEqual(
    [...new Set(results.map(({ runtime }) => runtime.split(" ")[0]))],
    ["deno", "bun"],
  );
  for (const { value, against_value, ratio, limit, holds } of results) {
    for (const figure of [value, against_value, ratio]) {
      assert.ok(figure > 0 && figure < Infinity);
    }
    assert.equal(limit === null, holds === null);
  }
  assert.ok(
    results.some(({ what, against, limit }) =>
      what === "put" && against === "plain copy" && limit === ">= 0.45"
    ),
  );
  assert.ok(stdout.startsWith(formatTable(results)));
  const { ratios } = JSON.parse(readFileSync(baseline, "utf8"));
  assert.equal(Object.keys(ratios).length, results.length);
  assert.deepEqual(
    readdirSync("/dev/shm").filter((name) => name.includes(`bench-${pid}`)),
    [],
  );
  rmSync(scratch, { recursive: true });
});

test("bench refuses what it does not know", () => {
  const { status, stderr } = spawnSync(
    binaryOf("deno"),
    ["run", "-A", "bench/main.ts", "--suite", "nonsense"],
    { cwd: ROOT, encoding: "utf8" },
  );
  assert.equal(status, 2);
  assert.equal(stderr, "Cannot bench: there is no suite nonsense\n");
});
