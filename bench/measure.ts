/**
 * Times taken in turn: each round runs every contender once, so that what the
 * machine does meanwhile falls on all of them alike, and the median round
 * counts.
 *
 * @module
 */

/** One of those that are compared. */
export interface Contender {
  readonly name: string;
  /** Operations a round. */
  readonly count: number;
  /** Does that many. */
  readonly run: (count: number) => void | Promise<void>;
}

/** `one` again and again, one after the other. */
export function each(one: (i: number) => void): (count: number) => void {
  return (count) => {
    for (let i = 0; i < count; i++) one(i);
  };
}

/** `one` again and again, `depth` of them under way at once. */
export function overlapped(
  depth: number,
  one: (i: number) => Promise<unknown>,
): (count: number) => Promise<void> {
  return async (count) => {
    let next = 0;
    const line = async () => {
      while (next < count) await one(next++);
    };
    await Promise.all(Array.from({ length: depth }, line));
  };
}

/** The value that a share of all are at most: 0.5 for the median. */
export function percentile(values: Iterable<number>, share: number): number {
  const sorted = Float64Array.from(values).sort();
  const last = sorted.length - 1;
  const value = sorted[Math.min(last, Math.floor(sorted.length * share))];
  if (value === undefined) throw new Error("Cannot take a median of nothing");
  return value;
}

export function median(values: Iterable<number>): number {
  return percentile(values, 0.5);
}

/** What was measured under each name, round by round. */
export class Samples {
  readonly #values = new Map<string, number[]>();

  add(name: string, value: number): void {
    const values = this.#values.get(name);
    if (values) values.push(value);
    else this.#values.set(name, [value]);
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  median(name: string): number {
    return median(this.#values.get(name) ?? []);
  }

  /** Half of the rounds lie within this share of the median. */
  spread(name: string): number {
    const values = this.#values.get(name) ?? [];
    const width = percentile(values, 0.75) - percentile(values, 0.25);
    return width / median(values);
  }
}

export function seconds(run: () => void): number {
  const begun = performance.now();
  run();
  return (performance.now() - begun) / 1000;
}

/**
 * Microseconds an operation, of each contender. A round before the first warms
 * up, and every other round goes backwards: nobody always follows the same one.
 */
export async function inTurn(
  contenders: readonly Contender[],
  rounds: number,
): Promise<Samples> {
  const samples = new Samples();
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 === 0 ? contenders : contenders.toReversed();
    for (const { name, count, run } of order) {
      const begun = performance.now();
      await run(count);
      const took_us = (performance.now() - begun) * 1000 / count;
      if (round > 0) samples.add(name, took_us);
    }
  }
  return samples;
}
