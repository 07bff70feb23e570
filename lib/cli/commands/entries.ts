import type { EntryInfo } from "../../describe.ts";
import { Pool } from "../../pool.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { ago, count, grouped, safe, table } from "../format.ts";
import { entryToJson } from "../pool_json.ts";

/** More than anybody reads on a terminal. */
const ROWS_MAX = 50;
const KEY_WIDTH = 64;

export const entriesCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "entries",
    "list a pool's entries, the most recently used first",
    "entries llama-cache",
  ))
    .argument("<name>", "name of the pool")
    .action((name: string, options: JsonOption) => {
      using pool = Pool.open(name, {
        observe: true,
        platform: context.platform(),
      });
      const entries = [...pool.entries()].sort((a, b) =>
        b.last_access_at - a.last_access_at
      );
      print(
        context,
        options,
        options.json && entries.map(entryToJson),
        entryTable(entries, context.platform().now()),
      );
    });

function entryTable(entries: readonly EntryInfo[], now: number): string {
  if (entries.length === 0) return "No entries.";
  const shown = entries.slice(0, ROWS_MAX);
  const text = table(
    ["KEY", "SIZE", "TOKENS", "PRIORITY", "USES", "LAST USE"],
    shown.map((entry) => [
      safe(entry.key, KEY_WIDTH),
      formatBytes(entry.size_bytes),
      grouped(entry.tokens),
      String(entry.priority),
      grouped(entry.access_count),
      ago(entry.last_access_at, now),
    ]),
    ["SIZE", "TOKENS", "PRIORITY", "USES"],
  );
  const more = entries.length - shown.length;
  return more === 0
    ? text
    : `${text}\nand ${
      count(more, "more entry", "more entries")
    }; all of them with --json`;
}
