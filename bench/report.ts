/**
 * What is said of a run: a table, a JSON file, and what got slower since the
 * baseline.
 *
 * @module
 */
import { existsSync, readFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { formatBytes } from "../lib/units.ts";
import type { Finding, Unit } from "./finding.ts";
import { judge } from "./limits.ts";
import type { LeftOut, Scale } from "./suite.ts";

/** A finding, and whether it is good enough. */
export interface Result extends Finding {
  readonly suite: string;
  /** Such as "deno 2.9.6", or "any" where that makes no difference. */
  readonly runtime: string;
  /** Such as ">= 0.65"; `null` if there is no bar. */
  readonly limit: string | null;
  readonly holds: boolean | null;
}

/** What it ran on. */
export interface Machine {
  readonly processor: string;
  readonly cores: number;
  readonly memory_bytes: number;
  readonly kernel: string;
  /** Processes that wanted a core in the minute before. */
  readonly load: number;
}

/** A run, as it is written to JSON. */
export interface Report {
  readonly begun_at: string;
  readonly machine: Machine;
  readonly scale: Scale;
  readonly rounds: number;
  readonly results: readonly Result[];
  readonly left_out: readonly (LeftOut & { readonly runtime: string })[];
}

/** The ratios of a run that was good, by name. */
export interface Baseline {
  readonly begun_at: string;
  readonly machine: Machine;
  readonly ratios: Readonly<
    Record<string, { readonly ratio: number; readonly better: string }>
  >;
}

/** A ratio that got worse, by so many times. */
export interface Slower {
  readonly name: string;
  readonly before: number;
  readonly now: number;
  readonly times: number;
}

/** How much worse a ratio may get, in times. */
const TOLERANCE = 1.1;

export function toResult(
  suite: string,
  runtime: string,
  finding: Finding,
): Result {
  const verdict = judge(suite, finding);
  return {
    suite,
    runtime,
    ...finding,
    limit: verdict?.limit ?? null,
    holds: verdict?.holds ?? null,
  };
}

/** As it is before the run: what else it is doing then spoils the figures. */
export function describeMachine(): Machine {
  const [first] = cpus();
  return {
    processor: first?.model ?? "unknown",
    cores: cpus().length,
    memory_bytes: totalmem(),
    kernel: release(),
    load: loadavg()[0] ?? 0,
  };
}

/** What a result is called in a baseline: of the runtime without its version. */
function nameOf({ runtime, suite, what, at, against }: Result): string {
  return `${runtime.split(" ")[0]}, ${suite}: ${what}, ${at} / ${against}`;
}

/** A baseline with the ratios of a run; `former` keeps those it did not take. */
export function toBaseline(
  { begun_at, machine, results }: Report,
  former?: Baseline,
): Baseline {
  const ratios = results.map((result) => {
    const { ratio, better } = result;
    return [nameOf(result), { ratio: Number(ratio.toPrecision(4)), better }];
  });
  return {
    begun_at,
    machine,
    ratios: { ...former?.ratios, ...Object.fromEntries(ratios) },
  };
}

export function readBaseline(path: string): Baseline | undefined {
  if (!existsSync(path)) return undefined;
  return JSON.parse(readFileSync(path, "utf8")) as Baseline;
}

/** What got slower than the baseline by more than is chance, the worst first. */
export function findSlower(
  { ratios }: Baseline,
  results: readonly Result[],
): Slower[] {
  return results.flatMap((result) => {
    const name = nameOf(result);
    const before = ratios[name]?.ratio;
    if (before === undefined) return [];
    const now = result.ratio;
    const times = result.better === "higher" ? before / now : now / before;
    return times > TOLERANCE ? [{ name, before, now, times }] : [];
  }).toSorted((a, b) => b.times - a.times);
}

function formatFigure(value: number, unit: Unit): string {
  if (unit === "bytes") return formatBytes(Math.round(value));
  if (unit === "us" && value >= 10_000) return formatFigure(value / 1000, "ms");
  if (unit === "1/s") return `${Math.round(value).toLocaleString("en-US")}/s`;
  const digits = value < 10 ? 2 : value < 1000 ? 1 : 0;
  return `${value.toFixed(digits)} ${unit}`;
}

function formatRatio(ratio: number): string {
  return ratio < 10 ? ratio.toFixed(2) : ratio.toFixed(0);
}

const HEAD = ["what", "at", "", "against", "", "ratio", "limit", "holds"];
const TO_THE_LEFT = [true, false, false, true, false, false, true, true];

function row(result: Result): string[] {
  const { what, at, value, unit, against, against_value, ratio } = result;
  const { limit, holds } = result;
  return [
    what,
    at,
    formatFigure(value, unit),
    against,
    formatFigure(against_value, unit),
    formatRatio(ratio),
    limit ?? "",
    holds === null ? "" : holds ? "yes" : "NO",
  ];
}

/** The table, with a heading for each suite under each runtime. */
export function formatTable(results: readonly Result[]): string {
  const rows = results.map(row);
  const widths = HEAD.map((title, column) =>
    Math.max(title.length, ...rows.map((cells) => cells[column]!.length))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) =>
      TO_THE_LEFT[column]
        ? cell.padEnd(widths[column]!)
        : cell.padStart(widths[column]!)
    ).join("  ").trimEnd();
  let section = "";
  return [
    line(HEAD),
    ...results.flatMap(({ suite, runtime }, i) => {
      const title = `${suite}, ${runtime}`;
      const heading = title === section ? [] : ["", title];
      section = title;
      return [...heading, line(rows[i]!)];
    }),
  ].join("\n");
}

export function formatLeftOut({ left_out }: Report): string[] {
  return left_out.map(({ name, reason, runtime }) =>
    `left out: ${name}, ${runtime} (${reason})`
  );
}

/** A word of warning, unless the machine had nothing else to do. */
export function formatLoad({ load, cores }: Machine): string | undefined {
  if (load < cores / 2) return undefined;
  return `The machine was busy: load ${
    load.toFixed(1)
  } on ${cores} cores before the run. Take no figure of it for good`;
}

export function formatSlower({ name, before, now, times }: Slower): string {
  const percent = ((times - 1) * 100).toFixed(0);
  return `slower by ${percent}%: ${name}: ${formatRatio(before)} before, ${
    formatRatio(now)
  } now`;
}
