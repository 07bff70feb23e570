import type { Platform } from "../../../ffi/platform.ts";
import { snapshotDirectory } from "../../snapshot/location.ts";
import { UsageError } from "../../errors.ts";
import { findFile, isTaken } from "../../place.ts";
import { checkName } from "../../segment.ts";
import { stateHome } from "../../state_home.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, note, print } from "../context.ts";
import { duration } from "../options.ts";
import { cronLines, type Plan, systemdUnits } from "../schedule.ts";

interface Options extends JsonOption {
  readonly every: number;
  readonly systemd?: true;
  readonly cron?: true;
  readonly path?: string;
}

export const scheduleCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "schedule",
    "print what cron or systemd needs to save a pool, and restore it at boot",
    "schedule llama-cache --every 15m --systemd",
  ))
    .argument("<name>", "name of the pool")
    .option("--every <time>", "how often, as 15m, 6h or 1d", {
      read: duration("time"),
      default: 15 * 60_000,
      shown: "15m",
    })
    .option("--cron", "lines for a crontab (the default)")
    .option("--systemd", "units for systemd")
    .option(
      "--path <directory>",
      "instead of the pool's own place (see the README)",
    )
    .action((name: string, options: Options) => {
      checkName(name, "schedule");
      if (options.cron && options.systemd) {
        throw new UsageError(
          "schedule",
          "a pool",
          "it cannot be by cron and by systemd at once",
          "Leave one of --cron and --systemd out",
        );
      }
      const plan = makePlan(context, name, options);
      if (options.systemd) {
        const units = systemdUnits(plan);
        noteMissing(context, name);
        const text = units.map(({ path, text }) => `# ${path}\n${text}`);
        print(context, options, { units }, text.join("\n"));
        return;
      }
      const lines = cronLines(plan);
      noteMissing(context, name);
      print(context, options, { lines }, lines.join("\n"));
    });

/** It may be made later: then its tier matters. */
function noteMissing(context: Context, name: string): void {
  if (isTaken(context.platform(), name)) return;
  note(
    context,
    `cortex: There is no pool ${name} as yet; this is for one in memory`,
  );
}

/** From the root on: the job runs elsewhere. */
function checkedPath(
  path: string | undefined,
  platform: Platform,
): string | undefined {
  if (path === undefined) return undefined;
  // deno-lint-ignore no-control-regex
  if (!/[\x00-\x1f\x7f]/.test(path)) return platform.files.absolute(path);
  throw new UsageError(
    "schedule",
    `saves to ${JSON.stringify(path)}`,
    "neither cron nor systemd takes a path with control characters",
    "Give another directory",
  );
}

function makePlan(context: Context, name: string, options: Options): Plan {
  const { terminal } = context;
  const platform = context.platform();
  const isRoot = platform.uid === 0;
  const file = findFile(platform, name);
  const isDefault = isRoot && !terminal.environment("CORTEX_HOME");
  return {
    name,
    file,
    program: file === undefined || isDefault ? terminal.program : [
      "/usr/bin/env", // where the link of a pool on disk is found by its name
      `CORTEX_HOME=${stateHome(platform)}`,
      ...terminal.program,
    ],
    every_ms: options.every,
    // Jobs have another environment than we: they are told the place.
    path: checkedPath(options.path, platform) ??
      (isDefault || file !== undefined
        ? undefined
        : snapshotDirectory(platform, name)),
    user: isRoot ? undefined : terminal.user,
  };
}
