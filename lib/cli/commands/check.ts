import { type CheckReport, checkSteps } from "../../check.ts";
import { Pool } from "../../pool.ts";
import { finish, type Progress } from "../../progress.ts";
import { type Dropped, repairSteps } from "../../repair.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, print } from "../context.ts";
import { Exit, EXIT_CORRUPT } from "../exit.ts";
import { count, safe } from "../format.ts";

interface Options extends JsonOption {
  readonly repair?: true;
  readonly values?: true;
}

export const checkCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "check",
    "prove that a pool is whole, while it is in use",
    "check llama-cache --values",
  ))
    .argument("<name>", "name of the pool")
    .option("--values", "read every value, too, against its checksum")
    .option("--repair", "drop what does not hold, and say what")
    .action(async (name: string, options: Options) => {
      using pool = Pool.open(name, { platform: context.platform() });
      const run = <T>(steps: Generator<Progress, T>) =>
        work(context, `check pool "${name}"`, options, steps);
      const found = await run(checkSteps(pool.core, options));
      let dropped: Dropped[] | undefined, { ok } = found;
      if (options.repair && !ok) {
        dropped = await run(repairSteps(pool.core, options));
        ({ ok } = pool.check()); // values that did not hold are gone
      }
      const { problems } = found;
      print(
        context,
        options,
        { ok, problems, ...(options.repair ? { dropped: dropped ?? [] } : {}) },
        describe(name, found, dropped, ok, options, lookedAt(pool, options)),
      );
      if (!ok) throw new Exit(EXIT_CORRUPT);
    });

/** Only reading values takes long enough to be shown and ended. */
async function work<T>(
  context: Context,
  what: string,
  options: Options,
  steps: Generator<Progress, T>,
): Promise<T> {
  if (!options.values) return finish(steps);
  const { runSteps } = await import("../long_work.ts");
  return await runSteps(context, what, steps);
}

function lookedAt(pool: Pool, { values }: Options): string {
  const { entries } = pool.status();
  const what = count(entries, "entry", "entries");
  return values ? `${what}, every value read` : `${what}, values not read`;
}

function describe(
  name: string,
  { problems }: CheckReport,
  dropped: readonly Dropped[] | undefined,
  ok: boolean,
  { values }: Options,
  looked: string,
): string {
  const lines = problems.map((problem) => safe(problem));
  for (const { key, size_bytes, reason } of dropped ?? []) {
    const entry = key === null
      ? "an entry whose key cannot be read"
      : `entry ${safe(JSON.stringify(key), 80)}`;
    const size = size_bytes === null ? "" : ` (${formatBytes(size_bytes)})`;
    lines.push(`Dropped ${entry}${size}: ${safe(reason)}`);
  }
  if (dropped) {
    const entries = count(dropped.length, "entry", "entries");
    lines.push(`Repaired: dropped ${entries}`);
  }
  lines.push(
    ok
      ? `Pool ${name} is whole: ${looked}`
      : `Pool ${name} is damaged: mend it with --repair${
        values ? " --values" : ""
      }`,
  );
  return lines.join("\n");
}
