/**
 * Command lines, keys and metadata of every kind: an exit code, at most one line
 * of what is wrong and one of what to do, and nothing changed by what is refused.
 *
 * @module
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../lib/cli/run.ts";
import type { Context } from "../../lib/cli/context.ts";
import { Pool } from "../../lib/pool.ts";
import { hostWith, tempPool } from "../helpers.ts";
import { Dice } from "./dice.ts";
import { Finding, Judge } from "./judge.ts";
import type { FuzzReport } from "./pools.ts";

const EXIT_CODES = new Set([0, 1, 2, 3, 4, 5, 6]);
const EXIT_USAGE = 2;

/** Runs command lines that follow from a seed. */
export async function fuzzCommands(
  seed: number,
  rounds: number,
  onRound: (done: number) => void = () => {},
): Promise<FuzzReport> {
  const outcomes = new Judge();
  const home = mkdtempSync(join(tmpdir(), "cortex-fuzz-"));
  using temp = tempPool({ size: "512K", maxEntries: 40 });
  temp.pool.put("a", new Uint8Array(5000));
  try {
    for (let round = 0; round < rounds; round++) {
      const dice = new Dice(seed + round);
      const args = commandLine(dice, temp.name);
      try {
        await expectOrder(args, home, temp.pool, dice, outcomes);
      } catch (error) {
        throw new Finding(
          `seed ${seed + round}, ${JSON.stringify(args)}: ${
            (error as Error).message
          }`,
          { cause: error },
        );
      }
      onRound(round + 1);
    }
  } finally {
    rmSync(home, { recursive: true });
  }
  return { rounds, outcomes: outcomes.outcomes };
}

/** Commands, and words that make sense behind each. */
const COMMANDS: Readonly<Record<string, readonly string[]>> = {
  create: ["--size=1M", "--policy=lru", "--block-size=4K", "--mode=0660"],
  list: ["--json"],
  status: ["--json"],
  put: ["a", "b", "--tokens=5", "--priority=-3", "--meta={}", "--parent=a"],
  get: ["a", "b", "--json"],
  delete: ["b", "c", "--json"],
  entries: ["--json"],
  match: ["a", "b", "--json"],
  evict: ["--percent=0", "--percent=1", "--policy=lfu", "--dry-run", "--json"],
  persist: ["--json"],
  restore: ["--partial", "--merge", "--replace", "--json"],
  snapshot: ["list", "show", "verify", "prune", "--keep=1", "--json"],
  schedule: ["--every=15m", "--systemd", "--cron", "--every=1s"],
  record: ["--output=/dev/null", "--json"],
  check: ["--repair", "--values", "--json"],
  policies: ["--json"],
  destroy: ["--json"],
};
const FLAGS = [
  ...["--json", "--size", "--block-size", "--max-entries", "--policy"],
  ...["--tier", "--mode", "--namespace", "--percent", "--tokens", "--meta"],
  ...["--priority", "--parent", "--dry-run", "--partial", "--repair"],
  ...["--values", "--nonsense", "--", "-", "-x"],
];

/** Any text at all: controls, halves of pairs, whatever is written from the right. */
function anyText(dice: Dice): string {
  const [from, to] = dice.pick(
    [[0, 0x80], [0, 0x800], [0xd800, 0xe000], [0x2000, 0x2070], [0, 0x1_0000]],
  );
  const length = dice.pick([1, 5, 40, 400, 1500]);
  return Array.from(
    { length },
    () => String.fromCharCode(from! + dice.random(to! - from!)),
  ).join("");
}

/** Words that people and programs have typed by mistake, or on purpose. */
function word(dice: Dice): string {
  if (dice.oneIn(3)) return anyText(dice);
  return dice.pick([
    "",
    " ",
    "-1",
    "0",
    "1",
    "25",
    "100.5",
    "1e400",
    "NaN",
    "Infinity",
    "0x10",
    "1K",
    "64M",
    "9999999T",
    "1.5.5G",
    "..",
    "../../etc/passwd",
    "/dev/shm/x",
    "a\nb",
    "a\u0000b",
    "\u202e\u0007\u001b[31m",
    "\ud800",
    "é".repeat(600),
    "k".repeat(1025),
    "{",
    '{"a":1}',
    `"${"m".repeat(5000)}"`,
    "lru",
    "LRU",
    "cpu",
    "gpu",
    "0777",
    "0999",
    "__proto__",
    "constructor",
    "a",
  ]);
}

function commandLine(dice: Dice, pool: string): string[] {
  const command = dice.oneIn(20)
    ? word(dice)
    : dice.pick(Object.keys(COMMANDS));
  const sensible = Object.hasOwn(COMMANDS, command)
    ? COMMANDS[command]!
    : FLAGS;
  const args = [dice.oneIn(20) ? word(dice) : "cache", command];
  // Mostly a pool that is there, so that more than the name is tried.
  const mayName = command !== "destroy" && !dice.oneIn(6);
  if (!dice.oneIn(6)) args.push(mayName ? pool : word(dice));
  for (let more = dice.random(4); more > 0; more--) {
    if (!dice.oneIn(4)) args.push(dice.pick(sensible));
    else args.push(dice.oneIn(2) ? dice.pick(FLAGS) : word(dice));
  }
  return args;
}

/** What a run of the program left. */
interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function runProgram(
  args: readonly string[],
  home: string,
  stdin: Uint8Array,
): Promise<Ran> {
  let stdout = "", stderr = "";
  const platform = hostWith({
    environment: (name) => name === "CORTEX_HOME" ? home : undefined,
  });
  const context: Context = {
    platform: () => platform,
    terminal: {
      args,
      columns: 80,
      isTerminal: () => false,
      write: (stream, data) => {
        const text = typeof data === "string"
          ? data
          : new TextDecoder().decode(data);
        if (stream === "stdout") stdout += text;
        else stderr += text;
      },
      readAll: () => stdin,
      readLine: () => "",
      onInterrupt: () => {},
      environment: () => undefined,
      program: ["cortex"],
      user: "nobody",
      runInBackground: () => {
        throw new Finding("no command of these goes on in the background");
      },
      startSelf: () => {
        throw new Finding("no command of these starts another program");
      },
      exit: () => {
        throw new Finding("the program would not let others end it");
      },
    },
  };
  const code = await run(context);
  return { code, stdout, stderr };
}

async function expectOrder(
  args: readonly string[],
  home: string,
  pool: Pool,
  dice: Dice,
  { outcomes }: Judge,
): Promise<void> {
  const before = JSON.stringify([...pool.entries()].map(({ key }) => key));
  const pools = Pool.list();
  const begun = performance.now();
  const { code, stdout, stderr } = await runProgram(
    args,
    home,
    new Uint8Array(dice.random(9000)),
  );
  const made = Pool.list().filter((name) => !pools.includes(name));
  for (const name of made) {
    if (args.includes(name)) Pool.destroy(name);
  }
  if (!segmentStands(pool)) throw new Finding("the pool is gone");
  const name = `${args[1]?.slice(0, 12)} ${code}`;
  outcomes.set(name, (outcomes.get(name) ?? 0) + 1);
  if (performance.now() - begun > 5000) throw new Finding("it took too long");
  if (!EXIT_CODES.has(code)) throw new Finding(`exit code ${code}`);
  if (/\bat .*\.ts:\d+|\[object |undefined/.test(stderr)) {
    throw new Finding(`it says ${stderr}`);
  }
  if (hasControls(stderr)) throw new Finding("it could steer the terminal");
  if (code === 0) return;
  if (
    !/^cortex: Cannot .*\n(.*\n)?$/.test(stderr) && !stderr.includes("Usage")
  ) {
    throw new Finding(`it says ${JSON.stringify(stderr)}`);
  }
  if (stdout !== "" && code === EXIT_USAGE && !stdout.includes("Usage")) {
    throw new Finding("it has a result and an error");
  }
  const after = JSON.stringify([...pool.entries()].map(({ key }) => key));
  if (code === EXIT_USAGE && after !== before) {
    throw new Finding("a refused command changed the pool");
  }
}

/** `destroy` is never given its name here. */
function segmentStands(pool: Pool): boolean {
  return pool.core.platform.stat(pool.core.fd).links > 0;
}

function hasControls(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/.test(text);
}
