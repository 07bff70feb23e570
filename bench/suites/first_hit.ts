/**
 * From the start of a new process to its first hit, against a process that does
 * nothing, and one that reads from lmdb.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { cost, type Finding, rate } from "../finding.ts";
import { Samples } from "../measure.ts";
import { lmdb } from "../peers/lmdb.ts";
import { withPeers } from "../peers/mod.ts";
import { commandFor } from "../runtimes.ts";
import { type Context, randomBytes, type Run } from "../suite.ts";

const TIMES = { quick: 1, usual: 3, full: 10 };
const VALUE_BYTES = 64 << 10;
const KEY = "first";
const CHILD = "children/first_hit.ts";

/** Milliseconds of a process of its own, and of what it says it did inside. */
interface Took {
  readonly whole_ms: number;
  readonly inside_ms: number;
}

function runScript(script: string, ...args: string[]): Took {
  const [program, ...words] = commandFor(script);
  const begun = performance.now();
  const { status, stdout, stderr } = spawnSync(program!, [...words, ...args], {
    encoding: "utf8",
  });
  const whole_ms = performance.now() - begun;
  if (status !== 0) throw new Error(`${script} failed: ${stderr}`);
  return { whole_ms, inside_ms: Number(stdout) };
}

const EMPTY = "empty process";

function measure(
  context: Context,
  subjects: ReadonlyMap<string, () => Took>,
): Samples {
  const samples = new Samples();
  const times = context.scaled(TIMES) * context.order.rounds;
  for (let time = 0; time <= times; time++) {
    for (const [name, run] of subjects) {
      const { whole_ms, inside_ms } = run();
      if (time === 0) continue;
      samples.add(name, whole_ms);
      samples.add(`${name}, inside`, inside_ms);
    }
  }
  return samples;
}

export const run: Run = (context) =>
  withPeers(
    context,
    (peers) =>
      context.withPool("first-hit", { size: "64M" }, async (pool) => {
        const value = randomBytes(VALUE_BYTES);
        pool.put(KEY, value);
        const subjects = new Map([
          [EMPTY, () => runScript("children/nothing.ts")],
          ["first hit", () => runScript(CHILD, "pool", pool.name, KEY)],
        ]);
        for (const [name, peer] of peers) {
          await peer.put(KEY, value);
          const place = context.inMemory(name);
          subjects.set(name, () => runScript(CHILD, name, place, KEY));
        }
        const samples = measure(context, subjects);
        const at = "new process";
        const unit = "ms";
        const findings: Finding[] = [
          cost(samples, { what: "first hit", at, unit, against: EMPTY }),
        ];
        for (const against of peers.keys()) {
          findings.push(rate(samples, {
            what: "load, open, first hit",
            at,
            unit,
            against,
            from: ["first hit, inside", `${against}, inside`],
          }));
        }
        return findings;
      }),
    [lmdb],
  );
