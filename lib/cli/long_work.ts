/**
 * Work that takes a while: progress on a terminal, and an end on Ctrl-C that
 * leaves nothing half-done.
 *
 * @module
 */
import type { Progress } from "../progress.ts";
import { formatBytes } from "../units.ts";
import type { Context } from "./context.ts";
import { note } from "./context.ts";
import { Exit, EXIT_INTERRUPTED } from "./exit.ts";
import { duration } from "./format.ts";

/** How long signals and the screen may wait. */
const SLICE_MS = 100;

/** Runs the steps to their end; on Ctrl-C ends them early, so that they clean up. */
export async function runSteps<T>(
  context: Context,
  what: string,
  steps: Generator<Progress, T>,
  options: { readonly quiet?: boolean | undefined } = {},
): Promise<T> {
  const { terminal } = context;
  const platform = context.platform();
  const onScreen = !options.quiet && terminal.isTerminal("stderr");
  let interrupted = false;
  terminal.onInterrupt(() => {
    interrupted = true;
  });
  await new Promise((done) => setTimeout(done)); // until the signals are caught
  const begun = platform.monotonic();
  let slice = begun;
  for (;;) {
    const step = steps.next();
    if (step.done) {
      if (onScreen) terminal.write("stderr", CLEAR_LINE);
      return step.value;
    }
    if (platform.monotonic() - slice < SLICE_MS) continue;
    await new Promise((done) => setTimeout(done)); // signals come in here
    slice = platform.monotonic();
    if (onScreen) {
      const line = describe(what, step.value, slice - begun);
      // One that is wrapped could not be cleared.
      const columns = Math.max(1, terminal.columns - 1);
      terminal.write("stderr", CLEAR_LINE + line.slice(0, columns));
    }
    if (!interrupted) continue;
    steps.return(undefined as T);
    if (onScreen) terminal.write("stderr", CLEAR_LINE);
    note(context, `cortex: Cannot ${what}: interrupted`);
    throw new Exit(EXIT_INTERRUPTED);
  }
}

const CLEAR_LINE = "\r\u001b[K";

const BAR_COLUMNS = 20;

/** A bar, how much, how fast, and how long it will take. */
export function describe(
  what: string,
  progress: Progress,
  elapsed_ms: number,
): string {
  const { done_bytes, total_bytes } = progress;
  const share = total_bytes === 0 ? 1 : Math.min(1, done_bytes / total_bytes);
  const filled = Math.round(share * BAR_COLUMNS);
  const bar = "#".repeat(filled) + "-".repeat(BAR_COLUMNS - filled);
  const rate = done_bytes / (elapsed_ms / 1000);
  const left = rate > 0 && share < 1
    ? `, ${duration((total_bytes - done_bytes) / rate * 1000)} left`
    : "";
  return `${what} [${bar}] ${(share * 100).toFixed(0)}% of ${
    formatBytes(total_bytes)
  }, ${formatBytes(Math.round(rate))}/s${left}`;
}
