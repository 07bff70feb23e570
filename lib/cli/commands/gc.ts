import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { count, safe } from "../format.ts";
import type { CollectReport } from "../../litter/mod.ts";

interface Options extends JsonOption {
  readonly dryRun?: true;
  readonly path?: string[];
}

export const gcCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "gc",
    "remove what crashes left, and nothing that lives",
    "gc --dry-run",
  ))
    .option("--dry-run", "only say what would go")
    .option(
      "--path <directory>",
      "also look into this snapshot (may be given more than once)",
      {
        read: (path, before: string[] | undefined) => [...before ?? [], path],
      },
    )
    .action(async (options: Options) => {
      const { collectLitter } = await import("../../litter/mod.ts");
      const { dryRun = false, path } = options;
      const report = collectLitter({
        platform: context.platform(),
        dryRun,
        paths: path,
      });
      print(
        context,
        options,
        { dry_run: dryRun, ...report },
        describe(report, dryRun),
      );
    });

function describe(
  { removed, left, freed_bytes }: CollectReport,
  dryRun: boolean,
): string {
  const lines = removed.map(({ kind, path, reason, size_bytes }) => {
    const done = kind === "dead slots" ? "free" : "remove";
    const verb = dryRun
      ? `Would ${done}`
      : done === "free"
      ? "Freed"
      : "Removed";
    const what = done === "free" ? `dead slots of ${path}` : path;
    return `${verb} ${safe(what)} (${formatBytes(size_bytes)}): ${
      safe(reason)
    }`;
  });
  for (const { path, reason } of left) {
    lines.push(`Left ${safe(path)}: ${safe(reason)}`);
  }
  lines.push(
    removed.length === 0
      ? "Nothing to remove"
      : `${dryRun ? "Would free" : "Freed"} ${formatBytes(freed_bytes)} in ${
        count(removed.length, "thing")
      }`,
  );
  return lines.join("\n");
}
