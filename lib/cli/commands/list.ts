import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { observeAll, poolTable } from "../observe.ts";
import { toJson } from "../pool_json.ts";

export const listCommand: CommandFactory = (context) =>
  withJson(subcommand("list", "list the pools of this host", "list"))
    .action((options: JsonOption) => {
      const pools = observeAll(context);
      print(context, options, pools.map(toJson), poolTable(pools));
    });
