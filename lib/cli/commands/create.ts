import { UsageError } from "../../errors.ts";
import type { Tier } from "../../header.ts";
import { Pool } from "../../pool.ts";
import type { PolicyName } from "../../policy/mod.ts";
import { namespaceOf } from "../../prefix/namespace.ts";
import { totalMemory } from "../../proc.ts";
import { finish, type Progress } from "../../progress.ts";
import { formatBytes, parseSize } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, note, print } from "../context.ts";
import { count, safe } from "../format.ts";
import { fileMode, integer, lowPercent } from "../options.ts";
import { policy } from "../policy_option.ts";
import { toJson } from "../pool_json.ts";

interface Options extends JsonOption {
  readonly size: number;
  readonly tier: string;
  readonly path?: string;
  readonly policy?: PolicyName;
  readonly blockSize?: number;
  readonly maxEntries?: number;
  readonly populate?: true;
  readonly mode?: number;
  readonly namespace?: string;
  readonly low?: number;
  readonly record?: true;
  readonly model?: string;
  readonly dtype?: string;
  readonly layout?: string;
  readonly tpRank?: number;
  readonly tpSize?: number;
  readonly blockTokens?: number;
}

/** Only taking all of its memory takes long enough to be shown and ended. */
async function make(
  context: Context,
  name: string,
  options: Options,
  steps: Generator<Progress, Pool>,
): Promise<Pool> {
  if (!options.populate) return finish(steps);
  const { runSteps } = await import("../long_work.ts");
  return await runSteps(context, `create pool "${name}"`, steps);
}

export const createCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "create",
    "make a pool; it lives until it is destroyed or the host goes down",
    "create llama-cache --size 16G",
  ))
    .argument("<name>", "name of the pool")
    .option("--size <size>", "of the whole segment: 512K, 1.5G, 16GiB", {
      required: true,
      read: (text) => parseSize(text),
    })
    .option(
      "--tier <tier>",
      "where its bytes live: cpu (shared memory), or disk (a file that stays)",
      { default: "cpu" },
    )
    .option("--path <file>", "the file, for tier disk")
    .option(
      "--policy <policy>",
      "what to evict: see policies (default: prefix)",
      { read: policy },
    )
    .option(
      "--low <percent>",
      "when it is full, evict down to this share of it; 100: just what is needed (default: 98)",
      { read: lowPercent },
    )
    .option("--block-size <size>", "unit of allocation, a power of two", {
      read: (text) => parseSize(text, "block size"),
    })
    .option("--max-entries <n>", "entry limit", {
      read: integer("entry limit"),
    })
    .option("--populate", "take all of its memory now")
    .option("--mode <mode>", "permissions, in octal (default: 0600)", {
      read: fileMode,
    })
    .option(
      "--namespace <text>",
      "what makes it incompatible with others, in words of your own",
    )
    .option("--model <id>", "or told one by one: the model")
    .option("--dtype <type>", "type of the cache's numbers, such as bf16")
    .option("--layout <name>", "order of the cache's dimensions")
    .option("--tp-rank <n>", "part of a tensor-parallel model", {
      read: integer("rank"),
    })
    .option("--tp-size <n>", "number of its parts", { read: integer("size") })
    .option("--block-tokens <n>", "tokens an entry", {
      read: integer("block tokens"),
    })
    .option("--record", "note operations, for record")
    .action(async (name: string, options: Options) => {
      const { tier, json: _, ...rest } = options;
      const namespace = namespaceFrom(options);
      const steps = Pool.createSteps(name, {
        ...rest,
        ...(namespace === undefined ? {} : { namespace }),
        tier: tier as Tier,
        platform: context.platform(),
      });
      using pool = await make(context, name, options, steps);
      const status = pool.status();
      if (status.file !== null) noteMemory(context, status.file);
      else noteSize(context, status.size_bytes);
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

/** A file is asked for so that the pool stays: where it would not, that is said. */
function noteMemory(context: Context, file: string): void {
  const directory = file.slice(0, file.lastIndexOf("/") + 1);
  if (!context.platform().files.space(directory).isMemory) return;
  note(
    context,
    `cortex: ${safe(file)} is in memory (tmpfs): it will not survive a reboot`,
  );
}

/** Memory is taken as entries come: that there is not enough shows late. */
function noteSize(context: Context, size_bytes: number): void {
  const memory_bytes = totalMemory(context.platform());
  if (memory_bytes === undefined || size_bytes <= memory_bytes) return;
  note(
    context,
    `cortex: This host has ${
      formatBytes(memory_bytes)
    } of memory: what it cannot give of the pool, entries are evicted for`,
  );
}

/** The namespace, as a text or told by its parts. */
function namespaceFrom(options: Options): string | undefined {
  const { model, dtype, layout, tpRank, tpSize, blockTokens } = options;
  const told = namespaceOf({
    model,
    dtype,
    layout,
    tp_rank: tpRank,
    tp_size: tpSize,
    block_tokens: blockTokens,
  });
  if (told === "") return options.namespace;
  if (options.namespace === undefined) return told;
  throw new UsageError(
    "create",
    "a pool with two namespaces",
    "--namespace is given, and parts of one",
    "Use either",
  );
}
