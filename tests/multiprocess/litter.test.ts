/** Collecting litter while others make, use, save, restore, destroy and die. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { collectLitter } from "../../lib/litter/mod.ts";
import { assertWhole, hostWith, Pool, uniqueName } from "../helpers.ts";
import { pause, RUNTIMES, Worker } from "../processes.ts";

const SCRIPT = new URL("./churn.ts", import.meta.url);
/** Longer by hand, for more races. */
const WORK_MS = Number(process.env["CORTEX_CHURN_MS"] ?? 2500);

/** A family of pools and a place for their snapshots, removed afterwards. */
function family() {
  const name = uniqueName();
  const place = mkdtempSync(join(tmpdir(), "cortex-churn-"));
  const ours = () => readdirSync("/dev/shm").filter((s) => s.includes(name));
  return {
    name,
    /** So that the sweep of the default place finds it. */
    snapshots: join(place, "snapshots"),
    place,
    ours,
    [Symbol.dispose]() {
      for (const segment of ours()) rmSync(`/dev/shm/${segment}`);
      rmSync(place, { recursive: true, force: true });
    },
  };
}

/** What is too young to be told from what lives is old enough here. */
function collectAll(it: ReturnType<typeof family>) {
  return collectLitter({
    platform: hostWith({
      now: () => Date.now() + 61_000,
      listSegments: it.ours,
      environment: () => it.place,
    }),
  });
}

test("collectLitter() takes nothing away that a living process makes or uses", {
  timeout: WORK_MS + 60_000,
}, async () => {
  using it = family();
  const shared = `${it.name}-shared`;
  Pool.create(shared, { size: "4M" }).close();
  const start = (i: number, job: string, name: string, directory: string) =>
    new Worker(RUNTIMES[i % 2]!, SCRIPT, [
      job,
      name,
      directory,
      String(WORK_MS),
    ]);
  const makers = [0, 1].map((i) =>
    start(i, "make", `${it.name}-${i}`, it.snapshots)
  );
  const attachers = [0, 1].map((i) => start(i, "attach", shared, it.snapshots));
  const collectors = [0, 1].map((i) => start(i, "collect", it.name, it.place));
  const workers = [...makers, ...attachers, ...collectors];
  try {
    const sums: Record<string, number> = {};
    for (const worker of workers) {
      const last = (await worker.finish()).at(-1)!;
      for (const [what, n] of Object.entries<number>(JSON.parse(last))) {
        sums[what] = (sums[what] ?? 0) + n;
      }
    }
    // Enough happened for it to mean something, and none of it was litter.
    const { made = 0, attached = 0, collected = 0, ...litter } = sums;
    assert.ok(
      made > 5 && attached > 20 && collected > 20,
      JSON.stringify(sums),
    );
    assert.deepEqual(litter, {});
    using pool = Pool.open(shared);
    assertWhole(pool);
    assert.deepEqual(it.ours(), [`cortex.${shared}`]);
  } finally {
    for (const worker of workers) worker[Symbol.dispose]();
  }
});

test(
  "what killed makers leave is collected while others go on, and all of it",
  {
    timeout: WORK_MS + 60_000,
  },
  async () => {
    using it = family();
    const start = (i: number, job: string, name: string, directory: string) =>
      new Worker(RUNTIMES[i % 2]!, SCRIPT, [job, name, directory, "60000"]);
    const collector = new Worker(RUNTIMES[0]!, SCRIPT, [
      "collect",
      it.name,
      it.place,
      String(WORK_MS),
    ]);
    const survivor = new Worker(RUNTIMES[1]!, SCRIPT, [
      "make",
      `${it.name}-survivor`,
      it.snapshots,
      String(WORK_MS),
    ]);
    try {
      const end = performance.now() + WORK_MS;
      for (let i = 0; performance.now() < end; i++) {
        using maker = start(i, "make", `${it.name}-${i}`, it.snapshots);
        await maker.line();
        await pause(Math.random() * 60);
        await maker.kill();
      }
      await collector.finish();
      const { made } = JSON.parse((await survivor.finish()).at(-1)!);
      assert.ok(made > 5, `${made}`);
    } finally {
      for (const worker of [collector, survivor]) worker[Symbol.dispose]();
    }
    collectAll(it);
    assert.deepEqual(collectAll(it).removed, []);
    // What is left can be used: whole pools and whole snapshots.
    for (const segment of it.ours()) {
      assert.match(segment, /^cortex\./);
      using pool = Pool.open(segment.slice("cortex.".length));
      assertWhole(pool);
    }
    for (const directory of readdirSync(it.snapshots)) {
      for (const file of readdirSync(join(it.snapshots, directory))) {
        assert.doesNotMatch(file, /\.tmp$/);
      }
    }
  },
);
