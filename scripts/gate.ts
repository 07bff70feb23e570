/**
 * The gate: every check that a change must pass, in one run. Prints a line for
 * each, and at the end the sum of all tests of all suites.
 *
 *   deno run -A scripts/gate.ts [--only NAME]...
 *
 * @module
 */
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const SCRATCH = mkdtempSync(join(tmpdir(), "cortex-gate-"));
const COVERAGE = join(SCRATCH, "coverage");

/** One command of the gate. A suite counts its tests; a check counts as one. */
interface Step {
  readonly name: string;
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Where the command leaves its JUnit report, if it is a suite. */
  readonly report?: string;
}

interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

function denoTests(
  name: string,
  paths: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  coverage = false,
): Step {
  const report = join(SCRATCH, `${name.replaceAll(/\W+/g, "-")}.xml`);
  const flags = coverage
    ? [`--coverage=${COVERAGE}`, "--coverage-raw-data-only"]
    : [];
  return {
    name,
    report,
    environment: {
      ...environment,
      // For the programs that the tests start.
      ...(coverage ? { DENO_COVERAGE_DIR: COVERAGE } : {}),
    },
    command: [
      "deno",
      "test",
      "--allow-all",
      "--quiet",
      ...flags,
      `--junit-path=${report}`,
      ...paths,
    ],
  };
}

function bunTests(name: string, paths: readonly string[]): Step {
  const report = join(SCRATCH, `${name.replaceAll(/\W+/g, "-")}.xml`);
  return {
    name,
    report,
    command: [
      "bun",
      "test",
      "--timeout=120000",
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      ...paths,
    ],
  };
}

/** Suites of the library, the same under both runtimes. */
const LIBRARY = [
  "tests/unit",
  "tests/property",
  "tests/conformance",
  "tests/multiprocess",
];
const SIMULATOR = "tests/traces/sim.test.ts";
/** What breaks things on purpose: the long form is by hand, see docs/reliability.md. */
const FORCE = ["tests/sim", "tests/kill", "tests/fuzz"];
/** Suites that know nothing of shared memory, run once more over files. */
const ON_DISK = [
  "tests/conformance/reservation.test.ts",
  "tests/conformance/values.test.ts",
  "tests/conformance/entries.test.ts",
  "tests/conformance/eviction.test.ts",
  "tests/conformance/pressure.test.ts",
  "tests/conformance/check.test.ts",
  "tests/conformance/recovery.test.ts",
  "tests/conformance/steps.test.ts",
  "tests/conformance/hostile.test.ts",
];
const BINARY = { CORTEX_PROGRAM: join(ROOT, "dist", "cortex") };

/** In order; those of a group at the same time. */
const GROUPS: readonly (readonly Step[])[] = [
  [{ name: "format", command: ["deno", "fmt", "--check", "--quiet"] }],
  [{ name: "lint", command: ["deno", "lint", "--quiet"] }],
  [{ name: "types", command: ["deno", "task", "check"] }],
  [{ name: "build", command: ["deno", "run", "-A", "scripts/build.ts"] }],
  [denoTests("project, deno", ["tests/project"])],
  [denoTests("library, deno", [...LIBRARY, SIMULATOR], {}, true)],
  [
    denoTests("command line, deno", ["tests/cli"], {}, true),
    // These have a core to themselves, and make no pool. Counting what is covered
    // makes them six times slower, and nothing of it is new.
    denoTests("policies on traces, deno", ["tests/traces/prefix.test.ts"]),
  ],
  [{
    name: "coverage of lib",
    command: ["deno", "run", "-A", "scripts/coverage.ts", COVERAGE],
  }],
  [denoTests("command line, binary", ["tests/cli"], BINARY)],
  [denoTests("tier disk, deno", ON_DISK, { CORTEX_TEST_TIER: "disk" })],
  [denoTests("format reader, deno", ["tests/format"])],
  [{
    name: "examples in the docs",
    command: ["deno", "test", "--doc", "--allow-all", "--quiet", "lib"],
  }],
  [denoTests("simulation, kills, damage, deno", FORCE)],
  [bunTests(
    "library, bun",
    [...LIBRARY, SIMULATOR].map((path) => `./${path}`),
  )],
  [bunTests("simulation, damage, bun", ["./tests/sim", "./tests/fuzz"])],
  [{
    name: "demo on a real engine",
    command: ["./scripts/demo.sh"],
    environment: { CORTEX_SKIP_BUILD: "1" },
  }],
];

/** Lines of Bun and of Deno that say that a test, or its file, was run. */
const WENT_WELL =
  /^\(pass\) | \.\.\. ok \(|^running \d+ tests? |^\S+\.test\.ts:$|^\s*$/;

/** Sums the outermost suites of a JUnit report. */
function readReport(path: string): Tally | undefined {
  if (!existsSync(path)) return undefined;
  const head = /<testsuites\b[^>]*>/.exec(readFileSync(path, "utf8"))?.[0];
  if (head === undefined) return undefined;
  const attribute = (name: string) =>
    Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = attribute("failures") + attribute("errors");
  const skipped = attribute("skipped") + attribute("disabled");
  return { passed: attribute("tests") - failed - skipped, failed, skipped };
}

interface Ended {
  readonly ok: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

function run({ command, environment }: Step): Promise<Ended> {
  const [program = "", ...args] = command;
  const options = {
    cwd: ROOT,
    maxBuffer: 1 << 28,
    env: { ...process.env, NO_COLOR: "1", ...environment },
  };
  return new Promise((ended) => {
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      ended({ ok: error === null, stdout, stderr });
    });
    child.stdin?.end(); // nothing is said to any of them
  });
}

async function runStep(step: Step): Promise<Tally> {
  const begun = performance.now();
  const { ok, stdout, stderr } = await run(step);
  const counted = step.report === undefined
    ? { passed: ok ? 1 : 0, failed: ok ? 0 : 1, skipped: 0 }
    : readReport(step.report) ?? { passed: 0, failed: 1, skipped: 0 };
  // A suite that fails outside its tests, or that ran none, has failed.
  const empty = counted.passed + counted.failed === 0;
  if ((!ok || empty) && counted.failed === 0) counted.failed = 1;
  const seconds = ((performance.now() - begun) / 1000).toFixed(1);
  console.log(
    `${counted.failed === 0 ? "ok  " : "FAIL"} ${step.name.padEnd(31)} ${
      String(counted.passed).padStart(4)
    } passed, ${counted.failed} failed, ${counted.skipped} skipped  (${seconds} s)`,
  );
  if (counted.failed > 0) printFailures(`${stdout}\n${stderr}`);
  else printSkips(stdout);
  return counted;
}

/** What a failed step printed, but for what went well. */
function printFailures(output: string): void {
  const kept = output.split("\n").filter((line) => !WENT_WELL.test(line));
  console.log(kept.join("\n"));
}

/** A test that is skipped says why. */
function printSkips(output: string): void {
  for (const line of output.split("\n")) {
    if (/skipped because/i.test(line)) console.log(`     ${line.trim()}`);
  }
}

function chosenGroups(): readonly (readonly Step[])[] {
  const { values } = parseArgs({
    options: { only: { type: "string", multiple: true } },
  });
  const { only } = values;
  const isChosen = ({ name }: Step) =>
    !only || only.some((part) => name.includes(part));
  return GROUPS.map((group) => group.filter(isChosen));
}

const total: Tally = { passed: 0, failed: 0, skipped: 0 };
for (const group of chosenGroups()) {
  for (const tally of await Promise.all(group.map(runStep))) {
    total.passed += tally.passed;
    total.failed += tally.failed;
    total.skipped += tally.skipped;
  }
}
rmSync(SCRATCH, { recursive: true });
if (total.skipped > 0) console.log(`${total.skipped} skipped`);
console.log(`${total.passed} passed, ${total.failed} failed`);
process.exit(total.failed === 0 && total.passed > 0 ? 0 : 1);
