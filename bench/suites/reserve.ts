/**
 * Room that is filled in place, against a plain copy into a warm mapping.
 *
 * @module
 */
import type { Pool } from "../../lib/mod.ts";
import { type Finding, rate } from "../finding.ts";
import { type Contender, each, inTurn } from "../measure.ts";
import {
  type Context,
  randomBytes,
  ringLength,
  type Run,
  sizeLabel,
} from "../suite.ts";
import { withWarmViews } from "../warm.ts";

const SIZES = [64 << 10, 512 << 10, 2 << 20];
const ROUND_BYTES = { quick: 2 << 20, usual: 64 << 20, full: 256 << 20 };

/** Whoever fills all of it need not have it cleared first: `rawViews`. */
const WAYS = ["reserve, fill, seal", "reserve, fill raw, seal"] as const;

function contenders(
  pool: Pool,
  views: readonly Uint8Array[],
  bytes: Uint8Array,
  count: number,
): Contender[] {
  const key = (i: number) => `reserved-${bytes.length}-${i % views.length}`;
  return [
    {
      name: "plain copy",
      count,
      run: each((i) => views[i % views.length]!.set(bytes)),
    },
    {
      name: WAYS[0],
      count,
      run: each((i) => {
        using slot = pool.reserve(key(i), bytes.length);
        slot.bytes.set(bytes);
        slot.seal();
      }),
    },
    {
      name: WAYS[1],
      count,
      run: each((i) => {
        using slot = pool.reserve(key(i), bytes.length);
        let at = 0;
        for (const view of slot.rawViews) {
          view.set(bytes.subarray(at, at += view.length));
        }
        slot.seal();
      }),
    },
  ];
}

async function measure(
  context: Context,
  pool: Pool,
  size_bytes: number,
): Promise<Finding[]> {
  const bytes = randomBytes(size_bytes);
  const count = Math.max(4, context.scaled(ROUND_BYTES) / size_bytes);
  const samples = await withWarmViews(
    context.poolName("copy"),
    ringLength(size_bytes, count),
    size_bytes,
    (views) =>
      inTurn(contenders(pool, views, bytes, count), context.order.rounds),
  );
  return WAYS.map((what) =>
    rate(samples, { what, at: sizeLabel(size_bytes), against: "plain copy" })
  );
}

export const run: Run = (context) =>
  context.withPool(
    "reserve",
    { size: "512M", populate: true },
    async (pool) => {
      const findings: Finding[] = [];
      for (const size_bytes of SIZES) {
        findings.push(...await measure(context, pool, size_bytes));
      }
      return findings;
    },
  );
