import { test } from "node:test";
import assert from "node:assert/strict";
import { svgChart, textChart } from "../../lib/sim/chart.ts";
import { verdict } from "../../lib/sim/verdict.ts";

function curve(name: string, ...rates: number[]) {
  return {
    name,
    points: rates.map((rate, i) => ({ room: 10 ** (i + 1), rate })),
  };
}

test("verdict() names the policy that is best at most sizes, and where more is little", () => {
  const says = (...curves: ReturnType<typeof curve>[]) =>
    verdict(curves, String);
  assert.equal(
    says(curve("lru", 0.1, 0.5, 0.505), curve("prefix", 0.2, 0.6, 0.605)),
    "prefix is best at every size; above 100, more memory adds less than 1%",
  );
  assert.equal(
    says(curve("lru", 0.1, 0.4, 0.7), curve("prefix", 0.2, 0.5, 0.6)),
    "prefix is best at 2 of 3 sizes; memory pays up to the largest, 1000",
  );
  assert.equal(
    says(curve("lru", 0.1, 0.3), curve("prefix", 0.1, 0.3)),
    "the policies are alike at every size; memory pays up to the largest, 100",
  );
  assert.equal(
    says(curve("lru", 0.1, 0.4), curve("prefix", 0.2, 0.3)),
    "lru is best at 1 of 2 sizes; memory pays up to the largest, 100",
    "of those that are best as often the first",
  );
  assert.equal(says(curve("lru", 0.3)), "lru is best at 10");
  assert.equal(
    says(curve("lru", 0, 0), curve("prefix", 0, 0)),
    "nothing is hit, whatever the policy and the size",
  );
});

test("textChart() has round rates, one row in two or three, and says what x is", () => {
  for (
    const [most, ticks] of [
      [0.83, ["100%", "80%", "60%", "40%", "20%", "0%"]],
      [0.3, ["30%", "20%", "10%", "0%"]],
      [0.004, ["1%", "0.8%", "0.6%", "0.4%", "0.2%", "0%"]],
    ] as const
  ) {
    const text = textChart([curve("lru", most / 2, most)], String, 80);
    const lines = text.split("\n").filter((line) => line.includes("|"));
    assert.ok(lines.length === 10 || lines.length === 11);
    const said = lines.map((line) => line.split("|")[0]!.trim());
    assert.deepEqual(said.filter((tick) => tick !== ""), ticks);
    assert.match(text, /^ +10 +size \(log scale\) +100$/m);
    assert.match(svgChart([curve("lru", 0, most)], String), /\(log scale\)/);
  }
});
