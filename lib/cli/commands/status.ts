import type { PoolStatus } from "../../describe.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, print } from "../context.ts";
import { ago, count, grouped, percent, safe } from "../format.ts";
import { observe, observeAll, poolTable } from "../observe.ts";
import { seconds } from "../options.ts";
import { toJson } from "../pool_json.ts";

interface Options extends JsonOption {
  readonly watch?: true;
  readonly interval: number;
}

const CLEAR_SCREEN = "\u001b[H\u001b[2J";

export const statusCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "status",
    "say how a pool is used, or every pool",
    "status llama-cache",
  ))
    .argument("[name]", "name of the pool")
    .option("--watch", "again and again, until Ctrl-C")
    .option("--interval <seconds>", "between looks, with --watch", {
      read: seconds,
      default: 1,
    })
    .action(async (name: string | undefined, options: Options) => {
      show(context, name, options);
      while (options.watch) {
        await new Promise((done) => setTimeout(done, options.interval * 1000));
        show(context, name, options);
      }
    });

function show(context: Context, name: string | undefined, options: Options) {
  const onScreen = options.watch && !options.json &&
    context.terminal.isTerminal("stdout");
  if (name === undefined) {
    const pools = observeAll(context);
    if (onScreen) context.terminal.write("stdout", CLEAR_SCREEN);
    print(context, options, pools.map(toJson), poolTable(pools));
    return;
  }
  const status = observe(context, name);
  if (onScreen) context.terminal.write("stdout", CLEAR_SCREEN);
  const now = context.platform().now();
  print(context, options, toJson(status), describe(status, now));
}

function describe(pool: PoolStatus, now: number): string {
  const used = pool.used_bytes / pool.data_bytes;
  const lines: [string, string][] = [
    ["pool", pool.name],
    [
      "size",
      `${formatBytes(pool.size_bytes)}, ${
        formatBytes(pool.committed_bytes)
      } of it ${pool.file === null ? "in memory" : "on disk"}`,
    ],
    [
      "used",
      `${formatBytes(pool.used_bytes)} of ${formatBytes(pool.data_bytes)} (${
        percent(used)
      })`,
    ],
    [
      "blocks",
      `${grouped(pool.free_blocks)} free of ${grouped(pool.blocks)}, ${
        formatBytes(pool.block_size_bytes)
      } each`,
    ],
    [
      "entries",
      `${grouped(pool.entries)} of at most ${grouped(pool.max_entries)}`,
    ],
    [
      "hits",
      `${grouped(pool.hits)}, misses ${grouped(pool.misses)}, hit rate ${
        percent(pool.hit_rate)
      }`,
    ],
    [
      "puts",
      `${grouped(pool.puts)}, ${count(pool.evictions, "eviction")}, ${
        count(pool.deletes, "delete")
      }`,
    ],
    ["policy", pool.policy],
    ["tier", pool.file === null ? pool.tier : `${pool.tier}, ${pool.file}`],
    ["attached", count(pool.attached, "handle")],
    ["created", ago(pool.created_at, now)],
    ["modified", ago(pool.modified_at, now)],
    ["persisted", ago(pool.last_persist_at, now)],
    ["version", `format ${pool.version}, uuid ${pool.uuid}`],
  ];
  if (pool.namespace !== "") {
    lines.splice(1, 0, ["namespace", safe(pool.namespace)]);
  }
  if (pool.loading) {
    lines.push([
      "restoring",
      "not at its end; if it was killed, restore again",
    ]);
  }
  if (pool.recoveries > 0) {
    lines.push(["recovered", count(pool.recoveries, "time")]);
  }
  return lines.map(([name, text]) => `${name.padEnd(10)} ${text}`).join("\n");
}
