/**
 * What `prefix` is held to: on every trace and at every size it hits as often as
 * the best of the others, within 0.3 points; on conversations, in the mean, a
 * quarter more than LRU.
 */
import { test } from "node:test";
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseTrace, type Trace } from "../../lib/sim/mod.ts";
import { compare, percent, POINTS_BEHIND_MAX } from "./compare.ts";
import { generate, type Habit, HABITS_OF_TRACES } from "./generate.ts";

function assertGood(trace: Trace, rooms: readonly number[], what: string) {
  for (const room of rooms) {
    const { best, points } = compare(trace, room);
    assert.ok(
      points >= -POINTS_BEHIND_MAX,
      `${what}, ${room} blocks: ${points.toFixed(2)} points to ${best}`,
    );
  }
}

for (const habit of Object.keys(HABITS_OF_TRACES) as Habit[]) {
  test(`prefix is as good as the best of the others: ${habit}`, () => {
    assertGood(generate(habit, 1), [500, 2000, 6000], `${habit}, seed 1`);
    assertGood(generate(habit, 2), [2000], `${habit}, seed 2`);
  });
}

/**
 * An hour of conversations, published by the Mooncake project (FAST'25) and not
 * ours to copy: it is looked for beside the repository.
 */
const RECORDED = fileURLToPath(
  new URL(
    "../../../shared/traces/conversation_trace.jsonl",
    import.meta.url,
  ),
);

test("prefix on recorded conversations hits a quarter more than lru", (t) => {
  if (!existsSync(RECORDED)) {
    const reason = `skipped because there is no ${RECORDED}`;
    console.log(reason); // where the gate looks for it
    return t.skip(reason);
  }
  const trace = parseTrace(readFileSync(RECORDED, "utf8"), RECORDED);
  const rooms = [1000, 3000, 5859, 10_000, 20_000, 30_000, 50_000];
  assertGood(trace, rooms, "conversations");
  const gains = rooms.map((room) =>
    Math.log(percent(trace, "prefix", room) / percent(trace, "lru", room))
  );
  const mean = Math.exp(gains.reduce((a, b) => a + b) / gains.length);
  assert.ok(mean >= 1.25, `${mean.toFixed(3)} times`);
});
