import { UsageError } from "../../errors.ts";
import type { Scheme } from "../../prefix/chain.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, note, print } from "../context.ts";
import { readText } from "../files.ts";
import { json, scheme, wholeFrom1 } from "../options.ts";

interface Options extends JsonOption {
  readonly scheme: Scheme;
  readonly blockTokens: number;
  readonly tokensFile: string;
  readonly seed?: string;
  readonly extra?: unknown;
}

export const hashCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "hash",
    "print the keys of a prompt's blocks, as an engine makes them",
    "hash --scheme vllm --block-tokens 16 --tokens-file prompt.txt --seed 0",
    "cortex",
  ))
    .option("--scheme <scheme>", "sglang or vllm", {
      read: scheme,
      default: "sglang",
    })
    .option(
      "--block-tokens <n>",
      "tokens a block; only full blocks have a key",
      { required: true, read: wholeFrom1("number of tokens") },
    )
    .option(
      "--tokens-file <file>",
      "token ids apart by white space or commas; - for standard input",
      { required: true },
    )
    .option("--seed <text>", "PYTHONHASHSEED of the engine, for vllm (0)")
    .option("--extra <json>", "extra keys, for vllm: a list, or an object", {
      read: json("those extra keys"),
    })
    .action(async (options: Options) => {
      const keys = await chainOf(context, options);
      if (keys.length === 0) {
        note(
          context,
          "cortex: No block is full, and only full ones have a key",
        );
      }
      print(context, options, { keys }, keys.join("\n"));
    });

/** Hashes a tokens file. */
export async function chainOf(
  context: Parameters<CommandFactory>[0],
  options: Omit<Options, "json">,
): Promise<string[]> {
  const { hashChain, parseTokens, checkExtra } = await import(
    "../../prefix/mod.ts"
  );
  const { seed, extra, scheme, blockTokens } = options;
  if (scheme !== "vllm" && (seed !== undefined || extra !== undefined)) {
    throw new UsageError(
      "hash",
      `by ${scheme}`,
      "it has no seed and no extra keys",
      "Use --scheme vllm, or leave them out",
    );
  }
  const tokens = parseTokens(readText(context, options.tokensFile));
  return hashChain(tokens, {
    scheme,
    blockTokens,
    seed,
    extra: checkExtra(extra),
  });
}
