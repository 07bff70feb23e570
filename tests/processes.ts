/**
 * Real processes of both runtimes, for the tests that need some.
 *
 * @module
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
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

export function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** A process's state as the kernel says it: `T` is stopped, `Z` a zombie. */
export function stateOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2)[0];
  } catch {
    return undefined;
  }
}

/** Skips a test, and says why where the gate looks for it. */
export function skip(t: { skip(reason: string): void }, need: string): void {
  const reason = `skipped because this user may not: needs ${need}`;
  console.log(reason);
  t.skip(reason);
}

/** Whether a command can be run here. */
export function can(...command: readonly string[]): boolean {
  const [name, ...args] = command;
  return spawnSync(name!, args, { stdio: "ignore" }).status === 0;
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

  /** @param wrapper a command that runs the process, such as `unshare`. */
  constructor(
    runtime: Runtime,
    script: URL,
    args: readonly string[],
    wrapper: readonly string[] = [],
  ) {
    const path = fileURLToPath(script);
    const flags = runtime === "deno" ? ["run", "-A", "-q"] : ["run"];
    const [command, ...words] = [
      ...wrapper,
      binaryOf(runtime),
      ...flags,
      path,
      ...args,
    ];
    const child = spawn(command!, words, {
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

  /** Waits for its end, whatever it is: its exit code, or `null` for a signal. */
  async ended(lines: string[]): Promise<number | null> {
    const code = await this.#exit;
    lines.push(...this.#lines.splice(0));
    return code;
  }

  /** SIGKILL, and until the kernel has taken back all it held. */
  async kill(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.#exit;
  }

  /** Tells it something, and gives its answer. */
  async ask(question: string): Promise<string> {
    this.process.stdin!.write(question + "\n");
    return await this.line();
  }

  /** Stops it wherever it is, and waits until it is stopped. */
  async stop(): Promise<void> {
    process.kill(this.pid, "SIGSTOP");
    while (stateOf(this.pid) !== "T") await pause(1);
  }

  resume(): void {
    process.kill(this.pid, "SIGCONT");
  }

  /** The signal that ended it, or `null`. */
  async endingSignal(): Promise<string | null> {
    await this.#exit;
    return this.process.signalCode;
  }

  get failure(): string {
    return this.#stderr;
  }

  [Symbol.dispose](): void {
    if (!this.#ended) this.process.kill("SIGKILL");
  }
}
