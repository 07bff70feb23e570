/**
 * Builds `dist/cortex`, a program that needs nothing but libc, and its checksum.
 *
 * By `deno compile` where its base program (denort) can be had, else by Bun. The
 * first takes one bundle, which the tests run under Deno, too; Bun takes the same
 * in parts, of which a command loads those that it needs.
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
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { BUN_COMPILES } from "./bun_compiles.ts";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const DIST = join(ROOT, "dist");
const MAIN = "main.ts";
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

/** One file with the npm packages inside; or several in a directory. */
function bundle(output: readonly string[]): Outcome {
  return execute("deno", ["bundle", "--platform", "deno", ...output, MAIN]);
}

function bundleWhole(): void {
  const outcome = bundle(["--output", BUNDLE]);
  if (!outcome.ok) fail("the bundle", outcome);
  rewrite(BUNDLE, deferred);
}

function bundleParts(directory: string): Outcome {
  const outcome = bundle(["--code-splitting", "--outdir", directory]);
  if (outcome.ok) {
    for (const part of readdirSync(directory)) {
      rewrite(join(directory, part), (text) => boundEarly(deferred(text)));
    }
  }
  return outcome;
}

function rewrite(file: string, change: (text: string) => string): void {
  writeFileSync(file, change(readFileSync(file, "utf8")));
}

/**
 * A part that none but Bun will load, with Bun's FFI imported: to ask for it while
 * it runs takes a megabyte and a third of a millisecond more.
 */
function boundEarly(part: string): string {
  const asked = 'process.getBuiltinModule("bun:ffi")';
  return part.includes(asked)
    ? `import * as bunFfi from "bun:ffi";\n${part.replace(asked, "bunFfi")}`
    : part;
}

/** Modules, and functions of modules, that most commands never need. */
const DEFERRED_MODULES = ["child_process", "fs", "path"];
const DEFERRED_FUNCTIONS = ["createHash", "hash", "stripVTControlCharacters"];

/**
 * The bundle, with some of Node's modules loaded when something in them is first
 * used: the parser asks for half a dozen, and each takes the program half a
 * millisecond to start. Any other import is left as it is.
 */
function deferred(bundle: string): string {
  const load = (module: string) => `process.getBuiltinModule("node:${module}")`;
  const modules = DEFERRED_MODULES.join("|");
  const functions = DEFERRED_FUNCTIONS.join("|");
  return bundle
    .replaceAll(
      new RegExp(`^import (\\w+) from "node:(${modules})";$`, "gm"),
      (_, name, module) =>
        `const ${name} = new Proxy({}, { get: (_, key) => ${
          load(module)
        }[key] });`,
    )
    .replaceAll(
      /^import (\w+) from "node:process";$/gm,
      "const $1 = globalThis.process;",
    )
    .replaceAll(
      new RegExp(
        `^import \\{ (${functions})(?: as (\\w+))? \\} from "node:(\\w+)";$`,
        "gm",
      ),
      (_, name, alias, module) =>
        `const ${alias ?? name} = (...args) => ${
          load(module)
        }.${name}(...args);`,
    );
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
  const parts = mkdtempSync(join(DIST, "parts-"));
  try {
    const bundled = bundleParts(parts);
    if (!bundled.ok) return bundled;
    return execute("bun", [
      "build",
      ...BUN_COMPILES,
      join(parts, basename(MAIN, ".ts") + ".js"),
      "--outfile",
      PROGRAM,
    ]);
  } finally {
    rmSync(parts, { recursive: true });
  }
}

/** Variables by which Bun's runtime would do something else than run the program. */
const BUN_VARIABLES = ["BUN_OPTIONS", "BUN_BE_BUN", "BUN_INSPECT"];

/**
 * Makes the program deaf to them, for which Bun has no option: their names in it
 * get a character that no shell can put into a variable's name.
 */
function deafen(): void {
  const program = readFileSync(PROGRAM);
  for (const name of BUN_VARIABLES) {
    const bytes = Buffer.from(name);
    let at = program.indexOf(bytes);
    if (at === -1) console.log(`Note: this Bun may heed ${name}`);
    for (; at !== -1; at = program.indexOf(bytes, at + 1)) program[at] = 0x3d;
  }
  writeFileSync(PROGRAM, program);
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
  deafen();
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
bundleWhole();
const runtime = compile(wanted);
writeChecksum();
const version = execute(PROGRAM, ["--version"]);
if (!version.ok) fail("a dist/cortex that runs", version);
console.log(`Built dist/cortex by ${runtime}: ${version.output.trim()}`);
