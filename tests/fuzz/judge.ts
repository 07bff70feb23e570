/**
 * Runs what may meet damage: it may refuse with an error of ours, and nothing
 * else, and not for long.
 *
 * @module
 */
import { CortexError } from "../../lib/errors.ts";

/** A small pool takes milliseconds: what takes longer than this hangs. */
const LONGEST_MS = 20_000;

/** What must never be was. */
export class Finding extends Error {
  override readonly name = "Finding";
}

/** Counts how operations ended. */
export class Judge {
  readonly outcomes = new Map<string, number>();

  /** What `run` gave, or `undefined` if it refused. */
  try<T>(what: string, run: () => T): T | undefined {
    const begun = performance.now();
    try {
      const result = run();
      this.#count(`${what} done`);
      return result;
    } catch (error) {
      if (error instanceof Finding) throw error;
      if (!(error instanceof CortexError)) {
        throw new Finding(`${what} ended in no typed error`, { cause: error });
      }
      this.#count(`${what} refused ${error.code}`);
      return undefined;
    } finally {
      const took_ms = performance.now() - begun;
      if (took_ms > LONGEST_MS) {
        // deno-lint-ignore no-unsafe-finally
        throw new Finding(`${what} took ${Math.round(took_ms)} ms`);
      }
    }
  }

  #count(outcome: string): void {
    this.outcomes.set(outcome, (this.outcomes.get(outcome) ?? 0) + 1);
  }
}
