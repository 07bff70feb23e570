/**
 * Builds `dist/cortex`, a program that needs nothing but libc, and its checksum.
 *
 * By `deno compile` where its base program (denort) can be had, else by Bun; the
 * same bundle goes into either, and is what the tests run under Deno.
 *
 *   deno task build [--runtime deno|bun]
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DIST = join(ROOT, "dist");
const BUNDLE = join(DIST, "cortex.js");
const PROGRAM = join(DIST, "cortex");

type Runtime = "deno" | "bun";

interface Outcome {
  readonly ok: boolean;
  readonly output: string;
}

function execute(command: string, args: readonly string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    env: { ...process.env, NO_COLOR: "1" },
  });
  return { ok: status === 0, output: `${stdout ?? ""}${stderr ?? ""}` };
}

function fail(what: string, { output }: Outcome): never {
  console.error(output.trim());
  console.error(`Cannot build ${what}`);
  process.exit(1);
}

/** One file with the npm packages inside. */
function bundle(): void {
  const outcome = execute("deno", [
    "bundle",
    "--platform",
    "deno",
    "--output",
    BUNDLE,
    "main.ts",
  ]);
  if (!outcome.ok) fail("the bundle", outcome);
}

function compileByDeno(): Outcome {
  return execute("deno", [
    "compile",
    "--allow-all",
    "--no-check",
    "--output",
    PROGRAM,
    BUNDLE,
  ]);
}

function compileByBun(): Outcome {
  return execute("bun", [
    "build",
    "--compile",
    "--bytecode",
    "--minify",
    // A cache's behaviour must not hang on files of the directory it runs in.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    BUNDLE,
    "--outfile",
    PROGRAM,
  ]);
}

/** Why `deno compile` could not, in a few words. */
function reason(output: string): string {
  return /denort|dl\.deno|dns error|error sending request/.test(output)
    ? "its base program, denort, cannot be downloaded here (set DENORT_BIN to one)"
    : output.trim().split("\n")[0] ?? "it failed";
}

function compile(wanted: Runtime | undefined): Runtime {
  if (wanted !== "bun") {
    const outcome = compileByDeno();
    if (outcome.ok) return "deno";
    if (wanted === "deno") fail("dist/cortex by deno compile", outcome);
    console.log(`deno compile: ${reason(outcome.output)}; building by Bun`);
  }
  const outcome = compileByBun();
  if (!outcome.ok) fail("dist/cortex by Bun", outcome);
  return "bun";
}

function writeChecksum(): void {
  const digest = createHash("sha256").update(readFileSync(PROGRAM))
    .digest("hex");
  writeFileSync(join(DIST, "SHA256SUMS"), `${digest}  cortex\n`);
}

function wantedRuntime(): Runtime | undefined {
  const { values } = parseArgs({ options: { runtime: { type: "string" } } });
  const { runtime } = values;
  if (runtime === undefined || runtime === "deno" || runtime === "bun") {
    return runtime;
  }
  console.error(`Cannot build: --runtime is deno or bun, not ${runtime}`);
  process.exit(2);
}

const wanted = wantedRuntime();
mkdirSync(DIST, { recursive: true });
if (existsSync(PROGRAM)) rmSync(PROGRAM);
bundle();
const runtime = compile(wanted);
writeChecksum();
const version = execute(PROGRAM, ["--version"]);
if (!version.ok) fail("a dist/cortex that runs", version);
console.log(`Built dist/cortex by ${runtime}: ${version.output.trim()}`);
