/**
 * Compares `prefix` with the best of the others by hand, on more seeds and sizes
 * than the tests have: `deno task policies [--seed N]`. Points ahead, in percent
 * of block touches; a star where it is further behind than it may be.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { compare, POINTS_BEHIND_MAX } from "./compare.ts";
import { generate, type Habit, HABITS_OF_TRACES } from "./generate.ts";

const ROOMS = [500, 1000, 2000, 5000, 10_000, 20_000];
const SEEDS = 3;

const { values } = parseArgs({
  options: { seed: { type: "string", default: "3" } },
});
const first = Number(values.seed);
let cells = 0, behind = 0, sum = 0;
console.log(["blocks".padEnd(14), ...ROOMS.map((room) => cell(`${room}`))]
  .join(""));
for (const habit of Object.keys(HABITS_OF_TRACES) as Habit[]) {
  for (let seed = first; seed < first + SEEDS; seed++) {
    const trace = generate(habit, seed);
    const points = ROOMS.map((room) => compare(trace, room).points);
    cells += points.length;
    sum += points.reduce((a, b) => a + b);
    behind += points.filter((one) => one < -POINTS_BEHIND_MAX).length;
    console.log([`${habit} ${seed}`.padEnd(14), ...points.map(shown)].join(""));
  }
}
console.log(
  `${behind} of ${cells} are more than ${POINTS_BEHIND_MAX} behind; ` +
    `in the mean ${(sum / cells).toFixed(2)} ahead`,
);

function shown(points: number): string {
  const mark = points < -POINTS_BEHIND_MAX ? "*" : "";
  return cell(`${mark}${points.toFixed(2)}`);
}

function cell(text: string): string {
  return text.padStart(8);
}
