/**
 * An episode: the director tells simulated processes what to do with a pool,
 * decides with the seed who runs, and holds all that comes of it against the
 * oracle and `check`. The pool is under pressure or roomy; there are faults,
 * deaths and stops, or not.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { hostPlatform } from "../../ffi/mod.ts";
import { findProblems } from "../../lib/check.ts";
import { Core } from "../../lib/core.ts";
import { isPolicyName, POLICIES } from "../../lib/policy/mod.ts";
import { Pool } from "../../lib/pool.ts";
import { openSegment } from "../../lib/segment.ts";
import { segmentFile } from "../helpers.ts";
import type { Operation, Outcome, Value } from "./operations.ts";
import { type Change, nameOf, Oracle, type Span } from "./oracle.ts";
import type { Shared, Wildness } from "./shared.ts";
import type { Simulation } from "./simulation.ts";

const KEYS = Array.from({ length: 14 }, (_, i) => `key-${i}`);

/** What one process is about. */
export interface Task {
  readonly operation: Operation;
  readonly start: number;
  readonly changes: readonly Change[];
  readonly faults: number;
}

/** A simulated process, as the director sees it. */
export interface Actor {
  readonly number: number;
  pid: number;
  task: Task | undefined;
  /** What it has reserved and not sealed. */
  reserved: Value[];
}

/** What may evict, if there is pressure. */
const EVICTING: ReadonlySet<Operation["do"]> = new Set([
  "put",
  "reserve",
  "evict",
  "restore",
  "repair",
]);
/** Refusals after which surely nothing was changed. */
const NOTHING_DONE = new Set(["NO_SPACE", "USAGE", "EXISTS"]);

export class Episode {
  readonly #simulation: Simulation;
  readonly #shared: Shared;
  readonly #pool: string;
  readonly #oracle = new Oracle(KEYS);
  readonly #steps: number;
  /** With room for all there is: then nothing may ever be missed. */
  readonly #isRoomy: boolean;
  readonly #isFaulty: boolean;
  /** Those in use: of few, many meet at each. */
  readonly #keys: readonly string[];
  readonly #options;
  #core: Core | undefined;

  constructor(simulation: Simulation, steps: number) {
    this.#simulation = simulation;
    this.#shared = simulation.shared;
    this.#steps = steps;
    this.#pool = simulation.pool;
    const shared = this.#shared;
    this.#isRoomy = shared.oneIn(3);
    this.#isFaulty = !this.#isRoomy && shared.oneIn(2);
    this.#keys = KEYS.slice(0, shared.pick([1, 1, 3, KEYS.length]));
    shared.wildness = this.#wildness();
    this.#options = {
      size: this.#isRoomy ? 2 ** 21 : 2 ** 17 + shared.random(2 ** 17),
      maxEntries: this.#isRoomy ? 100 : 8 + shared.random(20),
      policy: shared.pick(Object.keys(POLICIES).filter(isPolicyName)),
    };
  }

  #wildness(): Wildness {
    const shared = this.#shared;
    return {
      yieldOneIn: shared.pick([3, 20, 60, 200]),
      dieOneIn: shared.pick([0, 300, 1500]),
      faultOneIn: this.#isFaulty ? shared.pick([20, 100, 400]) : 0,
      stopOneIn: shared.pick([0, 0, 400]),
    };
  }

  run(): void {
    const { actors, report } = this.#simulation;
    for (const actor of actors) this.#start(actor);
    const end = report.steps + this.#steps;
    while (report.steps < end) {
      this.#letRun();
      this.#hear(report.steps < end - 1);
    }
    // Everybody comes to the end of what he is about, and nobody dies of it.
    this.#shared.wildness = {
      ...this.#shared.wildness,
      dieOneIn: 0,
      faultOneIn: 0,
      stopOneIn: 0,
    };
    while (actors.some(({ task }) => task)) {
      this.#letRun();
      this.#hear(false);
    }
    this.#conclude();
    for (const actor of actors) actor.pid = this.#simulation.newPid();
  }

  /** A new process in place of one that has died. */
  #start(actor: Actor): void {
    actor.pid = this.#simulation.newPid();
    actor.reserved = [];
    this.#assign(actor);
  }

  #letRun(): void {
    const next = this.#shared.runnable();
    const to = next.length > 0
      ? this.#shared.pick(next)
      : this.#shared.wakeOne();
    if (to === undefined) throw new Error("nobody has anything to do");
    this.#shared.pass(to);
  }

  /** Somebody is done: what came of it must be right. */
  #hear(goOn: boolean): void {
    const done = this.#simulation.actors.filter(({ number, task }) =>
      task && !this.#shared.isBusy(number)
    );
    for (const actor of done) {
      const task = actor.task!;
      actor.task = undefined;
      const outcome = this.#shared.read<Outcome>(actor.number);
      this.#shared.step();
      this.#simulation.report.steps++;
      this.#simulation.note(actor, task, outcome);
      this.#judge(actor, task, outcome);
      this.#check();
      if (outcome.end === "died") this.#simulation.report.deaths++;
      if (!goOn) {
        if (outcome.end === "died") actor.pid = this.#simulation.newPid();
      } else if (outcome.end === "died") this.#start(actor);
      else this.#assign(actor);
    }
  }

  // ------------------------------------------------------------------ tasks

  #assign(actor: Actor): void {
    const operation = this.#choose(actor);
    const { stamp: start, faults } = this.#shared;
    actor.task = {
      operation,
      start,
      faults,
      changes: this.#expect(actor, operation, start),
    };
    this.#simulation.give(actor, this.#pool, operation);
  }

  #choose(actor: Actor): Operation {
    const shared = this.#shared;
    const key = shared.pick(this.#keys);
    if (!existsSync(segmentFile(this.#pool))) {
      // A restored pool is as large as the one that was saved.
      return shared.oneIn(2) || (this.#isRoomy && !this.#simulation.areRoomy)
        ? { do: "create", options: this.#options }
        : { do: "restore" };
    }
    const dice = shared.random(100);
    if (dice < 30) return { do: "put", value: this.#value(key) };
    if (dice < 60) return { do: "get", key, hold: shared.oneIn(3) };
    if (dice < 66) return { do: "release" };
    if (dice < 72) return { do: "reserve", value: this.#value(key) };
    if (dice < 80) return { do: actor.reserved.length > 0 ? "seal" : "open" };
    if (dice < 82) return { do: "abort" };
    if (dice < 87) return { do: "delete", key };
    if (dice < 89) return { do: "close" };
    if (dice < 91) return { do: "check" };
    if (dice < 95) return { do: "persist" };
    if (dice < 96) return { do: "destroy" };
    if (this.#isRoomy) return { do: "get", key, hold: false };
    if (dice < 97) return { do: "restore" };
    if (dice < 98) return { do: "repair" };
    return { do: "evict", percent: shared.random(101) };
  }

  #value(key: string): Value {
    const shared = this.#shared;
    return {
      key,
      version: this.#simulation.newVersion(),
      size_bytes: 16 + shared.random(shared.oneIn(4) ? 30_000 : 6000),
      longText: shared.oneIn(5),
    };
  }

  /** What the operation may change, from its start on. */
  #expect(actor: Actor, operation: Operation, start: number): Change[] {
    const named = ({ version }: Value) =>
      nameOf({ writer: actor.number, version });
    switch (operation.do) {
      case "put":
        return this.#oracle.put(
          operation.value.key,
          named(operation.value),
          start,
        );
      case "seal": {
        const [value] = actor.reserved;
        return value ? this.#oracle.put(value.key, named(value), start) : [];
      }
      case "delete":
        return this.#oracle.delete(operation.key, start);
      case "create":
      case "destroy":
        return this.#oracle.empty(start);
      case "restore":
        return this.#oracle.restore(this.#simulation.snapshots, start);
      default:
        return [];
    }
  }

  // ---------------------------------------------------------------- verdict

  #judge(actor: Actor, task: Task, outcome: Outcome): void {
    const { operation, start } = task;
    const span: Span = { start, end: this.#shared.stamp };
    if (outcome.end === "broken") {
      this.#simulation.fail(
        `${operation.do} ended in no typed error: ${outcome.message}`,
      );
    }
    if (operation.do === "reserve" && outcome.end === "done") {
      actor.reserved.push(operation.value);
    }
    const gone = actor.reserved.length - (outcome.open ?? 0);
    actor.reserved.splice(0, gone);
    this.#noteEviction(task);
    this.#noteSaving(task);
    this.#settle(task, outcome, span);
    if (outcome.end === "done") this.#believe(task, outcome, span);
    else this.#excuse(task, outcome);
  }

  /** Whoever is at it now may have taken anything already. */
  #noteEviction(task: Task): void {
    if (this.#isRoomy) return;
    const { actors } = this.#simulation;
    if (
      [task, ...actors.map(({ task }) => task)].some((one) =>
        one && EVICTING.has(one.operation.do)
      )
    ) this.#oracle.evicted(this.#shared.stamp);
  }

  /** Whoever restores now may find what is being saved. */
  #noteSaving(task: Task): void {
    const tasks = [task, ...this.#simulation.actors.map(({ task }) => task)]
      .filter((one) => one !== undefined);
    const restores = tasks.filter(({ operation }) =>
      operation.do === "restore"
    );
    if (restores.length === 0) return;
    for (const { operation, start } of tasks) {
      if (operation.do !== "persist") continue;
      const contents = this.#oracle.contents({
        start,
        end: this.#shared.stamp,
      });
      for (const { changes } of restores) this.#oracle.widen(changes, contents);
    }
  }

  #settle(task: Task, outcome: Outcome, span: Span): void {
    const { operation, changes } = task;
    const { end, code = "" } = outcome;
    const happened = end === "done" &&
      !(operation.do === "delete" && !outcome.deleted) &&
      !(operation.do === "restore" && !outcome.created);
    if (operation.do === "persist" && end !== "idle") {
      const surelyNot = end === "refused" && code === "BUSY";
      if (!surelyNot) {
        this.#simulation.saved(
          this.#oracle.contents(span),
          end === "done",
          this.#isRoomy,
        );
      }
    }
    if (end === "idle" || (end === "refused" && NOTHING_DONE.has(code))) {
      // A refused restore has made a pool, and taken it away again.
      if (operation.do !== "restore" || code === "EXISTS") {
        return this.#oracle.drop(changes);
      }
    }
    this.#oracle.settle(changes, span.end, happened);
  }

  /** What a process was told must be true. */
  #believe(task: Task, outcome: Outcome, span: Span): void {
    const { operation } = task;
    if (operation.do === "get" && !outcome.gaveUp) {
      const wrong = this.#oracle.judge(operation.key, outcome.found, span);
      if (wrong) this.#simulation.fail(wrong);
    }
    if (operation.do === "check" && outcome.problems!.length > 0) {
      this.#simulation.fail(`check says: ${outcome.problems!.join("; ")}`);
    }
    // What the disk could not read is as good as damaged.
    const hadFaults = this.#shared.faults > task.faults;
    if (outcome.damaged && !this.#simulation.isRotten && !hadFaults) {
      this.#simulation.fail(
        `${operation.do} found ${outcome.damaged} damaged entries`,
      );
    }
  }

  /** What was refused must have a reason. */
  #excuse(task: Task, { end, code, message }: Outcome): void {
    if (end !== "refused") return;
    const hadFaults = this.#shared.faults > task.faults;
    const refuse = (why: string) =>
      this.#simulation.fail(`${task.operation.do}: ${message}: ${why}`);
    // Of a single entry, one that the disk could not read is all there is.
    const mayBeCorrupt = this.#simulation.isRotten ||
      (hadFaults && /none of its \d+ entries can be read/.test(message!));
    if (code === "CORRUPT" && !mayBeCorrupt) {
      refuse("nothing has damaged anything");
    }
    if (code === "FAILED" && !hadFaults && !/restore has not/.test(message!)) {
      refuse("nothing has failed");
    }
    if (
      task.operation.do === "restore" && code === "NOT_FOUND" &&
      /there is none/.test(message!) && this.#simulation.isSaved && !hadFaults
    ) refuse("it was saved");
    if (code === "NO_SPACE" && this.#isRoomy) refuse("there is room");
  }

  // ------------------------------------------------------------------ check

  /** The pool must be whole whenever nobody is changing it. */
  #check(): void {
    const core = this.#openCore();
    if (!core) return;
    const { header, platform, fd } = core;
    if (header.get("dirty") !== 0) return;
    if (this.#shared.isLocked(platform.stat(fd).inode)) return;
    this.#simulation.report.checks++;
    const problems = findProblems(core).map(({ problem }) => problem);
    if (problems.length > 0) {
      this.#simulation.fail(`the pool is not whole: ${problems.join("; ")}`);
    }
  }

  /** The director's own look at the pool: no step of any process. */
  #openCore(): Core | undefined {
    const core = this.#core;
    if (core && core.platform.stat(core.fd).links > 0) return core;
    core?.close();
    this.#core = undefined;
    if (!existsSync(segmentFile(this.#pool))) return undefined;
    const platform = hostPlatform();
    try {
      this.#core = new Core(platform, openSegment(platform, this.#pool), 0);
      // To the host, nobody uses this pool: it must not be taken for litter.
      platform.tryLock(this.#core.fd);
    } catch {
      // It is being destroyed just now.
    }
    return this.#core;
  }

  /** All is quiet: what is left must be whole, and what is there right. */
  #conclude(): void {
    const core = this.#openCore();
    if (!core) return;
    this.#simulation.report.recoveries += core.header.stat("recoveries");
    core.close();
    this.#core = undefined;
    using pool = Pool.open(this.#pool);
    const { problems } = pool.check({ values: true });
    if (problems.length > 0) {
      this.#simulation.fail(`at the end: ${problems.join("; ")}`);
    }
    pool.destroy();
  }
}
