import type { Platform } from "../../../ffi/platform.ts";
import { FailedError } from "../../errors.ts";
import { showKey } from "../../key.ts";
import { Pool } from "../../pool.ts";
import type { PutOptions } from "../../plan.ts";
import { formatBytes } from "../../units.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, note, print } from "../context.ts";
import { onUserFile } from "../files.ts";
import { integer, json, key as parseKey, timeToLive } from "../options.ts";

interface Options extends JsonOption, PutOptions {
  readonly file?: string;
  readonly ttl?: number;
}

export const putCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "put",
    "put a value in, from a file or standard input",
    "put llama-cache prompt-1 --file state.bin --tokens 2000",
  ))
    .argument("<name>", "name of the pool")
    .argument("<key>", "key of the entry, up to 1,024 bytes", parseKey)
    .option(
      "--file <file>",
      "read the value from this file; - is standard input",
    )
    .option("--parent <key>", "key of the entry that this one extends")
    .option("--tokens <n>", "tokens that the value covers", {
      read: integer("tokens"),
    })
    .option(
      "--priority <n>",
      "higher stays longer; 0 by default; a chain's entries should have one",
      { read: integer("priority") },
    )
    .option("--ttl <time>", "gone after that time: 90, 90s, 15m, 2h, 1d", {
      read: timeToLive,
    })
    .option("--meta <json>", "metadata, up to 4 KiB", {
      read: json("that metadata"),
    })
    .action((name: string, key: string, given: Options) => {
      const options = { ...given, ttl_ms: given.ttl };
      const { file } = options;
      using pool = Pool.open(name, { platform: context.platform() });
      const size_bytes = file === undefined || file === "-"
        ? putBytes(pool, key, readInput(context), options)
        : putFile(pool, key, context.platform(), file, options);
      print(
        context,
        options,
        { key, size_bytes },
        `Put ${showKey(key)}: ${formatBytes(size_bytes)}`,
      );
    });

/** People who see nothing happen are told why. */
function readInput(context: Context): Uint8Array {
  const { terminal } = context;
  if (terminal.isTerminal("stdin")) {
    note(context, "Reading the value from standard input; Ctrl-D ends it");
  }
  return terminal.readAll();
}

function putBytes(
  pool: Pool,
  key: string,
  bytes: Uint8Array,
  options: PutOptions,
): number {
  pool.put(key, bytes, options);
  return bytes.length;
}

/** Reads straight into the pool. */
function putFile(
  pool: Pool,
  key: string,
  platform: Platform,
  path: string,
  options: PutOptions,
): number {
  const what = `file ${JSON.stringify(path)}`;
  const fd = onUserFile("read", what, () => platform.files.open(path, "user"));
  try {
    const size_bytes = onUserFile("read", what, () => platform.files.size(fd));
    using slot = pool.reserve(key, size_bytes, options);
    let at = 0;
    for (const view of slot.views) {
      at += onUserFile("read", what, () => platform.files.read(fd, view, at));
    }
    const rest = onUserFile(
      "read",
      what,
      () => platform.files.read(fd, new Uint8Array(1), at),
    );
    if (at !== size_bytes || rest !== 0) {
      throw new FailedError(
        "read",
        what,
        "it is no regular file, or changed meanwhile",
        "Give it on standard input",
      );
    }
    slot.seal();
    return size_bytes;
  } finally {
    platform.files.close(fd);
  }
}
