import type { RestoreReport } from "../../snapshot/mod.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, note, print } from "../context.ts";
import { Exit } from "../exit.ts";
import { count, duration, safe } from "../format.ts";
import { duration as parseDuration, natural } from "../options.ts";
import { guarded } from "../quiet.ts";

interface Options extends JsonOption {
  readonly path?: string;
  readonly partial?: true;
  readonly merge?: true;
  readonly replace?: true;
  readonly namespace?: string;
  readonly generation?: number;
  readonly lockTimeout?: number;
  readonly background?: true;
  /** We are the one in the background. */
  readonly inBackground?: true;
  readonly quiet?: true;
}

export const restoreCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "restore",
    "fill a pool from its snapshot; make the pool if there is none",
    "restore llama-cache --background",
  ))
    .argument("<name>", "name of the pool")
    .option(
      "--path <directory>",
      "instead of the pool's own place (see the README)",
    )
    .option("--merge", "into a pool that has entries: keep those")
    .option("--replace", "into a pool that has entries: drop those")
    .option("--namespace <text>", "refuse a snapshot of another namespace")
    .option("--generation <n>", "not the newest: see snapshot list", {
      read: natural("generation"),
    })
    .option("--partial", "take what is whole of a damaged snapshot")
    .option("--background", "return when the first entries come")
    .option("--in-background", "", { hidden: true })
    .option(
      "--lock-timeout <time>",
      "wait so long, such as 30s, for others that change it (default: 5s) or restore it (not at all)",
      { read: parseDuration("time") },
    )
    .option("--quiet", "print nothing but one line on failure")
    .action(async (name: string, options: Options) => {
      await guarded(
        context,
        options,
        () =>
          options.background && !options.inBackground
            ? startBackground(context, name, options)
            : restore(context, name, options),
      );
    });

/** Runs the same command once more, and returns when it has begun to load. */
async function startBackground(
  context: Context,
  name: string,
  options: Options,
): Promise<void> {
  const { terminal } = context;
  const args = terminal.args.filter((word) => word !== "--background");
  const begun = await terminal.runInBackground([...args, "--in-background"]);
  if ("code" in begun) {
    const lines = begun.stderr.trimEnd().split("\n");
    note(context, (options.quiet ? lines.slice(0, 1) : lines).join("\n"));
    throw new Exit(begun.code);
  }
  if (options.quiet && !options.json) return;
  const { total_bytes } = JSON.parse(begun.line);
  print(
    context,
    options,
    { name, total_bytes },
    `Restoring ${formatBytes(total_bytes)} in the background`,
  );
}

async function restore(
  context: Context,
  name: string,
  options: Options,
): Promise<void> {
  const platform = context.platform();
  const { restoringSteps } = await import("../../snapshot/mod.ts");
  const { runSteps } = await import("../long_work.ts");
  const { lockTimeout: lockTimeout_ms, ...rest } = options;
  const begun = platform.monotonic();
  const steps = restoringSteps(name, { ...rest, lockTimeout_ms, platform });
  if (options.inBackground) {
    const begun = steps.next(); // the pool is there, and its manifest read
    const total_bytes = begun.done ? 0 : begun.value.total_bytes;
    print(context, { json: true }, { total_bytes }, "");
    while (!steps.next().done);
    return;
  }
  const what = `restore pool "${name}"`;
  const report = await runSteps(context, what, steps, options);
  const took_ms = Math.round(platform.monotonic() - begun);
  if (!options.quiet) noteLosses(context, report);
  else if (report.damaged > 0) {
    note(
      context,
      `cortex: ${leftOut(report.damaged, "damaged in the snapshot")}`,
    );
  }
  if (options.quiet && !options.json) return;
  const present = report.present === 0
    ? ""
    : `; ${count(report.present, "entry was", "entries were")} there already`;
  print(
    context,
    options,
    { name, ...report, took_ms },
    `Restored ${count(report.entries, "entry", "entries")}, ${
      formatBytes(report.value_bytes)
    }, from ${report.path} in ${duration(took_ms)}${present}`,
  );
}

/** Damaged entries that are told of one by one. */
const SHOWN_MAX = 5;

function leftOut(amount: number, state: string): string {
  return `Left out ${count(amount, "entry", "entries")} ${state}`;
}

function noteLosses(context: Context, report: RestoreReport): void {
  for (const reason of report.passed_over) {
    note(
      context,
      `cortex: Took generation ${report.generation}, because ${safe(reason)}`,
    );
  }
  if (report.damaged > 0) {
    note(
      context,
      `cortex: ${leftOut(report.damaged, "damaged in the snapshot")}:`,
    );
    const shown = report.damaged_entries.slice(0, SHOWN_MAX);
    for (const one of shown) note(context, `  ${safe(one)}`);
    const more = report.damaged - shown.length;
    if (more > 0) note(context, `  and ${count(more, "more")}`);
  }
  if (report.left_out > 0) {
    const state = "for which there was no room, the least valuable ones";
    note(context, `cortex: ${leftOut(report.left_out, state)}`);
  }
}
