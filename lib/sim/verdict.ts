/**
 * What curves come to, in one line.
 *
 * @module
 */
import type { Curve, Label } from "./chart.ts";

/** A share of the touches that is not worth more memory. */
const WORTH_MIN = 0.01;

/**
 * The policy that is best at most sizes, and the size from which on more memory
 * gives it hardly any more hits. `curves` are those of policies alone.
 */
export function verdict(curves: readonly Curve[], label: Label): string {
  const isHit = curves.some(({ points }) =>
    points.some(({ rate }) => rate > 0)
  );
  if (!isHit) return "nothing is hit, whatever the policy and the size";
  const best = bestAtMost(curves);
  const { points } = best.curve;
  const isAlike = curves.length > 1 &&
    curves.every((curve) =>
      curve.points.every(({ rate }, at) => rate === points[at]!.rate)
    );
  const where = points.length === 1
    ? `at ${label(points[0]!.room)}`
    : best.sizes === points.length
    ? "at every size"
    : `at ${best.sizes} of ${points.length} sizes`;
  const who = isAlike ? "the policies are alike" : `${best.curve.name} is best`;
  return `${who} ${where}${enough(best.curve, label)}`;
}

/** Of equal ones the first. */
function bestAtMost(curves: readonly Curve[]) {
  const rateAt = (curve: Curve, at: number) => curve.points[at]!.rate;
  const counted = curves.map((curve) => ({
    curve,
    sizes:
      curve.points.filter(({ rate }, at) =>
        curves.every((other) => rate >= rateAt(other, at))
      ).length,
  }));
  return counted.reduce((best, one) => one.sizes > best.sizes ? one : best);
}

function enough({ points }: Curve, label: Label): string {
  const last = points.at(-1)!;
  if (points.length === 1) return "";
  const first = points.find(({ rate }) => last.rate - rate < WORTH_MIN)!;
  return first === last
    ? `; memory pays up to the largest, ${label(last.room)}`
    : `; above ${label(first.room)}, more memory adds less than ${
      WORTH_MIN * 100
    }%`;
}
