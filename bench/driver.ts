/**
 * Runs suites, each in a process of its own under each runtime, one after the
 * other, and takes away what they leave.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { type Report, type Result, toResult } from "./report.ts";
import { commandFor, isInstalled, type Runtime } from "./runtimes.ts";
import type { Answer, Order } from "./suite.ts";
import { isPerRuntime, type SuiteName } from "./suites/mod.ts";

const SHARED_MEMORY = "/dev/shm";

/** What is to be run. */
export interface Plan extends Pick<Order, "scale" | "rounds"> {
  readonly suites: readonly SuiteName[];
  readonly runtimes: readonly Runtime[];
  readonly progress: (line: string) => void;
}

type Outcome = Pick<Report, "results" | "left_out">;

/** The process that measures, and what it may leave: all of it has our name. */
class Driver implements Disposable {
  readonly #plan: Plan;
  readonly #prefix = `bench-${process.pid}`;
  readonly #memory_dir = join(SHARED_MEMORY, this.#prefix);
  readonly #disk_dir = mkdtempSync(join(tmpdir(), `cortex-${this.#prefix}-`));
  #running: ChildProcess | undefined;

  constructor(plan: Plan) {
    this.#plan = plan;
  }

  /** Has a process of that runtime run a suite. */
  async measure(suite: SuiteName, runtime: Runtime): Promise<Answer> {
    const { scale, rounds } = this.#plan;
    const order: Order = {
      suite,
      scale,
      rounds,
      prefix: this.#prefix,
      memory_dir: this.#memory_dir,
      disk_dir: this.#disk_dir,
    };
    const [program, ...args] = commandFor("child.ts", runtime);
    mkdirSync(this.#memory_dir, { recursive: true });
    const child = this.#running = spawn(
      program!,
      [...args, JSON.stringify(order)],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text) => output += text);
    const code = await new Promise((resolve) => child.on("close", resolve));
    this.#running = undefined;
    rmSync(this.#memory_dir, { recursive: true, force: true });
    if (code !== 0) throw new Error(`suite ${suite} failed under ${runtime}`);
    return JSON.parse(output.trim().split("\n").at(-1)!) as Answer;
  }

  /** Ends what is running, takes away what it left, and then goes on. */
  stop(then: () => void): void {
    const finish = () => {
      this[Symbol.dispose]();
      then();
    };
    if (this.#running) this.#running.once("close", finish).kill("SIGKILL");
    else finish();
  }

  [Symbol.dispose](): void {
    rmSync(this.#disk_dir, { recursive: true, force: true });
    for (const name of readdirSync(SHARED_MEMORY)) {
      if (name === this.#prefix || name.includes(`${this.#prefix}-`)) {
        rmSync(join(SHARED_MEMORY, name), { recursive: true, force: true });
      }
    }
  }
}

/** @throws {Error} if a suite fails: then there are no figures. */
export async function runSuites(plan: Plan): Promise<Outcome> {
  using driver = new Driver(plan);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => driver.stop(() => process.exit(130)));
  }
  const results: Result[] = [];
  const left_out: Report["left_out"][number][] = [];
  const installed = plan.runtimes.filter((runtime) => {
    if (isInstalled(runtime)) return true;
    left_out.push({ name: "all suites", reason: "not on PATH", runtime });
    return false;
  });
  for (const suite of plan.suites) {
    const isEach = isPerRuntime(suite);
    for (const runtime of isEach ? installed : installed.slice(0, 1)) {
      plan.progress(`${suite}, ${runtime}`);
      const answer = await driver.measure(suite, runtime);
      const label = isEach ? answer.runtime : "any runtime";
      for (const found of answer.findings) {
        results.push(toResult(suite, label, found));
      }
      for (const one of answer.left_out) {
        left_out.push({ ...one, runtime: label });
      }
    }
  }
  return { results, left_out };
}
