import { POLICIES } from "../../policy/mod.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { table } from "../format.ts";

export const policiesCommand: CommandFactory = (context) =>
  withJson(subcommand("policies", "list the eviction policies", "policies"))
    .action((options: JsonOption) => {
      const policies = Object.values(POLICIES).map(({ name, summary }) => ({
        name,
        summary,
      }));
      print(
        context,
        options,
        policies,
        table(
          ["POLICY", "WHAT IT DOES"],
          policies.map(({ name, summary }) => [name, summary]),
        ),
      );
    });
