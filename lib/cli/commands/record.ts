import type { Platform } from "../../../ffi/platform.ts";
import { FailedError, onHost, UsageError } from "../../errors.ts";
import { Pool } from "../../pool.ts";
import type { Operation } from "../../ring.ts";
import { type CommandFactory, subcommand, withJson } from "../command.ts";
import { type Context, type JsonOption, print } from "../context.ts";
import { onUserFile } from "../files.ts";
import { count } from "../format.ts";
import { seconds } from "../options.ts";

interface Options extends JsonOption {
  readonly output?: string;
  readonly seconds?: number;
  readonly on?: true;
  readonly off?: true;
}

/** How often the ring is drained while following. */
const DRAIN_INTERVAL_MS = 20;
/** The same, where more comes than the ring of a small pool holds for so long. */
const DRAIN_SHORTEST_MS = 1;

export const recordCommand: CommandFactory = (context) =>
  withJson(subcommand(
    "record",
    "write down a pool's recent operations, for cortex sim",
    "record llama-cache --output trace.jsonl --seconds 60",
  ))
    .argument("<name>", "name of the pool")
    .option("--output <file>", "write what was noted, as JSON lines")
    .option(
      "--seconds <n>",
      "note for so long, and write it as it comes; Ctrl-C ends it early",
      { read: seconds },
    )
    .option("--on", "have operations noted from now on")
    .option("--off", "have them noted no more")
    .action(async (name: string, options: Options) => {
      if (
        (options.on && options.off) ||
        (!options.on && !options.off && options.output === undefined)
      ) {
        throw new UsageError(
          "record",
          "the operations",
          "it needs one of --on, --off and --output",
          `Have them noted: cortex cache record ${name} --on; then write them: --output FILE`,
        );
      }
      using pool = Pool.open(name, { platform: context.platform() });
      const wasOn = pool.core.ring.isOn;
      if (options.on) pool.record(true);
      let written = { operations: 0, lost: 0 };
      if (options.output !== undefined) {
        expectNoted(name, wasOn, options);
        written = await write(context, pool, options.output, options.seconds);
      }
      if (options.off) pool.record(false);
      print(
        context,
        options,
        { recording: pool.core.ring.isOn, ...written },
        options.output === undefined
          ? `Operations on ${name} are ${
            pool.core.ring.isOn ? "noted" : "no longer noted"
          }`
          : `Wrote ${
            count(written.operations, "operation")
          } to ${options.output}${
            written.lost > 0
              ? `; ${count(written.lost, "older one")} had been overwritten`
              : ""
          }`,
      );
    });

function expectNoted(name: string, wasOn: boolean, options: Options): void {
  if (wasOn || options.seconds !== undefined) return;
  throw new FailedError(
    "record",
    `the operations on pool ${JSON.stringify(name)}`,
    "they are not noted",
    `Have them noted: cortex cache record ${name} --on; or for a while: --seconds 60`,
  );
}

/** What is in the ring, and what comes into it meanwhile. */
async function write(
  context: Context,
  pool: Pool,
  path: string,
  duration_s: number | undefined,
): Promise<{ operations: number; lost: number }> {
  const platform = context.platform();
  const { ring } = pool.core;
  const wasOn = ring.isOn;
  const out = new Lines(platform, path);
  let interrupted = false;
  try {
    out.add(JSON.stringify({ cortex_recording: 1, pool: pool.name }));
    const first = duration_s === undefined
      ? ring.cursor - ring.slots
      : ring.cursor;
    let cursor = Math.max(0, first) >>> 0;
    let operations = 0, lost = duration_s === undefined ? cursor : 0;
    const drain = () => {
      const drained = ring.drain(cursor);
      ({ cursor } = drained);
      lost += drained.lost;
      operations += drained.operations.length;
      for (const one of drained.operations) out.add(line(one));
      out.flush();
    };
    if (duration_s !== undefined) {
      context.terminal.onInterrupt(() => {
        interrupted = true;
      });
      // Until that is so: who is killed before leaves nothing turned on.
      await new Promise((done) => setTimeout(done));
      if (!wasOn) pool.record(true);
      const end = platform.monotonic() + duration_s * 1000;
      while (!interrupted && platform.monotonic() < end) {
        const wait_ms = lost > 0 ? DRAIN_SHORTEST_MS : DRAIN_INTERVAL_MS;
        await new Promise((done) => setTimeout(done, wait_ms));
        drain();
      }
    }
    drain();
    return { operations, lost };
  } finally {
    if (duration_s !== undefined && !wasOn) pool.record(false);
    out.close();
  }
}

function line({ kind, key, parent, size_bytes, at }: Operation): string {
  return JSON.stringify({
    op: kind,
    key,
    ...(parent === undefined ? {} : { parent }),
    size_bytes,
    at: new Date(at).toISOString(),
  });
}

/** A file, written line by line. */
class Lines {
  readonly #platform: Platform;
  readonly #what: string;
  readonly #fd: number;
  #position = 0;
  #pending: string[] = [];

  constructor(platform: Platform, path: string) {
    this.#platform = platform;
    this.#what = `file ${JSON.stringify(path)}`;
    this.#fd = onUserFile(
      "write",
      this.#what,
      () => platform.files.open(path, "replace", 0o600),
    );
  }

  add(text: string): void {
    this.#pending.push(text + "\n");
  }

  flush(): void {
    const bytes = new TextEncoder().encode(this.#pending.join(""));
    this.#pending = [];
    onHost(
      "write",
      this.#what,
      () => this.#platform.files.write(this.#fd, bytes, this.#position),
    );
    this.#position += bytes.length;
  }

  close(): void {
    this.#platform.files.close(this.#fd);
  }
}
