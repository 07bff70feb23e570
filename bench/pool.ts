/**
 * What a put and a hit cost, against a plain copy of the same bytes into a warm
 * mapping, all in one run: medians of rounds taken in turn. Runs under Deno and
 * under Bun.
 *
 *   deno task bench [--json]
 *
 * @module
 */
import { hostPlatform } from "../ffi/mod.ts";
import { Pool } from "../lib/mod.ts";
import { formatBytes } from "../lib/units.ts";

const SIZES = [4 << 10, 64 << 10, 512 << 10, 2 << 20, 8 << 20];
const ROUNDS = 7;
/** Bytes that a round moves, about. */
const ROUND_BYTES = 256 << 20;
const KEYS = 16;

interface Row {
  readonly size_bytes: number;
  readonly copy_us: number;
  readonly put_us: number;
  readonly get_us: number;
  /** Rate of a put as a share of the plain copy's. */
  readonly put_ratio: number;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1]!;
}

/** Microseconds of one of `count` runs. */
function time(count: number, run: (i: number) => void): number {
  const begun = performance.now();
  for (let i = 0; i < count; i++) run(i);
  return (performance.now() - begun) * 1000 / count;
}

/** A mapping of our own, every page of it touched. */
function warmViews(size_bytes: number): Uint8Array[] {
  const platform = hostPlatform();
  const name = `bench-copy-${platform.pid}`;
  const fd = platform.createSegment(name, 0o600);
  platform.unlinkSegment(name);
  platform.truncate(fd, KEYS * size_bytes);
  platform.allocate(fd, 0, KEYS * size_bytes);
  const mapping = platform.map(fd, KEYS * size_bytes);
  return Array.from({ length: KEYS }, (_, i) => {
    const view = new Uint8Array(mapping.window(i * size_bytes, size_bytes));
    return view.fill(1);
  });
}

function measure(pool: Pool, size_bytes: number): Row {
  const value = crypto.getRandomValues(new Uint8Array(65536));
  const bytes = new Uint8Array(size_bytes);
  for (let at = 0; at < size_bytes; at += value.length) {
    bytes.set(value.subarray(0, Math.min(value.length, size_bytes - at)), at);
  }
  const views = warmViews(size_bytes);
  const count = Math.max(
    8,
    Math.min(4000, Math.ceil(ROUND_BYTES / size_bytes)),
  );
  const key = (i: number) => `bench-${size_bytes}-${i % KEYS}`;
  const copy = (i: number) => views[i % KEYS]!.set(bytes);
  const put = (i: number) => pool.put(key(i), bytes);
  const get = (i: number) => {
    using hit = pool.get(key(i));
    if (hit?.bytes.length !== size_bytes) throw new Error("a miss");
  };
  const runs = { copy: [], put: [], get: [] } as Record<string, number[]>;
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, run] of Object.entries({ copy, put, get })) {
      const took = time(count, run);
      if (round > 0) runs[name]!.push(took); // the first one warms up
    }
  }
  const [copy_us, put_us, get_us] = ["copy", "put", "get"].map((name) =>
    median(runs[name]!)
  ) as [number, number, number];
  return { size_bytes, copy_us, put_us, get_us, put_ratio: copy_us / put_us };
}

const name = `bench-${hostPlatform().pid}`;
try {
  using pool = Pool.create(name, { size: "1G" });
  const rows = SIZES.map((size) => measure(pool, size));
  if (process.argv.includes("--json")) {
    console.log(JSON.stringify({ runtime: hostPlatform().runtime, rows }));
  } else {
    console.log(`${hostPlatform().runtime}: medians of ${ROUNDS} rounds`);
    console.table(rows.map((row) => ({
      size: formatBytes(row.size_bytes),
      "plain copy, us": row.copy_us.toFixed(1),
      "put, us": row.put_us.toFixed(1),
      "put / copy rate": row.put_ratio.toFixed(2),
      "zero-copy get, us": row.get_us.toFixed(2),
    })));
  }
} finally {
  Pool.destroy(name);
}
