/**
 * Real processes of both runtimes, for the tests that need some.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

export type Runtime = "deno" | "bun";

export const OWN_RUNTIME: Runtime = process.versions["bun"] ? "bun" : "deno";
export const RUNTIMES: readonly Runtime[] = ["deno", "bun"];

/** The binary of a runtime. A missing one is a failure: both are promised. */
export function binaryOf(runtime: Runtime): string {
  if (runtime === OWN_RUNTIME) return process.execPath;
  const named = process.env[`CORTEX_${runtime.toUpperCase()}`];
  const beside = fileURLToPath(
    new URL(`../.tools/bin/${runtime}`, import.meta.url),
  );
  const binary = named ?? (existsSync(beside) ? beside : runtime);
  const { status } = spawnSync(binary, ["--version"], { stdio: "ignore" });
  assert.equal(
    status,
    0,
    `${runtime} is not on PATH, and CORTEX_${runtime.toUpperCase()} names none`,
  );
  return binary;
}

/** A process of this test that prints lines. */
export class Worker implements Disposable {
  readonly process: ChildProcess;
  readonly pid: number;
  readonly #lines: string[] = [];
  readonly #exit: Promise<number | null>;
  #stderr = "";
  #wake: () => void = () => {};
  #ended = false;

  constructor(runtime: Runtime, script: URL, args: readonly string[]) {
    const path = fileURLToPath(script);
    const flags = runtime === "deno" ? ["run", "-A", "-q"] : ["run"];
    const child = spawn(binaryOf(runtime), [...flags, path, ...args], {
      stdio: ["pipe", "pipe", "pipe"],
      cwd: join(dirname(path), "..", ".."),
    });
    this.process = child;
    assert.ok(child.pid, `${runtime} did not start`);
    this.pid = child.pid;
    let rest = "";
    child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      this.#lines.push(...lines);
      this.#wake();
    });
    child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.#stderr += text;
    });
    this.#exit = new Promise((resolve) =>
      child.on("close", (code) => {
        this.#ended = true;
        this.#wake();
        resolve(code);
      })
    );
  }

  /** The next line it prints. */
  async line(): Promise<string> {
    for (;;) {
      const line = this.#lines.shift();
      if (line !== undefined) return line;
      assert.ok(!this.#ended, `the worker ended early: ${this.#stderr}`);
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  /** Waits for its end, which has to be a good one. */
  async finish(): Promise<string[]> {
    const code = await this.#exit;
    assert.equal(code, 0, `the worker failed: ${this.#stderr}`);
    return this.#lines.splice(0);
  }

  /** SIGKILL, and until the kernel has taken back all it held. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.#exit;
  }

  get failure(): string {
    return this.#stderr;
  }

  [Symbol.dispose](): void {
    if (!this.#ended) this.process.kill("SIGKILL");
  }
}
