/**
 * Work that takes a while: progress on a terminal, and an end on Ctrl-C that
 * leaves nothing half-done.
 *
 * @module
 */
import type { Progress } from "../snapshot/mod.ts";
import { formatBytes } from "../units.ts";
import type { Context } from "./context.ts";
import { note } from "./context.ts";
import { Exit, EXIT_INTERRUPTED } from "./exit.ts";

/** How long signals and the screen may wait. */
const SLICE_MS = 100;

/** Runs the steps to their end; on Ctrl-C ends them early, so that they clean up. */
export async function runSteps<T>(
  context: Context,
  what: string,
  steps: Generator<Progress, T>,
): Promise<T> {
  const { terminal } = context;
  const platform = context.platform();
  const onScreen = terminal.isTerminal("stderr");
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
      terminal.write("stderr", CLEAR_LINE + line);
    }
    if (!interrupted) continue;
    steps.return(undefined as T);
    if (onScreen) terminal.write("stderr", CLEAR_LINE);
    note(context, `cortex: Cannot ${what}: interrupted`);
    throw new Exit(EXIT_INTERRUPTED);
  }
}

const CLEAR_LINE = "\r\u001b[K";

function describe(
  what: string,
  progress: Progress,
  elapsed_ms: number,
): string {
  const { done_bytes, total_bytes } = progress;
  const share = total_bytes === 0 ? 1 : done_bytes / total_bytes;
  const rate = done_bytes / (elapsed_ms / 1000);
  return `${what}: ${(share * 100).toFixed(0)}%, ${
    formatBytes(done_bytes)
  } of ${formatBytes(total_bytes)}, ${formatBytes(Math.round(rate))}/s`;
}
