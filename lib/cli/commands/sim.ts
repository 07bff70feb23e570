import { UsageError } from "../../errors.ts";
import { isPolicyName, type PolicyName } from "../../policy/mod.ts";
import type { SimResult } from "../../sim/mod.ts";
import { formatBytes, parseSize } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, note, print } from "../context.ts";
import { readText, writeFile } from "../files.ts";
import { count, grouped, table } from "../format.ts";
import { listOf, lowPercent, wholeFrom1 } from "../options.ts";

interface Options extends JsonOption {
  readonly blocks?: readonly number[];
  readonly size?: readonly number[];
  readonly blockSize?: number;
  readonly policy: readonly (PolicyName | "bound")[];
  readonly low: number;
  readonly svg?: string;
}

const ALL = "prefix,lru,lfu,fifo,sieve,s3fifo,arc,bound";
/** Sizes to try, as shares of all there is. */
const DEFAULT_SHARES = [0.01, 0.03, 0.1, 0.3, 1];

function policies(text: string): readonly (PolicyName | "bound")[] {
  return listOf(text, (name) => {
    if (name === "bound" || isPolicyName(name)) return name;
    throw new UsageError(
      "use",
      `policy ${JSON.stringify(name)}`,
      "there is no such policy",
      "See the policies there are: cortex cache policies",
    );
  });
}

export const simCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "sim",
    "replay a trace: which policy, and how much memory is worth buying",
    "sim trace.jsonl --blocks 1000,10000 --policy prefix,lru",
    "cortex",
  ))
    .argument(
      "<trace>",
      "JSON lines with hash_ids, CSV of key,size, or a recording of a pool",
    )
    .option(
      "--blocks <n,...>",
      "sizes of the cache, in blocks (default: from 1% to 100% of the trace)",
      { read: (text) => listOf(text, wholeFrom1("number of blocks")) },
    )
    .option("--size <size,...>", "sizes of the cache, in bytes", {
      read: (text) => listOf(text, (size) => parseSize(size)),
    })
    .option(
      "--block-size <size>",
      "bytes a block, where the trace and the cache are not told in the same unit",
      { read: (text) => parseSize(text, "block size") },
    )
    .option(
      "--policy <policy,...>",
      "which; bound, what could be hit at all, is always shown",
      { read: policies, default: policies(ALL), shown: "all" },
    )
    .option(
      "--low <percent>",
      "evict down to this; by default just what is needed, as published figures count, and not 98 as create does",
      { read: lowPercent, default: 100 },
    )
    .option("--svg <file>", "draw the curves into this file")
    .action(async (path: string, options: Options) => {
      const { BOUND, parseTrace, simulate } = await import("../../sim/mod.ts");
      if (options.blocks && options.size) {
        throw new UsageError(
          "run",
          "the simulation",
          "it is told sizes both in blocks and in bytes",
          "Leave one of --blocks and --size out",
        );
      }
      const unit = options.size ? "bytes" : "blocks";
      const what = `trace ${JSON.stringify(path)}`;
      const trace = parseTrace(readText(context, path), what);
      const rooms = options.blocks ?? options.size ?? spread(trace.keys);
      if (
        unit === "bytes" && options.blockSize === undefined &&
        trace.sizes.every((size) => size === 0)
      ) {
        throw new UsageError(
          "run",
          "the simulation",
          "the trace does not say how large its blocks are",
          "Say it with --block-size, or give the room with --blocks",
        );
      }
      const wanted = [...options.policy];
      if (!wanted.includes(BOUND)) wanted.push(BOUND);
      const results = wanted.flatMap((policy) =>
        rooms.map((room) => {
          progress(context, policy, room);
          return simulate(trace, {
            policy,
            room,
            unit,
            block_bytes: options.blockSize,
            low_percent: options.low,
          });
        })
      );
      progress(context);
      await show(context, options, results, unit);
    });

/** Sizes for a cache of what has so many different blocks. */
function spread(blocks: number): number[] {
  const rooms = DEFAULT_SHARES.map((share) =>
    Math.max(1, Math.ceil(share * blocks))
  );
  return [...new Set(rooms)];
}

function progress(context: Context, policy?: string, room?: number): void {
  const { terminal } = context;
  if (!terminal.isTerminal("stderr")) return;
  const line = policy === undefined ? "" : `sim: ${policy} at ${room}`;
  terminal.write("stderr", `\r\u001b[K${line}`);
}

async function show(
  context: Context,
  options: Options,
  results: readonly SimResult[],
  unit: "blocks" | "bytes",
): Promise<void> {
  const { svgChart, textChart } = await import("../../sim/chart.ts");
  const { BOUND } = await import("../../sim/mod.ts");
  const { verdict } = await import("../../sim/verdict.ts");
  const label = (room: number) =>
    unit === "blocks" ? count(room, "block") : formatBytes(room);
  const curves = [...new Set(results.map(({ policy }) => policy))].map(
    (name) => ({
      name,
      points: results.filter(({ policy }) => policy === name)
        .map(({ room, hit_rate }) => ({ room, rate: hit_rate }))
        .sort((a, b) => a.room - b.room),
    }),
  );
  if (options.svg !== undefined) {
    writeFile(context, options.svg, svgChart(curves, label));
    if (!options.json) note(context, `Drew ${options.svg}`);
  }
  const rooms = curves[0]!.points.map(({ room }) => room);
  const heads = [
    "policy",
    ...rooms.map(unit === "blocks" ? grouped : formatBytes),
  ];
  const rows = curves.map(({ name, points }) => [
    name,
    ...points.map(({ rate }) => `${(rate * 100).toFixed(2)}%`),
  ]);
  const { requests, block_touches } = results[0]!;
  const chart = rooms.length === 1
    ? "" // a curve has two points
    : `${textChart(curves, label, context.terminal.columns)}\n\n`;
  const policies = curves.filter(({ name }) => name !== BOUND);
  const closing = policies.length === 0 ? "" : verdict(policies, label);
  print(
    context,
    options,
    results.map(({ room, policy, ...rest }) =>
      unit === "blocks"
        ? { policy, blocks: room, ...rest }
        : { policy, blocks: null, size_bytes: room, ...rest }
    ),
    `${grouped(requests)} requests, ${
      grouped(block_touches)
    } block touches; prefix hits by size of the cache:\n\n${
      table(heads, rows, heads.slice(1))
    }\n\n${chart}${closing}`.trimEnd(),
  );
}
