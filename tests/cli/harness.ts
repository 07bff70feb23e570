/**
 * Runs the program as a user does. Which one is told by CORTEX_PROGRAM: the built
 * binary's path; by default it is `deno run main.ts`.
 *
 * @module
 */
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const BINARY = process.env["CORTEX_PROGRAM"];

/** The program and its first arguments. */
export const PROGRAM: readonly string[] = BINARY
  ? [BINARY]
  : ["deno", "run", "--allow-all", "--quiet", join(ROOT, "main.ts")];

export interface Result {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stdoutBytes: Uint8Array;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: Uint8Array | string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Runs `cortex ARGS`. */
export function cortex(
  args: readonly string[],
  options: RunOptions = {},
): Result {
  const [command = "", ...first] = PROGRAM;
  const { status, signal, stdout, stderr } = spawnSync(
    command,
    [...first, ...args],
    {
      input: options.input ?? "",
      env: { ...process.env, NO_COLOR: "1", ...options.environment },
      maxBuffer: 1 << 28,
    },
  );
  return {
    code: status,
    signal,
    stdout: stdout.toString("utf8"),
    stdoutBytes: new Uint8Array(stdout),
    stderr: stderr.toString("utf8"),
  };
}

/** Runs `cortex cache ARGS`, which must succeed. */
export function cache(...args: readonly string[]): Result {
  const result = cortex(["cache", ...args]);
  assert.equal(
    result.code,
    0,
    `cortex cache ${args.join(" ")}: ${result.stderr}`,
  );
  return result;
}

/** Puts a value of that many bytes, the key over and over. */
export function put(name: string, key: string, bytes = 5000): void {
  const result = cortex(["cache", "put", name, key], {
    input: key.repeat(bytes).slice(0, bytes),
  });
  assert.equal(result.code, 0, result.stderr);
}

/** The JSON that `cortex cache ARGS --json` prints. */
// deno-lint-ignore no-explicit-any -- its shape is what the tests look at
export function cacheJson(...args: readonly string[]): any {
  return JSON.parse(cache(...args, "--json").stdout);
}

/** Runs `cortex cache ARGS`, which must fail with that code, in one line and a hint. */
export function refused(
  code: number,
  args: readonly string[],
  options: RunOptions = {},
): string {
  const result = cortex(["cache", ...args], options);
  const said = `cortex cache ${args.join(" ")}: ${result.stderr}`;
  assert.equal(result.signal, null, said);
  assert.equal(result.code, code, said);
  assert.equal(result.stdout, "", said);
  const lines = result.stderr.trimEnd().split("\n");
  assert.match(lines[0] ?? "", /^cortex: Cannot [^\n]+: [^\n]+$/, said);
  assert.equal(lines.length, 2, said);
  return result.stderr;
}

/** Starts `cortex ARGS` and goes on. */
export function start(args: readonly string[]) {
  const [command = "", ...first] = PROGRAM;
  return spawn(command, [...first, ...args], { stdio: "pipe" });
}

let pools = 0;

/** A pool name of one test's own, destroyed at its end. */
export function poolName() {
  const name = `test-cli-${process.pid}-${++pools}`;
  return {
    name,
    [Symbol.dispose]() {
      cortex(["cache", "destroy", name, "--yes"]);
    },
  };
}

/** A directory of one test's own. */
export function scratch() {
  const path = mkdtempSync(join(tmpdir(), "cortex-test-"));
  return {
    path,
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true });
    },
  };
}

/** Whether we may mount, in a mount namespace of our own. */
export const MAY_MOUNT = spawnSync("unshare", ["-m", "true"]).status === 0;
export const NO_MOUNT =
  "skipped because this user may not mount: needs unshare -m";

/** Skips a test, and says why where the gate looks for it. */
export function skip(t: { skip(reason: string): void }, reason: string): void {
  console.log(reason);
  t.skip(reason);
}

/**
 * Runs a shell script with file systems of its own; `cortex` is the program, and
 * `start` is the same, in place of the shell that calls it.
 */
export function onOwnMounts(
  script: string,
  environment: Readonly<Record<string, string>> = {},
) {
  const quoted = PROGRAM.map((word) => `'${word}'`).join(" ");
  const functions =
    `cortex() { ${quoted} "$@"; }\nstart() { exec ${quoted} "$@"; }`;
  const { status, signal, stdout, stderr } = spawnSync(
    "unshare",
    ["-m", "sh", "-c", `${functions}\n${script}`],
    {
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1", ...environment },
    },
  );
  return { status, signal, stdout, stderr };
}
