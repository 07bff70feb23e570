/**
 * Long work, step by step, so that its caller can show how far it has come and
 * end it early.
 *
 * @module
 */

/** How far long work has come. */
export interface Progress {
  readonly done_bytes: number;
  readonly total_bytes: number;
}

/** Takes every step. */
export function finish<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
