import type { Platform } from "../../../ffi/platform.ts";
import { CortexError, UsageError } from "../../errors.ts";
import { isLost } from "../../place.ts";
import { Pool } from "../../pool.ts";
import type { PersistReport } from "../../snapshot/mod.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, note, print } from "../context.ts";
import { describeFailure, Exit } from "../exit.ts";
import { count, duration } from "../format.ts";
import {
  codec,
  duration as parseDuration,
  natural,
  percentage,
} from "../options.ts";
import { guarded } from "../quiet.ts";

interface Options extends JsonOption {
  readonly path?: string;
  readonly all?: true;
  readonly ifChanged?: true;
  readonly full?: true;
  readonly keep?: number;
  readonly deadLimit?: number;
  readonly compress?: "zstd";
  readonly lockTimeout?: number;
  readonly quiet?: true;
}

type Saved = PersistReport & {
  readonly name: string;
  readonly took_ms: number;
};

export const persistCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "persist",
    "save what is new of a pool to disk, whole or not at all, while it is in use",
    "persist llama-cache --keep 3",
  ))
    .argument("[name]", "name of the pool")
    .option("--all", "every pool of this host that you may read and write")
    .option(
      "--path <directory>",
      "instead of the pool's own place (see the README)",
    )
    .option("--if-changed", "write nothing if it was not used since")
    .option("--full", "write all of it anew, whatever is on disk")
    .option("--keep <n>", "former generations to keep (default: 1)", {
      read: natural("number of generations"),
    })
    .option(
      "--dead-limit <percent>",
      "write a file anew of which more is dead (default: 50)",
      { read: percentage },
    )
    .option("--compress <codec>", "store values compressed: zstd", {
      read: codec,
    })
    .option(
      "--lock-timeout <time>",
      "wait so long, such as 30s, for others that change it (default: 5s) or save it (not at all)",
      { read: parseDuration("time") },
    )
    .option("--quiet", "print nothing but one line on failure")
    .action(async (name: string | undefined, options: Options) => {
      if ((name === undefined) === (options.all === undefined)) {
        throw new UsageError(
          "persist",
          "a pool",
          "it takes the name of one, or --all",
          "Name it: cortex cache persist NAME; see which there are: cortex cache list",
        );
      }
      if (name === undefined) await saveAll(context, options);
      else await saveOne(context, name, options);
    });

async function saveOne(context: Context, name: string, options: Options) {
  const saved = await guarded(
    context,
    options,
    () => save(context, name, options),
  );
  report(context, options, saved, describe(saved));
}

/** Each in turn; one that fails keeps none of the others from being saved. */
async function saveAll(context: Context, options: Options): Promise<void> {
  if (options.path !== undefined) {
    throw new UsageError(
      "persist",
      "every pool",
      "they cannot all be saved to one --path",
      "Set CORTEX_HOME to choose where snapshots are kept",
    );
  }
  const platform = context.platform();
  const all: Saved[] = [];
  let failed: number | undefined;
  for (const name of Pool.list({ platform, own: true })) {
    try {
      all.push(await save(context, name, options));
    } catch (error) {
      if (error instanceof Exit) throw error;
      // It went away meanwhile: then there is nothing to save.
      if (isGone(error, name, platform)) continue;
      const { lines, code } = describeFailure(error);
      note(context, lines[0]!);
      failed ??= code;
    }
  }
  const text = all.length === 0
    ? "No pools to save"
    : all.map((one) => `${one.name}: ${describe(one)}`).join("\n");
  report(context, options, all, text);
  if (failed !== undefined) throw new Exit(failed);
}

/** Whether it was destroyed, or destroyed and made again. */
function isGone(error: unknown, name: string, platform: Platform): boolean {
  return error instanceof CortexError && error.code === "NOT_FOUND" &&
    !isLost(platform, name);
}

async function save(
  context: Context,
  name: string,
  options: Options,
): Promise<Saved> {
  const platform = context.platform();
  const { lockTimeout: lockTimeout_ms } = options;
  using pool = Pool.open(name, { platform, lockTimeout_ms });
  const { persistSteps } = await import("../../snapshot/mod.ts");
  const { runSteps } = await import("../long_work.ts");
  const begun = platform.monotonic();
  const steps = persistSteps(pool, {
    path: options.path,
    full: options.full,
    ifChanged: options.ifChanged,
    keep: options.keep,
    dead_percent: options.deadLimit,
    compress: options.compress !== undefined,
    lockTimeout_ms,
  });
  const done = await runSteps(
    context,
    `persist pool "${name}"`,
    steps,
    options,
  );
  if (done.damaged > 0) {
    const entries = count(done.damaged, "damaged entry", "damaged entries");
    note(
      context,
      `cortex: Left out ${entries}: see cortex cache check ${name} --values`,
    );
  }
  const took_ms = Math.round(platform.monotonic() - begun);
  return { name, ...done, took_ms };
}

function describe(saved: Saved): string {
  const { took_ms, path } = saved;
  const all = `${count(saved.entries, "entry", "entries")}, ${
    formatBytes(saved.value_bytes)
  }`;
  if (!saved.changed) {
    return `Unchanged since the last save: ${all}, in ${path}`;
  }
  const extent = saved.written_entries === saved.entries
    ? ""
    : ` (${count(saved.written_entries, "new one", "new ones")}, ${
      formatBytes(saved.written_bytes)
    } written)`;
  const skipped = saved.skipped === 0
    ? ""
    : `; ${count(saved.skipped, "entry", "entries")} went meanwhile`;
  return `Saved ${all}${extent}, to ${path} in ${duration(took_ms)}${skipped}`;
}

function report(
  context: Context,
  options: Options,
  json: unknown,
  text: string,
): void {
  if (!options.quiet || options.json) print(context, options, json, text);
}
