import { UsageError } from "../../errors.ts";
import { Pool } from "../../pool.ts";
import type { Scheme } from "../../prefix/chain.ts";
import { parseNamespace } from "../../prefix/namespace.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, print } from "../context.ts";
import { count, grouped } from "../format.ts";
import { json, keys as parseKeys, scheme, wholeFrom1 } from "../options.ts";

interface Options extends JsonOption {
  readonly tokensFile?: string;
  readonly scheme: Scheme;
  readonly blockTokens?: number;
  readonly seed?: string;
  readonly extra?: unknown;
}

export const matchCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "match",
    "say how many leading keys of a chain are present",
    "match llama-cache --tokens-file prompt.txt --block-tokens 16",
  ))
    .argument("<name>", "name of the pool")
    .argument("[keys...]", "the chain's keys, first to last", parseKeys)
    .option(
      "--tokens-file <file>",
      "hash these token ids instead; - for standard input",
    )
    .option("--scheme <scheme>", "sglang or vllm", {
      read: scheme,
      default: "sglang",
    })
    .option(
      "--block-tokens <n>",
      "tokens a block (default: as the pool was created with)",
      { read: wholeFrom1("number of tokens") },
    )
    .option("--seed <text>", "PYTHONHASHSEED of the engine, for vllm (0)")
    .option("--extra <json>", "extra keys, for vllm", {
      read: json("those extra keys"),
    })
    .action(
      async (
        name: string,
        given: string[] | undefined,
        options: Options,
      ) => {
        using pool = Pool.open(name, {
          observe: true,
          platform: context.platform(),
        });
        const keys = await chain(context, pool, given ?? [], options);
        const matched = keys.slice(0, pool.match(keys));
        const tokensOf = (key: string) => pool.info(key)?.tokens ?? 0;
        const tokens = matched.reduce((sum, key) => sum + tokensOf(key), 0);
        const key = pool.deepest(keys);
        const deepest = key === undefined
          ? null
          : { key, number: keys.lastIndexOf(key) + 1, tokens: tokensOf(key) };
        print(
          context,
          options,
          { matched, tokens, deepest },
          describe(keys.length, matched.length, tokens, deepest),
        );
      },
    );

interface Deepest {
  readonly key: string;
  /** Its place in the chain, from 1 on. */
  readonly number: number;
  readonly tokens: number;
}

/** What is present beyond a gap counts where an entry holds its whole prefix. */
function describe(
  keys: number,
  matched: number,
  tokens: number,
  deepest: Deepest | null,
): string {
  const leading = `${matched} of ${count(keys, "key")} present, ${
    count(tokens, "token")
  }`;
  if (deepest === null || deepest.number <= matched) return leading;
  return `${leading}; the deepest that is present is key ${
    grouped(deepest.number)
  }, ${count(deepest.tokens, "token")}`;
}

/** The keys that are given, or those of the tokens. */
async function chain(
  context: Context,
  pool: Pool,
  given: string[],
  options: Options,
): Promise<string[]> {
  const { tokensFile } = options;
  if ((tokensFile === undefined) === (given.length === 0)) {
    throw new UsageError(
      "match",
      "a chain",
      "it needs either keys or --tokens-file",
      `Name its keys: cortex cache match ${pool.name} KEY...; or add --tokens-file FILE`,
    );
  }
  if (tokensFile === undefined) return given;
  const blockTokens = options.blockTokens ??
    parseNamespace(pool.status().namespace).block_tokens;
  if (blockTokens === undefined) {
    throw new UsageError(
      "match",
      "those tokens",
      "nothing says how many a block has",
      "Say it with --block-tokens, here or when the pool is created",
    );
  }
  const { chainOf } = await import("./hash.ts");
  return chainOf(context, { ...options, tokensFile, blockTokens });
}
