import type { Tier } from "../../header.ts";
import { Pool } from "../../pool.ts";
import type { PolicyName } from "../../policy/mod.ts";
import { formatBytes, parseSize } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { count } from "../format.ts";
import { fileMode, integer, policy } from "../options.ts";
import { toJson } from "../pool_json.ts";

interface Options extends JsonOption {
  readonly size: number;
  readonly tier: string;
  readonly policy?: PolicyName;
  readonly blockSize?: number;
  readonly maxEntries?: number;
  readonly populate?: true;
  readonly mode?: number;
  readonly namespace?: string;
}

export const createCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "create",
    "make a pool; it lives until it is destroyed or the host goes down",
    "create llama-cache --size 16G --policy lru",
  ))
    .argument("<name>", "name of the pool")
    .requiredOption(
      "--size <size>",
      "of the whole segment: 4096, 512K, 1.5G, 16GiB",
      (text) => parseSize(text),
    )
    .option("--tier <tier>", "where its bytes live: cpu", "cpu")
    .option("--policy <policy>", "what to evict: see policies", policy)
    .option(
      "--block-size <size>",
      "unit of allocation, a power of two",
      (text) => parseSize(text, "block size"),
    )
    .option("--max-entries <n>", "entry limit", integer("entry limit"))
    .option("--populate", "take all of its memory now")
    .option("--mode <mode>", "permissions, in octal (default: 0600)", fileMode)
    .option(
      "--namespace <text>",
      "what makes it incompatible with others: model, dtype, layout",
    )
    .action((name: string, options: Options) => {
      const { tier, json: _, ...rest } = options;
      using pool = Pool.create(name, {
        ...rest,
        tier: tier as Tier,
        platform: context.platform(),
      });
      const status = pool.status();
      print(
        context,
        options,
        toJson(status),
        `Created pool ${name}: ${formatBytes(status.size_bytes)}, ${
          count(status.blocks, "block")
        } of ${formatBytes(status.block_size_bytes)}, up to ${
          count(status.max_entries, "entry", "entries")
        }, policy ${status.policy}`,
      );
    });
