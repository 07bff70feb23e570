/**
 * What a suite finds: a figure, and what it is held against, from the same run.
 *
 * @module
 */
import type { Samples } from "./measure.ts";

export type Unit = "us" | "ms" | "s" | "1/s" | "bytes";

/** One figure beside another. */
export interface Finding {
  /** Such as "put". */
  readonly what: string;
  /** At what size or number, such as "64 KiB". */
  readonly at: string;
  readonly value: number;
  readonly unit: Unit;
  /** Such as "plain copy". */
  readonly against: string;
  readonly against_value: number;
  readonly ratio: number;
  /** Which way a ratio gets better. */
  readonly better: "higher" | "lower";
  /** How much the rounds of the figure differ, as a share of it. */
  readonly spread: number;
}

/** Which two figures of the samples a finding is about. */
interface Pair {
  readonly what: string;
  readonly at: string;
  readonly against: string;
  /** "us" by default. */
  readonly unit?: Unit;
  /** Names in the samples, where they are not `what` and `against`. */
  readonly from?: readonly [ours: string, theirs: string];
}

/** Two times, as how often ours fits into the other: the ratio of the rates. */
export function rate(samples: Samples, pair: Pair): Finding {
  return compare(samples, pair, "higher", (ours, theirs) => theirs / ours);
}

/** Two times or sizes, as how much of the other ours is. */
export function cost(samples: Samples, pair: Pair): Finding {
  return compare(samples, pair, "lower", (ours, theirs) => ours / theirs);
}

/** Two figures of which more is better. */
export function gain(samples: Samples, pair: Pair): Finding {
  return compare(samples, pair, "higher", (ours, theirs) => ours / theirs);
}

function compare(
  samples: Samples,
  { what, at, against, unit = "us", from = [what, against] }: Pair,
  better: Finding["better"],
  ratioOf: (ours: number, theirs: number) => number,
): Finding {
  const [value, against_value] = [
    samples.median(from[0]),
    samples.median(from[1]),
  ];
  return {
    what,
    at,
    value,
    unit,
    against,
    against_value,
    ratio: ratioOf(value, against_value),
    better,
    spread: samples.spread(from[0]),
  };
}
