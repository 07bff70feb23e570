import { Pool } from "../../pool.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { count } from "../format.ts";
import { noSuchKey } from "../errors.ts";
import { keys as parseKeys } from "../options.ts";

export const deleteCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "delete",
    "take entries out; if one is not there, none is taken",
    "delete llama-cache prompt-1 prompt-2",
  ))
    .argument("<name>", "name of the pool")
    .argument("<keys...>", "keys of the entries", parseKeys)
    .action((name: string, keys: string[], options: JsonOption) => {
      using pool = Pool.open(name, { platform: context.platform() });
      const missing = keys.find((key) => !pool.has(key));
      if (missing !== undefined) throw noSuchKey("delete", name, missing);
      const deleted = keys.filter((key) => pool.delete(key));
      print(
        context,
        options,
        { deleted },
        `Deleted ${count(deleted.length, "entry", "entries")}`,
      );
    });
