/**
 * Several processes that read one pool at once, with and without one that
 * replaces what they read.
 *
 * @module
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Pool } from "../../lib/mod.ts";
import { cost, type Finding, gain } from "../finding.ts";
import { Samples } from "../measure.ts";
import { commandFor } from "../runtimes.ts";
import { type Context, randomBytes, type Run } from "../suite.ts";

const READERS = { quick: [1, 2], usual: [1, 2, 4, 8], full: [1, 2, 4, 8] };
const WINDOW_MS = { quick: 20, usual: 250, full: 1000 };
const KEYS = 256, VALUE_BYTES = 64 << 10;

/** One of the processes: see children/reader.ts. */
class Member {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  readonly #ended: Promise<unknown>;

  constructor(pool: string) {
    const [program, ...args] = commandFor("children/reader.ts");
    const child = this.#child = spawn(
      program!,
      [...args, pool, String(KEYS), String(VALUE_BYTES)],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    this.#lines = createInterface({ input: child.stdout! })
      [Symbol.asyncIterator]();
    this.#ended = new Promise((resolve) => child.on("close", resolve));
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("a reader ended early");
    return value;
  }

  async ask(job: string, milliseconds: number): Promise<number> {
    this.#child.stdin!.write(`${job} ${milliseconds}\n`);
    return Number(await this.line());
  }

  async end(): Promise<void> {
    this.#child.stdin!.end();
    await this.#ended;
  }
}

async function withMembers<T>(
  pool: Pool,
  count: number,
  use: (members: readonly Member[]) => Promise<T>,
): Promise<T> {
  const members = Array.from({ length: count }, () => new Member(pool.name));
  try {
    for (const member of members) await member.line();
    return await use(members);
  } finally {
    await Promise.all(members.map((member) => member.end()));
  }
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
const readersLabel = (count: number) =>
  `${count} reader${count === 1 ? "" : "s"}`;

/** Has one of the members write while the others work. */
async function besideWriter<T>(
  writer: Member,
  window_ms: number,
  work: () => Promise<T>,
): Promise<T> {
  // Longer than the others by what it takes for all to have begun and ended.
  const writing = writer.ask("puts", window_ms * 1.2);
  await new Promise((resolve) => setTimeout(resolve, window_ms * 0.1));
  const result = await work();
  await writing;
  return result;
}

async function measure(
  context: Context,
  members: readonly Member[],
): Promise<Samples> {
  const window_ms = context.scaled(WINDOW_MS);
  const [reader, other] = members as [Member, Member];
  const hits = async (count: number) =>
    sum(
      await Promise.all(
        members.slice(0, count).map((member) => member.ask("hits", window_ms)),
      ),
    );
  const puts = async (count: number) =>
    sum(
      await Promise.all(
        members.slice(0, count).map((member) => member.ask("puts", window_ms)),
      ),
    );
  const p99 = () => reader.ask("p99-hit", window_ms);
  const samples = new Samples();
  for (let round = 0; round <= context.order.rounds; round++) {
    const kept = round === 0 ? new Samples() : samples;
    for (const count of context.scaled(READERS)) {
      kept.add(readersLabel(count), await hits(count));
    }
    kept.add(
      "1 reader, a writer",
      await besideWriter(other, window_ms, () => hits(1)),
    );
    kept.add("p99 hit alone", await p99());
    kept.add(
      "p99 hit beside a writer",
      await besideWriter(other, window_ms, p99),
    );
    kept.add("1 writer", await puts(1));
    kept.add("2 writers", await puts(2));
  }
  return samples;
}

function findings(samples: Samples, counts: readonly number[]): Finding[] {
  const unit = "1/s", against = "1 reader";
  const hits = (at: string) =>
    gain(samples, { what: "hits", at, unit, against, from: [at, against] });
  return [
    ...counts.slice(1).map((count) => hits(readersLabel(count))),
    hits("1 reader, a writer"),
    cost(samples, {
      what: "p99 hit beside a writer",
      at: "1 reader",
      against: "p99 hit alone",
    }),
    gain(samples, {
      what: "puts",
      at: "2 writers",
      unit,
      against: "1 writer",
      from: ["2 writers", "1 writer"],
    }),
  ];
}

export const run: Run = (context) =>
  context.withPool(
    "readers",
    { size: "64M", populate: true },
    async (pool) => {
      const value = randomBytes(VALUE_BYTES);
      for (let i = 0; i < KEYS; i++) pool.put(`shared-${i}`, value);
      const counts = context.scaled(READERS);
      const samples = await withMembers(
        pool,
        Math.max(...counts),
        (members) => measure(context, members),
      );
      return findings(samples, counts);
    },
  );
