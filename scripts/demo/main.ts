/**
 * The main job, end to end, on the KV cache of a real engine (llama.cpp): a
 * prompt is read cold and its state put in a pool; another process finds it and
 * computes only the rest; the pool is persisted, lost as in a reboot, restored,
 * and used again. Every step is a process of its own. Exits non-zero if any byte
 * or token differs.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { formatBytes } from "../../lib/units.ts";
import { installEngine } from "./install.ts";
import { writeModel } from "./model.ts";
import type { StepReport } from "./step.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const CORTEX = join(ROOT, "dist", "cortex");
const STEP = join(ROOT, "scripts", "demo", "step.ts");
const POOL = `demo-${process.pid}`;

interface Ran {
  readonly stdout: string;
  readonly took_ms: number;
}

function execute(command: string, args: readonly string[]): Ran {
  const begun = performance.now();
  const { status, signal, stdout, stderr } = spawnSync(command, args, {
    encoding: "utf8",
  });
  const took_ms = performance.now() - begun;
  if (status === 0) return { stdout, took_ms };
  if (signal) throw new Error(`The demo was ended by ${signal}`);
  throw new Error(
    `${[command, ...args].join(" ")} failed:\n${stdout}${stderr}`,
  );
}

/** One command of the built binary. */
function cortex(...args: readonly string[]): Ran {
  const ran = execute(CORTEX, ["cache", ...args]);
  const lines = ran.stdout.trim().replaceAll("\n", "\n           ");
  console.log(
    `  ${`${ran.took_ms.toFixed(0)} ms`.padStart(7)}  cortex cache ${
      args.join(" ")
    }\n           ${lines}`,
  );
  return ran;
}

/** One step of the engine. */
function step(model: string, kind: string): StepReport {
  // The engine's package finds its own dependencies only in this mode.
  const { stdout } = execute(process.execPath, [
    "run",
    "-A",
    "--node-modules-dir=manual",
    STEP,
    model,
    POOL,
    kind,
  ]);
  return JSON.parse(stdout.trim().split("\n").at(-1) ?? "");
}

const problems: string[] = [];

function expectSame(what: string, a: unknown, b: unknown): void {
  if (JSON.stringify(a) !== JSON.stringify(b)) problems.push(`${what} differ`);
}

/** Against the cold reading of the same prompt. */
function speedUp(report: StepReport, cold: StepReport): string {
  if (report.prompt_tokens !== cold.prompt_tokens) return "";
  return `${(cold.first_token_ms / report.first_token_ms).toFixed(1)}x`;
}

function row(name: string, report: StepReport, cold: StepReport): string {
  return [
    name.padEnd(26),
    `${report.prompt_tokens}`.padStart(7),
    `${report.reused_tokens}`.padStart(7),
    `${report.first_token_ms.toFixed(0)} ms`.padStart(12),
    speedUp(report, cold).padStart(9),
    (report.state_bytes ? formatBytes(report.state_bytes) : "-").padStart(10),
  ].join("");
}

function printTable(reports: readonly (readonly [string, StepReport])[]) {
  const cold = reports[1]![1];
  console.log(
    "\n" + [
      "step".padEnd(26),
      "tokens".padStart(7),
      "reused".padStart(7),
      "first token".padStart(12),
      "speed-up".padStart(9),
      "state".padStart(9),
    ].join(""),
  );
  for (const [name, report] of reports) console.log(row(name, report, cold));
  const [a, , b, c] = reports.map(([, report]) => report);
  console.log(
    `\nput ${a!.put_ms!.toFixed(1)} ms, found and checked in ${
      b!.get_ms!.toFixed(1)
    } ms; after the restart ${c!.get_ms!.toFixed(1)} ms`,
  );
}

function runJob(model: string, snapshot: string): void {
  cortex("create", POOL, "--size", "256M");
  console.log(
    "A: reading 2,000 tokens cold, and putting their state in the pool",
  );
  const a = step(model, "cold-put");
  console.log("   reading a longer prompt cold, to compare with");
  const cold = step(model, "cold");
  console.log("B: the longer prompt, with what the pool has of it");
  const b = step(model, "shared");
  cortex("persist", POOL, "--path", snapshot);
  cortex("destroy", POOL, "--yes");
  cortex("restore", POOL, "--path", snapshot);
  console.log("C: the longer prompt again, from the restored pool");
  const c = step(model, "shared");

  expectSame("the state that was put and the one that was shared", [
    a.state_bytes,
    a.state_sha256,
  ], [b.state_bytes, b.state_sha256]);
  expectSame("the state that was put and the one that was restored", [
    a.state_bytes,
    a.state_sha256,
  ], [c.state_bytes, c.state_sha256]);
  expectSame("cold and shared tokens", cold.continuation, b.continuation);
  expectSame("cold and restored tokens", cold.continuation, c.continuation);

  cortex("status", POOL);
  cortex("check", POOL, "--values");
  cortex("evict", POOL, "--percent", "25");
  cortex("check", POOL);
  cortex("destroy", POOL, "--yes");
  printTable([
    ["A  cold, state put", a],
    ["   cold, longer prompt", cold],
    ["B  shared", b],
    ["C  restored", c],
  ]);
}

function main(): void {
  // The step that runs ends by it; we go on to remove what was made.
  process.on("SIGINT", () => {});
  if (installEngine()) console.log("Installed the engine into .tools/llama");
  const scratch = mkdtempSync(join(tmpdir(), "cortex-demo-"));
  const models = join(ROOT, ".tools", "models");
  mkdirSync(models, { recursive: true });
  const model = join(models, "random-llama.gguf");
  try {
    const { bytes } = writeModel(model);
    console.log(`Model: a random llama of ${formatBytes(bytes)}`);
    runJob(model, join(scratch, "snapshot"));
  } finally {
    rmSync(scratch, { recursive: true });
    // Gone already, unless the job failed half-way.
    spawnSync(CORTEX, ["cache", "destroy", POOL, "--yes"]);
  }
}

main();
for (const problem of problems) console.error(`DIFFERENT: ${problem}`);
console.log(
  problems.length === 0
    ? "Every byte and every token is the same"
    : "The demo failed",
);
process.exit(problems.length === 0 ? 0 : 1);
