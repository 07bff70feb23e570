/**
 * The bench: how the figures compare with the peers, the limits and the
 * baseline, all taken in one run.
 *
 *   deno task bench [--suite NAME[,NAME...]] [--runtime deno,bun] [--rounds N]
 *     [--quick | --full] [--json] [--output FILE]
 *     [--compare] [--save-baseline] [--baseline FILE]
 *
 * @module
 */
import { writeFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { runSuites } from "./driver.ts";
import {
  type Baseline,
  describeMachine,
  findSlower,
  formatLeftOut,
  formatLoad,
  formatSlower,
  formatTable,
  readBaseline,
  type Report,
  toBaseline,
} from "./report.ts";
import { isRuntime, RUNTIMES } from "./runtimes.ts";
import type { Scale } from "./suite.ts";
import { isSuiteName, SUITE_NAMES } from "./suites/mod.ts";

const ROUNDS = { quick: 1, usual: 7, full: 9 } as const;
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const OPTIONS = {
  suite: { type: "string", default: SUITE_NAMES.join() },
  runtime: { type: "string", default: RUNTIMES.join() },
  rounds: { type: "string" },
  quick: { type: "boolean" },
  full: { type: "boolean" },
  json: { type: "boolean" },
  output: { type: "string", default: here("results.json") },
  compare: { type: "boolean" },
  "save-baseline": { type: "boolean" },
  baseline: { type: "string", default: here("baseline.json") },
} as const;

function refuse(why: string): never {
  console.error(`Cannot bench: ${why}`);
  process.exit(2);
}

function parseOptions() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    refuse((error as Error).message);
  }
}

const options = parseOptions();

function listed<T extends string>(
  text: string,
  isOne: (name: string) => name is T,
  what: string,
): T[] {
  return text.split(",").map((name) =>
    isOne(name) ? name : refuse(`there is no ${what} ${name}`)
  );
}

function wantedRounds(scale: Scale): number {
  const rounds = Number(options.rounds ?? ROUNDS[scale]);
  if (Number.isInteger(rounds) && rounds > 0) return rounds;
  refuse(`--rounds is a whole number from 1 on, not ${options.rounds}`);
}

async function measure(): Promise<Report> {
  const scale = options.quick ? "quick" : options.full ? "full" : "usual";
  const rounds = wantedRounds(scale);
  const begun_at = new Date().toISOString(), machine = describeMachine();
  const outcome = await runSuites({
    scale,
    rounds,
    suites: listed(options.suite, isSuiteName, "suite"),
    runtimes: listed(options.runtime, isRuntime, "runtime"),
    progress: (line) => console.error(`... ${line}`),
  });
  return { begun_at, machine, scale, rounds, ...outcome };
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}

function tell(report: Report): void {
  console.log(formatTable(report.results));
  console.log();
  for (const line of formatLeftOut(report)) console.log(line);
  const busy = formatLoad(report.machine);
  if (busy) console.log(busy);
}

/** @returns whether nothing got slower. */
function compare(baseline: Baseline, report: Report): boolean {
  const slower = findSlower(baseline, report.results);
  for (const one of slower) console.error(formatSlower(one));
  if (slower.length === 0) console.error("Nothing got slower by more than 10%");
  return slower.length === 0;
}

const baseline = readBaseline(options.baseline);
if (options.compare && !baseline) {
  refuse(`there is no baseline ${options.baseline}: --save-baseline makes one`);
}
const report = await measure();
writeJson(options.output, report);
if (options.json) console.log(JSON.stringify(report, null, 2));
else tell(report);
if (options.compare && baseline && !compare(baseline, report)) {
  process.exitCode = 1;
}
if (options["save-baseline"]) {
  writeJson(options.baseline, toBaseline(report, baseline));
}
