/**
 * The program on a command line, against an empty one compiled the same way.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { cost, type Finding } from "../finding.ts";
import { inTurn, type Samples } from "../measure.ts";
import {
  type Context,
  countLabel,
  poolOfBlocks,
  randomBytes,
  type Run,
} from "../suite.ts";
import { programOf } from "../runtimes.ts";
import { BUN_COMPILES } from "../../scripts/bun_compiles.ts";

const CORTEX = fileURLToPath(new URL("../../dist/cortex", import.meta.url));
const STARTS = { quick: 2, usual: 10, full: 40 };
const ENTRIES = 1000;
/** GNU time: the runtimes do not tell what a process that has ended took. */
const TIME = "/usr/bin/time";
const EMPTY = "empty program";

/** Starts a command so many times, from a shell: nothing starts one faster. */
const LOOP =
  'i=$1; shift; while [ $i -gt 0 ]; do "$@" >/dev/null || exit 1; i=$((i - 1)); done';

function startMany(command: readonly string[]): (count: number) => void {
  return (count) => {
    const { status, stderr } = spawnSync(
      "sh",
      ["-c", LOOP, "loop", String(count), ...command],
      { encoding: "utf8" },
    );
    if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  };
}

/** Bytes that a command had in memory at its most, as the kernel counted. */
function peakMemory(command: readonly string[]): number {
  const { status, stderr } = spawnSync(TIME, ["-f", "%M", ...command], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
  return Number(stderr.trim().split("\n").at(-1)) * 1024;
}

/** An empty program, made as scripts/build.ts makes dist/cortex by Bun. */
function compileEmpty(context: Context): string {
  const source = context.onDisk("empty.ts"), program = context.onDisk("empty");
  writeFileSync(source, "");
  const { status, stderr } = spawnSync(
    programOf("bun"),
    ["build", ...BUN_COMPILES, source, "--outfile", program],
    { encoding: "utf8" },
  );
  if (status !== 0) {
    throw new Error(`Cannot compile an empty program: ${stderr}`);
  }
  return program;
}

/**
 * A copy of a program that is nowhere but on disk. How a file came into the page
 * cache, in large pieces or in small ones, is worth a millisecond of a start and
 * a quarter of its memory: from disk all come alike, as after a boot.
 */
function settled(context: Context, program: string, name: string): string {
  const copy = context.onDisk(name);
  copyFileSync(program, copy);
  const fd = openSync(copy, "r+");
  fsyncSync(fd);
  closeSync(fd);
  spawnSync("dd", [`if=${copy}`, "iflag=nocache", "count=0"]);
  return copy;
}

async function measure(
  context: Context,
  commands: ReadonlyMap<string, readonly string[]>,
): Promise<Samples> {
  const count = context.scaled(STARTS);
  const contenders = [...commands].map(([name, command]) => ({
    name,
    count,
    run: startMany(command),
  }));
  const samples = await inTurn(contenders, context.order.rounds);
  if (!existsSync(TIME)) {
    context.leaveOut("memory of the program", `needs ${TIME}`);
    return samples;
  }
  for (let round = 0; round < context.order.rounds; round++) {
    for (const [name, command] of commands) {
      samples.add(`${name}, memory`, peakMemory(command));
    }
  }
  return samples;
}

export const run: Run = async (context) => {
  if (!existsSync(CORTEX)) {
    context.leaveOut("dist/cortex", "not built: deno task build");
    return [];
  }
  const empty = settled(context, compileEmpty(context), "empty-settled");
  const cortex = settled(context, CORTEX, "cortex-settled");
  return await context.withPool("cli", poolOfBlocks(ENTRIES), async (pool) => {
    const value = randomBytes(1024);
    for (let i = 0; i < ENTRIES; i++) pool.put(`key-${i}`, value);
    const commands = new Map([
      [EMPTY, [empty]],
      ["cache status", [cortex, "cache", "status", pool.name]],
      ["cache get", [cortex, "cache", "get", pool.name, "key-1"]],
    ]);
    const samples = await measure(context, commands);
    const at = countLabel(ENTRIES, "entries");
    const findings: Finding[] = [];
    for (const what of ["cache status", "cache get"]) {
      findings.push(cost(samples, { what, at, against: EMPTY }));
      if (!samples.has(`${EMPTY}, memory`)) continue;
      findings.push(cost(samples, {
        what: `${what}, memory`,
        at,
        unit: "bytes",
        against: EMPTY,
        from: [`${what}, memory`, `${EMPTY}, memory`],
      }));
    }
    return findings;
  });
};
