import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { count } from "../format.ts";
import { observe } from "../observe.ts";
import { keys as parseKeys } from "../options.ts";

export const matchCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "match",
    "say how many leading keys of a chain are present",
    "match llama-cache key-1 key-2 key-3",
  ))
    .argument("<name>", "name of the pool")
    .argument("<keys...>", "the chain's keys, first to last", parseKeys)
    .action((name: string, keys: string[], options: JsonOption) => {
      using pool = observe(context, name);
      const matched = keys.slice(0, pool.match(keys));
      const tokens = matched.reduce(
        (sum, key) => sum + (pool.info(key)?.tokens ?? 0),
        0,
      );
      print(
        context,
        options,
        { matched, tokens },
        `${matched.length} of ${count(keys.length, "key")} present, ${
          count(tokens, "token")
        }`,
      );
    });
