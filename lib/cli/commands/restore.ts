import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type JsonOption, note, print } from "../context.ts";
import { count, duration } from "../format.ts";

interface Options extends JsonOption {
  readonly path?: string;
  readonly partial?: true;
}

export const restoreCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "restore",
    "make a pool from its snapshot",
    "restore llama-cache",
  ))
    .argument("<name>", "name of the pool to make")
    .option(
      "--path <directory>",
      "instead of the pool's own place (see the README)",
    )
    .option("--partial", "take what is whole of a truncated snapshot")
    .action(async (name: string, options: Options) => {
      const platform = context.platform();
      const { restoringSteps } = await import("../../snapshot/mod.ts");
      const { runSteps } = await import("../long_work.ts");
      const begun = platform.monotonic();
      const steps = restoringSteps(name, { ...options, platform });
      const report = await runSteps(context, `restore pool "${name}"`, steps);
      const took_ms = Math.round(platform.monotonic() - begun);
      for (
        const [amount, state] of [
          [report.damaged, "damaged in the snapshot"],
          [report.left_out, "for which there was no room"],
        ] as const
      ) {
        if (amount === 0) continue;
        const entries = count(amount, "entry", "entries");
        note(context, `cortex: Left out ${entries} ${state}`);
      }
      print(
        context,
        options,
        { ...report, took_ms },
        `Restored ${count(report.entries, "entry", "entries")}, ${
          formatBytes(report.value_bytes)
        }, from ${report.path} in ${duration(took_ms)}`,
      );
    });
