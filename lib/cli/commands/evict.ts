import type { PolicyName } from "../../policy/mod.ts";
import { Pool } from "../../pool.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { count } from "../format.ts";
import { percentage } from "../options.ts";
import { policy } from "../policy_option.ts";

interface Options extends JsonOption {
  readonly percent: number;
  readonly policy?: PolicyName;
  readonly dryRun?: true;
}

export const evictCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "evict",
    "free at least a share of the used bytes, whole entries by policy",
    "evict llama-cache --percent 25",
  ))
    .argument("<name>", "name of the pool")
    .option("--percent <p>", "of the used bytes", {
      read: percentage,
      default: 25,
    })
    .option("--policy <policy>", "by another than the pool's own", {
      read: policy,
    })
    .option("--dry-run", "only say what would go")
    .action((name: string, options: Options) => {
      using pool = Pool.open(name, { platform: context.platform() });
      const report = pool.evict(options);
      const verb = options.dryRun ? "Would evict" : "Evicted";
      print(
        context,
        options,
        { dry_run: options.dryRun ?? false, ...report },
        `${verb} ${count(report.evicted_entries, "entry", "entries")}, ${
          formatBytes(report.freed_bytes)
        }`,
      );
    });
