/** The simulator, against what is known of caches without it. */
import { test } from "node:test";
import assert from "node:assert/strict";
import type { PolicyName } from "../../lib/policy/mod.ts";
import { POLICIES } from "../../lib/policy/mod.ts";
import { svgChart, textChart } from "../../lib/sim/chart.ts";
import { parseTrace, simulate, type Trace } from "../../lib/sim/mod.ts";
import { tempPool } from "../helpers.ts";
import { generate } from "../traces/generate.ts";

/** Prefix hits of an LRU cache, in ten lines and nobody else's code. */
function plainLru(requests: readonly (readonly number[])[], room: number) {
  const cache = new Map<number, true>();
  let hits = 0;
  for (const blocks of requests) {
    const missing = blocks.findIndex((block) => !cache.has(block));
    hits += missing === -1 ? blocks.length : missing;
    for (const block of blocks) {
      cache.delete(block);
      cache.set(block, true);
      if (cache.size > room) cache.delete(cache.keys().next().value!);
    }
  }
  return hits;
}

function requestsOf({ starts, touches }: Trace): number[][] {
  return Array.from(
    { length: starts.length - 1 },
    (_, i) => [...touches.subarray(starts[i]!, starts[i + 1]!)],
  );
}

test("simulate() of lru equals an independent LRU, to the hit", () => {
  for (const habit of ["agents", "code", "scans"] as const) {
    const trace = generate(habit, 3);
    for (const room of [1, 77, 1000, 5000]) {
      const { prefix_hits } = simulate(trace, {
        policy: "lru",
        room,
        unit: "blocks",
      });
      assert.equal(prefix_hits, plainLru(requestsOf(trace), room), habit);
    }
  }
});

test("the same trace through a pool gives the same hits as simulate()", () => {
  const whole = generate("agents", 5);
  const requests = requestsOf(whole).slice(0, 250);
  const text = requests.map((blocks) => JSON.stringify({ hash_ids: blocks }));
  const trace = parseTrace(text.join("\n"), "agents");
  const room = 400, value = new Uint8Array(8);
  for (const policy of Object.keys(POLICIES) as PolicyName[]) {
    for (const low of [100, 90]) {
      using temp = tempPool({ size: "8M", policy, low, maxEntries: room });
      let hits = 0;
      for (const blocks of requests) {
        let leads = true;
        blocks.forEach((block, i) => {
          using hit = temp.pool.get(`block-${block}`);
          if (!hit) {
            const parent = i > 0 ? `block-${blocks[i - 1]}` : undefined;
            temp.pool.put(`block-${block}`, value, { parent });
          }
          leads &&= hit !== undefined;
          if (leads) hits++;
        });
      }
      const { prefix_hits } = simulate(trace, {
        policy,
        room,
        unit: "blocks",
        low_percent: low,
      });
      assert.equal(hits, prefix_hits, `${policy}, down to ${low}%`);
      assert.ok(temp.pool.status().evictions > 0);
      assert.deepEqual(temp.pool.check().problems, []);
    }
  }
});

test("the bound is what the best choice of all hits", () => {
  const lines = "abcabdacbbdaacdb".split("").map((key) => `${key},1`);
  const trace = parseTrace(lines.join("\n"), "letters");
  const keys = [...trace.touches];
  // Every choice there is: whom to drop, or to leave the new one out.
  const best = (at: number, held: readonly number[]): number => {
    if (at === keys.length) return 0;
    const key = keys[at]!;
    if (held.includes(key)) return 1 + best(at + 1, held);
    const choices = held.map((_, i) => held.toSpliced(i, 1, key));
    if (held.length < 2) choices.push([...held, key]);
    return Math.max(best(at + 1, held), ...choices.map((c) => best(at + 1, c)));
  };
  const { prefix_hits } = simulate(trace, {
    policy: "bound",
    room: 2,
    unit: "blocks",
  });
  assert.equal(prefix_hits, best(0, []));
});

test("no policy beats the bound, and all hit everything when all fits", () => {
  const trace = generate("flood", 1);
  for (const room of [200, 3000]) {
    const bound = simulate(trace, { policy: "bound", room, unit: "blocks" });
    for (const policy of Object.keys(POLICIES) as PolicyName[]) {
      const one = simulate(trace, { policy, room, unit: "blocks" });
      assert.ok(one.prefix_hits <= bound.prefix_hits, policy);
    }
  }
  const all = (policy: PolicyName | "bound") =>
    simulate(trace, { policy, room: trace.keys, unit: "blocks" }).prefix_hits;
  assert.equal(all("prefix"), all("bound"));
  assert.equal(all("lru"), all("bound"));
});

test("sizes count where the room is told in bytes", () => {
  const trace = parseTrace("key,size\na,60\nb,40\na,60\nc,10\na,60\n", "csv");
  const hits = (room: number) =>
    simulate(trace, { policy: "lru", room, unit: "bytes" }).prefix_hits;
  assert.equal(hits(110), 2);
  assert.equal(hits(100), 2);
  assert.equal(hits(70), 0 + 1);
  assert.equal(hits(59), 0);
  const blocks = simulate(trace, {
    policy: "lru",
    room: 7,
    unit: "blocks",
    block_bytes: 10,
  });
  assert.equal(blocks.prefix_hits, 1);
});

test("parseTrace() reads requests, objects and recordings", () => {
  const mooncake = parseTrace(
    '{"timestamp": 0, "hash_ids": [0, 5]}\n\n{"hash_ids": [0, 6, 7]}\n',
    "t",
  );
  assert.deepEqual([...mooncake.touches], [0, 1, 0, 2, 3]);
  assert.deepEqual([...mooncake.parents], [-1, 0, -1, 0, 2]);
  assert.deepEqual([...mooncake.starts], [0, 2, 5]);
  const csv = parseTrace("a,b,7\nc,2\n", "t");
  assert.deepEqual([...csv.sizes], [7, 2]);
  const recording = parseTrace(
    [
      '{"cortex_recording":1,"pool":"p"}',
      '{"op":"miss","key":"aa","size_bytes":0}',
      '{"op":"put","key":"aa","size_bytes":9}',
      '{"op":"put","key":"bb","parent":"aa","size_bytes":9}',
      '{"op":"hit","key":"bb","parent":"aa","size_bytes":9}',
    ].join("\n"),
    "t",
  );
  assert.deepEqual([...recording.touches], [0, 1, 1]);
  assert.deepEqual([...recording.starts], [0, 2, 3]);
});

test("parseTrace() says which line is wrong", () => {
  for (
    const [text, line] of [
      ['{"hash_ids": [1]}\n{"hash": [2]}', 2],
      ["a,1\nb,x", 2],
      ['{"hash_ids": [1]}\nnonsense', 2],
      ['{"cortex_recording":1}\n{"op":"fly","key":"a"}', 2],
    ] as const
  ) {
    assert.throws(
      () => parseTrace(text, "trace x"),
      new RegExp(`trace x: line ${line} is not one of a trace`),
    );
  }
  assert.throws(() => parseTrace("\n\n", "trace x"), /it is empty/);
});

test("charts show every policy, at every size", () => {
  const curves = ["lru", "a<b"].map((name, i) => ({
    name,
    points: [100, 1000, 10_000].map((room, j) => ({
      room,
      rate: 0.1 * (i + j),
    })),
  }));
  const text = textChart(curves, String, 80);
  assert.match(text, /\* lru {3}o a<b/);
  assert.ok(text.split("\n").every((line) => line.length <= 80));
  const svg = svgChart(curves, String);
  assert.match(svg, /^<svg [^]*<\/svg>\n$/);
  assert.equal(svg.match(/<polyline/g)?.length, 2);
  assert.equal(svg.match(/<circle/g)?.length, 6);
  assert.match(svg, /a&lt;b/);
});

test("288,000 block touches take less than two seconds", () => {
  const trace = generate("documents", 1);
  const started = performance.now();
  const { block_touches } = simulate(trace, {
    policy: "prefix",
    room: 5000,
    unit: "blocks",
  });
  const took_ms = performance.now() - started;
  const limit_ms = 2000 * block_touches / 288_000;
  // Three times that, for machines that are busy with other tests.
  assert.ok(took_ms < 3 * limit_ms, `${took_ms} ms for ${block_touches}`);
});
