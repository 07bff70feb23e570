/**
 * Commands for cron: silent on success, one line on failure.
 *
 * @module
 */
import { type Context, note } from "./context.ts";
import { describeFailure, Exit } from "./exit.ts";

/** With `--quiet`, a failure is one line and no more. */
export async function guarded<T>(
  context: Context,
  { quiet }: { readonly quiet?: true },
  run: () => Promise<T>,
): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (!quiet || error instanceof Exit) throw error;
    const { lines, code } = describeFailure(error);
    note(context, lines[0]!);
    throw new Exit(code);
  }
}
