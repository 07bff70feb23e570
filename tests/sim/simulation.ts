/**
 * A simulation: a row of episodes, each with a pool of its own. The disk goes on
 * from one to the next, with a power loss between some of them, or a bit that
 * turns over.
 *
 * @module
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { Worker } from "node:worker_threads";
import { segmentFile } from "../helpers.ts";
import { Disk } from "./disk.ts";
import { type Actor, Episode, type Task } from "./episode.ts";
import type { Operation, Order, Outcome } from "./operations.ts";
import type { Contents } from "./oracle.ts";
import { DIRECTOR, Shared, SHARED_BYTES } from "./shared.ts";

/** How to simulate. */
export interface SimulationOptions {
  readonly seed: number;
  /** Operations of all processes together. */
  readonly steps: number;
  readonly processes?: number;
  /** A defect to be built in, by its name in `mutants.ts`. */
  readonly mutant?: string;
  /** Called after each episode. */
  readonly onEpisode?: (report: Report) => void;
}

/** What a simulation did. */
export interface Report {
  readonly seed: number;
  steps: number;
  episodes: number;
  checks: number;
  deaths: number;
  faults: number;
  powerLosses: number;
  recoveries: number;
  /** How often each operation ended how: `"put done"`. */
  readonly outcomes: Map<string, number>;
}

/** What must never be was. The message says how to see it again. */
export class Violation extends Error {
  override readonly name = "Violation";
}

const STEPS_AN_EPISODE = 400;
/** More than a directory has. */
const GENERATIONS_KEPT = 8;
const SHM = dirname(segmentFile("any"));
/** A name of another length would make other dice fall: torn writes have lengths. */
const PID_DIGITS = 7;
/** How much of the story goes before a violation. */
const EVENTS_KEPT = 60;

/** Runs a simulation. Throws a {@linkcode Violation} if anything is wrong. */
export async function simulate(options: SimulationOptions): Promise<Report> {
  const buffer = new SharedArrayBuffer(SHARED_BYTES);
  const workers = await startProcesses(options, buffer);
  const root = mkdtempSync("/dev/shm/cortex-sim-");
  const simulation = new Simulation(options, buffer, root);
  try {
    return simulation.run();
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
    simulation.tidy();
    rmSync(root, { recursive: true, force: true });
  }
}

async function startProcesses(
  { processes = 4, mutant }: SimulationOptions,
  shared: SharedArrayBuffer,
): Promise<Worker[]> {
  const script = new URL("./process.ts", import.meta.url);
  return await Promise.all(
    Array.from({ length: processes }, async (_, i) => {
      const worker = new Worker(script);
      await new Promise((up, failed) => {
        worker.once("message", up);
        worker.once("error", failed);
      });
      worker.postMessage({ shared, number: i + 1, mutant });
      return worker;
    }),
  );
}

/** What all episodes share. */
export class Simulation {
  readonly #options: SimulationOptions;
  readonly #shared: Shared;
  readonly #root: string;
  readonly #disk: Disk;
  readonly #actors: Actor[];
  readonly #report: Report;
  /** What the snapshot on the disk may be: one of these. Empty: none. */
  #snapshots: Contents[] = [];
  /** The last ones that were saved, or perhaps were. */
  #former: Contents[] = [];
  /** Whether all of these are of pools with room for all there is. */
  #areRoomy = true;
  /** Whether a bit of it has turned over. */
  #isRotten = false;
  /** Whether there surely is a snapshot. */
  #isSaved = false;
  readonly #lately: string[] = [];
  #versions = 0;
  #pids = 0;

  constructor(
    options: SimulationOptions,
    buffer: SharedArrayBuffer,
    root: string,
  ) {
    this.#options = options;
    this.#shared = new Shared(buffer, DIRECTOR);
    this.#shared.seed(options.seed);
    this.#root = root;
    this.#disk = new Disk(root);
    this.#actors = Array.from(
      { length: options.processes ?? 4 },
      (_, i) => ({ number: i + 1, pid: 0, task: undefined, reserved: [] }),
    );
    this.#report = {
      seed: options.seed,
      steps: 0,
      episodes: 0,
      checks: 0,
      deaths: 0,
      faults: 0,
      powerLosses: 0,
      recoveries: 0,
      outcomes: new Map(),
    };
  }

  run(): Report {
    const { steps, onEpisode } = this.#options;
    while (this.#report.steps < steps) {
      const left = steps - this.#report.steps;
      new Episode(this, Math.min(left, STEPS_AN_EPISODE)).run();
      this.#report.episodes++;
      if (this.#isRotten) this.#replaceDisk();
      if (this.#shared.oneIn(4)) this.#losePower();
      if (this.#shared.oneIn(12)) this.#rot();
      onEpisode?.(this.#report);
    }
    this.#report.faults = this.#shared.faults;
    return this.#report;
  }

  /** Takes away pools, and what is left of those that were never finished. */
  tidy(): void {
    for (const file of readdirSync(SHM)) {
      const [, name] = /^\.?cortex\.(.*?)(\.[0-9a-f]{8})?$/.exec(file) ?? [];
      if (name === this.pool) {
        rmSync(join(SHM, file), { force: true });
      }
    }
  }

  get shared(): Shared {
    return this.#shared;
  }

  get actors(): readonly Actor[] {
    return this.#actors;
  }

  get report(): Report {
    return this.#report;
  }

  get snapshots(): readonly Contents[] {
    return this.#snapshots;
  }

  get isRotten(): boolean {
    return this.#isRotten;
  }

  get areRoomy(): boolean {
    return this.#areRoomy;
  }

  get isSaved(): boolean {
    return this.#isSaved;
  }

  /** One for all episodes: the snapshot goes on with the pool of that name. */
  get pool(): string {
    return `sim-${
      String(process.pid).padStart(PID_DIGITS, "0")
    }-${this.#options.seed}`;
  }

  newPid(): number {
    return ++this.#pids;
  }

  newVersion(): number {
    return ++this.#versions;
  }

  /** A persist is over: the disk has this snapshot, or perhaps still a former one. */
  saved(contents: Contents, sure: boolean, isRoomy: boolean): void {
    this.#snapshots = sure ? [contents] : [...this.#snapshots, contents];
    this.#former = [...this.#former, contents].slice(-GENERATIONS_KEPT);
    this.#areRoomy = isRoomy && (sure || this.#areRoomy);
    this.#isSaved ||= sure && !this.#isRotten;
  }

  give(actor: Actor, pool: string, operation: Operation): void {
    const { number, pid } = actor;
    const order: Order = { pool, root: this.#root, pid, operation };
    this.#shared.write(number, order);
    this.#shared.setBusy(number, true);
  }

  /** Notes how an operation ended, for the totals and for who looks for a cause. */
  note(actor: Actor, { operation, start }: Task, outcome: Outcome): void {
    const { end, code } = outcome;
    const { outcomes } = this.#report;
    this.#lately.push(
      `${start}-${this.#shared.stamp}: process ${actor.number}: ${
        JSON.stringify(operation)
      }: ${JSON.stringify(outcome)}`,
    );
    if (this.#lately.length > EVENTS_KEPT) this.#lately.shift();
    const name = `${operation.do} ${end}${code ? ` ${code}` : ""}`;
    outcomes.set(name, (outcomes.get(name) ?? 0) + 1);
  }

  fail(what: string): never {
    const { seed, mutant } = this.#options;
    const flags = `--seed ${seed} --steps ${this.#report.steps + 1}${
      mutant ? ` --mutant ${mutant}` : ""
    }`;
    throw new Violation(
      `${
        this.#lately.join("\n")
      }\n${what}\nstep ${this.#report.steps}, seed ${seed}; again: deno task sim ${flags}`,
    );
  }

  /** From now on the snapshot may be damaged, and must say so if it is. */
  #rot(): void {
    this.#disk.rot(this.#shared);
    this.#isRotten = true;
    this.#isSaved = false;
    // What was saved before may have to stand in for it: of a smaller pool, too.
    this.#areRoomy = false;
    this.#snapshots = [...this.#former, ...this.#snapshots].map((contents) =>
      new Map(
        [...contents].map(([key, { values }]) => [
          key,
          { values, nothing: true },
        ]),
      )
    );
  }

  #replaceDisk(): void {
    this.#disk.wipe();
    this.#snapshots = [];
    this.#former = [];
    this.#isSaved = false;
    this.#isRotten = false;
  }

  #losePower(): void {
    this.#disk.losePower(this.#shared);
    this.#report.powerLosses++;
  }
}
