import type { Platform } from "../../../ffi/platform.ts";
import { UsageError } from "../../errors.ts";
import { totalMemory } from "../../proc.ts";
import { checkName } from "../../segment.ts";
import { shellWord } from "../../shell.ts";
import type { ModelCache } from "../../sizing/model.ts";
import type { PoolPlan } from "../../sizing/pool.ts";
import { exactSize, formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { readText } from "../files.ts";
import { count, grouped, safe } from "../format.ts";
import { tokens, wholeFrom1 } from "../options.ts";

interface Options extends JsonOption {
  readonly config: string;
  readonly context?: number;
  readonly sequences: number;
  readonly model?: string;
  readonly dtype?: string;
  readonly blockTokens: number;
  readonly tpSize: number;
  readonly name: string;
}

/** What the plan says beside sizes. */
interface Words {
  readonly dtype: string;
  readonly context_tokens: number;
  readonly command: string;
  /** `null` if /dev/shm has room for the pool as it is. */
  readonly mount: string | null;
  readonly container: string;
}

const SHM = "/dev/shm";

export const planCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "plan",
    "say how large a model's cache is, and which pool to create for it",
    "plan --config config.json --context 32768 --sequences 64 --dtype fp8",
    "cortex",
  ))
    .option(
      "--config <file>",
      "the model's config.json, as Hugging Face has it",
      { required: true },
    )
    .option(
      "--context <tokens>",
      "tokens of a sequence, such as 32k (default: the longest that the model takes)",
      { read: tokens("context") },
    )
    .option("--sequences <n>", "sequences to be cached at once", {
      read: wholeFrom1("number of sequences"),
      default: 1,
    })
    .option("--model <id>", "its name for the pool, if not the config's own")
    .option("--dtype <type>", "of the cache, if not the model's: bf16, fp8...")
    .option("--block-tokens <n>", "tokens an entry", {
      read: wholeFrom1("number of tokens"),
      default: 256,
    })
    .option(
      "--tp-size <n>",
      "parts that tensor parallelism splits the model into: a pool each",
      { read: wholeFrom1("number of parts"), default: 1 },
    )
    .option("--name <name>", "of the pool, in the command", {
      default: "llama-cache",
    })
    .action(async (options: Options) => {
      checkName(options.name, "plan");
      const { readModel } = await import("../../sizing/model.ts");
      const { planPool, recordsFor, wholeUnits } = await import(
        "../../sizing/pool.ts"
      );
      const { tpSize } = options;
      const model = readModel(
        parse(readText(context, options.config)),
        tpSize,
      );
      const dtype = options.dtype ?? model.dtype;
      const context_tokens = options.context ?? contextOf(model);
      const plan = planPool(model, {
        context_tokens,
        sequences: options.sequences,
        dtype,
        block_tokens: options.blockTokens,
        pools: tpSize,
      });
      const name = options.model ?? model.name;
      const command = [
        ...["cortex", "cache", "create"],
        tpSize === 1 ? options.name : `${options.name}-0`,
        ...["--size", exactSize(plan.size_bytes)],
        ...["--block-size", exactSize(plan.block_size_bytes)],
        ...["--max-entries", `${recordsFor(plan.entries)}`],
        ...(name === undefined ? [] : ["--model", safe(name)]),
        ...["--dtype", dtype],
        ...["--block-tokens", `${options.blockTokens}`],
        ...(tpSize === 1 ? [] : ["--tp-rank", "0", "--tp-size", `${tpSize}`]),
      ].map(shellWord).join(" ");
      const { used_bytes, free_bytes } = roomOfShm(context.platform());
      const memory_bytes = totalMemory(context.platform());
      const size = exactSize(wholeUnits(used_bytes + plan.shm_bytes));
      const words = {
        dtype,
        context_tokens,
        command,
        mount: free_bytes < plan.shm_bytes
          ? `mount -o remount,size=${size} ${SHM}`
          : null,
        container: `docker run --shm-size ${
          exactSize(plan.shm_bytes).toLowerCase()
        }`,
      };
      print(
        context,
        options,
        {
          model_type: model.model_type,
          layers: model.groups,
          ...plan,
          pools: tpSize,
          shm_free_bytes: free_bytes,
          memory_bytes: memory_bytes ?? null,
          ...words,
        },
        describe(model, plan, options, words, { free_bytes, memory_bytes }),
      );
    });

function contextOf(model: ModelCache): number {
  if (model.context_tokens !== undefined) return model.context_tokens;
  throw new UsageError(
    "plan for",
    "that model",
    "its config does not say how long a sequence may be",
    "Say it with --context",
  );
}

/** What others use of /dev/shm, and what is free of it. */
function roomOfShm({ files }: Platform) {
  if (!files.exists(SHM)) return { used_bytes: 0, free_bytes: 0 };
  const { size_bytes, free_bytes } = files.space(SHM);
  return { used_bytes: size_bytes - free_bytes, free_bytes };
}

function describe(
  model: ModelCache,
  plan: PoolPlan,
  options: Options,
  { dtype, context_tokens, command, mount, container }: Words,
  host: { free_bytes: number; memory_bytes: number | undefined },
): string {
  const { tpSize } = options;
  const pools_bytes = tpSize * plan.size_bytes;
  const isBeyondMemory = pools_bytes > (host.memory_bytes ?? Infinity);
  return [
    `A token takes      ${
      grouped(plan.bytes_per_token)
    } bytes (${model.model_type}, ${dtype})`,
    ...model.groups.map(describeLayers),
    `A sequence takes   ${formatBytes(plan.sequence_bytes)}, of ${
      count(context_tokens, "token")
    }`,
    `All take           ${formatBytes(plan.total_bytes)}, for ${
      count(options.sequences, "sequence")
    }`,
    `An entry takes     ${formatBytes(plan.entry_bytes)}, of ${
      count(options.blockTokens, "token")
    }; ${count(plan.entries, "entry", "entries")}`,
    `The pool           ${formatBytes(plan.size_bytes)}, in blocks of ${
      formatBytes(plan.block_size_bytes)
    }`,
    ...(tpSize === 1 ? [] : [
      `All pools          ${formatBytes(pools_bytes)}, one for each of ${
        grouped(tpSize)
      } ranks`,
    ]),
    ...(isBeyondMemory
      ? [
        `Memory             this host has ${
          formatBytes(host.memory_bytes!)
        } in all: too little`,
      ]
      : []),
    `/dev/shm           needs ${formatBytes(plan.shm_bytes)} free, and has ${
      formatBytes(host.free_bytes)
    }`,
    ...(mount === null ? [] : [`                   make it larger: ${mount}`]),
    `                   in a container: ${container}`,
    "",
    command,
  ].join("\n");
}

function describeLayers(
  { layers, attention, values_per_token, window_tokens }:
    ModelCache["groups"][number],
): string {
  const window = window_tokens === undefined
    ? ""
    : `, the last ${grouped(window_tokens)} tokens`;
  return `  ${count(layers, "layer")} of ${attention} attention: ${
    grouped(values_per_token)
  } numbers a token${window}`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new UsageError(
      "read",
      "the config",
      "it is not JSON",
      "Give the model's config.json, as Hugging Face has it",
    );
  }
}
