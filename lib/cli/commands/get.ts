import { UsageError } from "../../errors.ts";
import { Pool } from "../../pool.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, print } from "../context.ts";
import { noSuchKey } from "../errors.ts";
import { entryToJson } from "../pool_json.ts";
import { key as parseKey } from "../options.ts";

interface Options extends JsonOption {
  readonly output?: string;
}

export const getCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "get",
    "write a value to a file or standard output",
    "get llama-cache prompt-1 --output state.bin",
  ))
    .argument("<name>", "name of the pool")
    .argument("<key>", "key of the entry", parseKey)
    .option(
      "--output <file>",
      "write the value to this file; - is standard output",
    )
    .action(async (name: string, key: string, options: Options) => {
      const { json } = options;
      const output = options.output === "-" ? undefined : options.output;
      if (json && output === undefined) {
        throw new UsageError(
          "print",
          "the value and JSON",
          "both would go to standard output",
          "Add --output FILE",
        );
      }
      using pool = Pool.open(name, { platform: context.platform() });
      using hit = pool.get(key);
      if (!hit) throw noSuchKey("get", name, key);
      hit.verify();
      if (output === undefined) {
        for (const view of hit.views) context.terminal.write("stdout", view);
        return;
      }
      const { writeFileSteps } = await import("../output_file.ts");
      const { runSteps } = await import("../long_work.ts");
      const steps = writeFileSteps(context.platform(), output, hit.views);
      await runSteps(context, `write file ${JSON.stringify(output)}`, steps);
      const info = pool.info(key);
      print(context, options, info ? entryToJson(info) : { key }, "");
    });
