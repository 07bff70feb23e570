import { Pool } from "../../pool.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { Exit, EXIT_CORRUPT } from "../exit.ts";
import { count } from "../format.ts";

interface Options extends JsonOption {
  readonly repair?: true;
  readonly values?: true;
}

export const checkCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "check",
    "prove that a pool is whole",
    "check llama-cache --values",
  ))
    .argument("<name>", "name of the pool")
    .option("--values", "read every value, too, against its checksum")
    .option("--repair", "drop what does not hold")
    .action((name: string, options: Options) => {
      using pool = Pool.open(name, { platform: context.platform() });
      const found = pool.check(options);
      const mend = options.repair && !found.ok;
      const dropped = mend ? pool.repair(options) : 0;
      const { ok } = mend ? pool.check(options) : found;
      const { problems } = found;
      print(
        context,
        options,
        { ok, problems, ...(options.repair ? { dropped } : {}) },
        [
          ...problems,
          ...(mend
            ? [`Repaired: dropped ${count(dropped, "entry", "entries")}`]
            : []),
          ok
            ? `Pool ${name} is whole`
            : `Pool ${name} is damaged: mend it with --repair`,
        ].join("\n"),
      );
      if (!ok) throw new Exit(EXIT_CORRUPT);
    });
