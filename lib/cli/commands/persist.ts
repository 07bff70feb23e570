import { Pool } from "../../pool.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, note, print } from "../context.ts";
import { count, duration } from "../format.ts";

interface Options extends JsonOption {
  readonly path?: string;
}

export const persistCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "persist",
    "save a pool to disk, whole or not at all, while it is in use",
    "persist llama-cache",
  ))
    .argument("<name>", "name of the pool")
    .option(
      "--path <directory>",
      "instead of the pool's own place (see the README)",
    )
    .action(async (name: string, options: Options) => {
      const platform = context.platform();
      using pool = Pool.open(name, { platform });
      const { persistSteps } = await import("../../snapshot/mod.ts");
      const { runSteps } = await import("../long_work.ts");
      const begun = platform.monotonic();
      const steps = persistSteps(pool, options);
      const report = await runSteps(context, `persist pool "${name}"`, steps);
      const took_ms = Math.round(platform.monotonic() - begun);
      if (report.damaged > 0) {
        note(
          context,
          `cortex: Left out ${
            count(report.damaged, "damaged entry", "damaged entries")
          }: see cortex cache check ${name} --values`,
        );
      }
      print(
        context,
        options,
        { ...report, took_ms },
        `Saved ${count(report.entries, "entry", "entries")}, ${
          formatBytes(report.value_bytes)
        }, to ${report.path} in ${duration(took_ms)}`,
      );
    });
