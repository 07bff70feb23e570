import { Pool } from "../../pool.ts";
import { checkName } from "../../segment.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, note, print } from "../context.ts";
import { Exit } from "../exit.ts";

interface Options extends JsonOption {
  readonly yes?: true;
}

export const destroyCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "destroy",
    "remove a pool with all that is in it; its snapshot stays",
    "destroy llama-cache --yes",
  ))
    .argument("<name>", "name of the pool")
    .option("--yes", "do not ask (nor is asked where there is no terminal)")
    .action((name: string, options: Options) => {
      const { terminal } = context;
      checkName(name, "destroy");
      const asks = !options.yes && terminal.isTerminal("stdin") &&
        terminal.isTerminal("stderr");
      if (asks) {
        terminal.write("stderr", `Destroy pool ${name}? [y/N] `);
        if (!/^y(es)?$/i.test(terminal.readLine().trim())) {
          note(context, "Nothing was changed");
          throw new Exit(1);
        }
      }
      Pool.destroy(name, { platform: context.platform() });
      print(context, options, { destroyed: name }, `Destroyed pool ${name}`);
    });
