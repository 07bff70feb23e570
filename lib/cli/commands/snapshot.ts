import type { SnapshotInfo } from "../../snapshot/mod.ts";
import { formatBytes } from "../../units.ts";
import {
  type CommandFactory,
  type CommandSpec,
  subcommand,
  withJson,
} from "../command.ts";
import { type Context, type JsonOption, note, print } from "../context.ts";
import { CortexError, NotFoundError, UsageError } from "../../errors.ts";
import { listSegments } from "../../segment.ts";
import { shellWord } from "../../shell.ts";
import { Exit, EXIT_CORRUPT } from "../exit.ts";
import {
  ago,
  count,
  duration,
  grouped,
  isoTime,
  percent,
  safe,
  table,
} from "../format.ts";
import { duration as parseDuration, natural } from "../options.ts";

interface Options extends JsonOption {
  readonly path?: string;
  readonly generation?: number;
  readonly keep: number;
  readonly lockTimeout?: number;
}

export const snapshotCommand: CommandFactory = (context) =>
  subcommand(
    "snapshot",
    "list, show, verify or prune what was saved of a pool",
    "snapshot verify llama-cache",
  )
    .command(listCommand(context))
    .command(showCommand(context))
    .command(verifyCommand(context))
    .command(pruneCommand(context));

function action(
  name: string,
  description: string,
  example: string,
  argument = "<name>",
): CommandSpec {
  return withJson(subcommand(name, description, example))
    .argument(argument, "name of the pool")
    .option(
      "--path <directory>",
      "instead of the pool's own place (see the README)",
    );
}

function withGeneration(command: CommandSpec): CommandSpec {
  return command.option(
    "--generation <n>",
    "not the newest: see snapshot list",
    { read: natural("generation") },
  );
}

async function load(context: Context, name: string, { path }: Options) {
  const { snapshotInfo } = await import("../../snapshot/mod.ts");
  return snapshotInfo(name, { path, platform: context.platform() });
}

const listCommand: CommandFactory = (context) =>
  action(
    "list",
    "list the generations, or what was saved of any pool",
    "snapshot list llama-cache",
    "[name]",
  ).action(async (name: string | undefined, options: Options) => {
    if (name === undefined) return await listAll(context, options);
    const info = await load(context, name, options);
    print(context, options, listToJson(info), describeList(context, info));
  });

/** The snapshots at the default place. One that cannot be read is told of. */
async function listAll(context: Context, options: Options): Promise<void> {
  if (options.path !== undefined) {
    throw new UsageError(
      "list",
      "what is in --path",
      "a directory has one pool's snapshot",
      `Name the pool: cortex cache snapshot list NAME --path ${
        shellWord(options.path)
      }`,
    );
  }
  const { listSnapshots } = await import("../../snapshot/mod.ts");
  const platform = context.platform();
  const pools = new Set(listSegments(platform));
  const found: Saved[] = [];
  for (const name of listSnapshots({ platform })) {
    try {
      const { path, generations: [newest] } = await load(
        context,
        name,
        options,
      );
      if (newest) {
        found.push({ name, path, newest, isPoolThere: pools.has(name) });
      }
    } catch (error) {
      if (!(error instanceof CortexError)) throw error;
      if (error.code !== "NOT_FOUND") note(context, `cortex: ${error.message}`);
    }
  }
  print(context, options, found.map(savedToJson), describeAll(context, found));
}

/** What was saved of a pool. */
interface Saved {
  readonly name: string;
  readonly path: string;
  readonly newest: SnapshotInfo["generations"][number];
  readonly isPoolThere: boolean;
}

function savedToJson({ name, path, newest, isPoolThere }: Saved) {
  const { generation, entries, value_bytes, file_bytes } = newest;
  return {
    name,
    path,
    generation,
    created_at: isoTime(newest.created_at),
    entries,
    value_bytes,
    file_bytes,
    problem: newest.problem ?? null,
    pool_exists: isPoolThere,
  };
}

function describeAll(context: Context, found: readonly Saved[]): string {
  if (found.length === 0) {
    return "Nothing was saved. Save a pool: cortex cache persist NAME";
  }
  const now = context.platform().now();
  return table(
    ["NAME", "SAVED", "ENTRIES", "VALUES", "ON DISK", "STATE", "POOL"],
    found.map(({ name, newest, isPoolThere }) => [
      name,
      ago(newest.created_at, now),
      grouped(newest.entries),
      formatBytes(newest.value_bytes),
      formatBytes(newest.file_bytes),
      newest.problem ?? "complete",
      isPoolThere ? "is there" : "gone",
    ]),
    ["ENTRIES", "VALUES", "ON DISK"],
  );
}

function listToJson({ path, generations, damaged }: SnapshotInfo) {
  return {
    path,
    damaged,
    generations: generations.map(({ pool: _, files, ...generation }) => ({
      ...generation,
      created_at: isoTime(generation.created_at),
      files: files.length,
    })),
  };
}

function describeList(
  context: Context,
  { generations, damaged }: SnapshotInfo,
): string {
  const now = context.platform().now();
  const uuid = generations[0]?.pool.uuid;
  const rows = generations.map((one) => [
    String(one.generation),
    ago(one.created_at, now),
    grouped(one.entries),
    formatBytes(one.value_bytes),
    String(one.files.length),
    formatBytes(one.file_bytes),
    `${one.problem ?? "complete"}${
      one.pool.uuid === uuid ? "" : ", of another pool"
    }`,
  ]);
  const head = [
    "GENERATION",
    "SAVED",
    "ENTRIES",
    "VALUES",
    "FILES",
    "ON DISK",
    "STATE",
  ];
  return [
    table(head, rows, ["GENERATION", "ENTRIES", "VALUES", "FILES", "ON DISK"]),
    ...damaged.map((file) => `${file} is damaged (checksum)`),
  ].join("\n");
}

const showCommand: CommandFactory = (context) =>
  withGeneration(
    action("show", "say what a generation holds", "snapshot show llama-cache"),
  ).action(async (name: string, options: Options) => {
    const info = await load(context, name, options);
    const { generation } = options;
    const found = generation === undefined
      ? info.generations[0]
      : info.generations.find((one) => one.generation === generation);
    if (!found) {
      throw new NotFoundError(
        "show",
        `generation ${generation ?? "1"} of the snapshot`,
        info.damaged.length > 0 ? "its manifest is damaged" : "there is none",
        `See what there is: cortex cache snapshot list ${name}`,
      );
    }
    const { pool: { tick: _, next_sequence: __, ...pool }, ...rest } = found;
    const json = {
      path: info.path,
      ...rest,
      created_at: isoTime(found.created_at),
      pool: {
        ...pool,
        mode: showMode(pool.mode),
        created_at: isoTime(pool.created_at ?? null),
      },
    };
    const now = context.platform().now();
    const lines: [string, string][] = [
      ["generation", `${found.generation}, ${ago(found.created_at, now)}`],
      ["state", found.problem ?? "complete"],
      ["entries", grouped(found.entries)],
      ["values", formatBytes(found.value_bytes)],
      ["on disk", formatBytes(found.file_bytes)],
      [
        "pool",
        `${safe(pool.name)}, ${formatBytes(pool.size_bytes)} in blocks of ${
          formatBytes(pool.block_size_bytes)
        }, up to ${count(pool.max_entries, "entry", "entries")}`,
      ],
      ["policy", safe(pool.policy)],
      ["namespace", pool.namespace === "" ? "none" : safe(pool.namespace)],
      ["uuid", safe(pool.uuid)],
      ["version", `snapshot format ${found.version}`],
    ];
    const text = [
      ...lines.map(([title, value]) => `${title.padEnd(10)} ${value}`),
      "",
      table(
        ["FILE", "SIZE", "RECORDS", "IN USE", "DEAD"],
        found.files.map((file) => [
          file.name,
          formatBytes(file.size_bytes),
          grouped(file.records),
          grouped(file.live_records),
          percent(file.dead_share),
        ]),
        ["SIZE", "RECORDS", "IN USE", "DEAD"],
      ),
    ].join("\n");
    print(context, options, json, text);
  });

/** Such as `0600`, as `create --mode` takes it. */
function showMode(mode = 0o600): string {
  return (mode & 0o777).toString(8).padStart(4, "0");
}

const verifyCommand: CommandFactory = (context) =>
  withGeneration(action(
    "verify",
    "read all of a generation against its checksums",
    "snapshot verify llama-cache",
  )).action(async (name: string, options: Options) => {
    const platform = context.platform();
    const { verifyingSteps } = await import("../../snapshot/mod.ts");
    const { runSteps } = await import("../long_work.ts");
    const begun = platform.monotonic();
    const { path, generation } = options;
    const steps = verifyingSteps(name, { path, generation, platform });
    const report = await runSteps(
      context,
      `verify snapshot of "${name}"`,
      steps,
    );
    const took_ms = Math.round(platform.monotonic() - begun);
    const whole = `${count(report.entries, "entry", "entries")}, ${
      formatBytes(report.value_bytes)
    }`;
    print(
      context,
      options,
      { ...report, took_ms },
      [
        ...report.problems.map((problem) => safe(problem)),
        report.ok
          ? `Generation ${report.generation} is whole: ${whole}, read in ${
            duration(took_ms)
          }`
          : `Damaged: of generation ${report.generation}, ${whole} are whole`,
      ].join("\n"),
    );
    if (!report.ok) throw new Exit(EXIT_CORRUPT);
  });

const pruneCommand: CommandFactory = (context) =>
  action(
    "prune",
    "remove former generations, and files that nobody needs",
    "snapshot prune llama-cache --keep 3",
  )
    .option(
      "--keep <n>",
      "former generations to keep; with 0, the last one of another pool of that name goes, too",
      { read: natural("number of generations"), default: 1 },
    )
    .option(
      "--lock-timeout <time>",
      "wait for a save that goes on, such as 30s (default: 5s)",
      { read: parseDuration("time") },
    )
    .action(async (name: string, options: Options) => {
      const { pruneSnapshot } = await import("../../snapshot/mod.ts");
      const report = pruneSnapshot(name, {
        path: options.path,
        keep: options.keep,
        lockTimeout_ms: options.lockTimeout,
        platform: context.platform(),
      });
      print(
        context,
        options,
        report,
        `Removed ${count(report.files, "file")}, ${
          formatBytes(report.freed_bytes)
        }; ${count(report.generations.length, "generation")} left`,
      );
    });
