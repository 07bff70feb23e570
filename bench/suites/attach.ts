/**
 * Opening a large pool with many entries, against mapping the same segment and
 * nothing else.
 *
 * @module
 */
import { hostPlatform, type Platform } from "../../ffi/mod.ts";
import { Pool } from "../../lib/mod.ts";
import { parseSize } from "../../lib/units.ts";
import { cost } from "../finding.ts";
import { Samples, seconds } from "../measure.ts";
import { countLabel, randomBytes, type Run } from "../suite.ts";

const SIZE = { quick: "1G", usual: "16G", full: "16G" };
const ENTRIES = { quick: 1000, usual: 32_000, full: 32_000 };
const TIMES = { quick: 3, usual: 20, full: 50 };

/** The host, but a block takes only the memory that is touched of it. */
function sparseHost(): Platform {
  const host = hostPlatform();
  return new Proxy(host, {
    get(_, name) {
      if (name === "allocate") return () => {};
      const value: unknown = Reflect.get(host, name, host);
      return typeof value === "function" ? value.bind(host) : value;
    },
  });
}

function mapOnly(segment: string, size_bytes: number): () => void {
  const platform = hostPlatform();
  const fd = platform.openSegment(segment);
  const mapping = platform.map(fd, size_bytes);
  return () => {
    mapping.close();
    platform.close(fd);
  };
}

function openPool(name: string, observe: boolean, entries: number): () => void {
  const pool = Pool.open(name, { observe });
  return () => {
    if (pool.status().entries !== entries) throw new Error("entries are gone");
    pool.close();
  };
}

/** Notes how long it takes to open, and closes again beside the clock. */
function note(samples: Samples, name: string, open: () => () => void): void {
  let close = () => {};
  samples.add(name, 1e6 * seconds(() => close = open()));
  close();
}

export const run: Run = (context) => {
  const size = context.scaled(SIZE), entries = context.scaled(ENTRIES);
  const sparse = { size, platform: sparseHost() };
  return context.withPool("attach", sparse, (pool) => {
    const value = randomBytes(64);
    for (let i = 0; i < entries; i++) pool.put(`key-${i}`, value);
    const samples = new Samples();
    const times = context.scaled(TIMES) * context.order.rounds;
    for (let time = 0; time < times; time++) {
      const kept = time === 0 ? new Samples() : samples;
      const ways: [string, () => () => void][] = [
        ["bare mmap", () => mapOnly(`cortex.${pool.name}`, parseSize(size))],
        ["attach", () => openPool(pool.name, false, entries)],
        ["observe", () => openPool(pool.name, true, entries)],
      ];
      for (const [name, open] of ways) note(kept, name, open);
    }
    const at = `${size}, ${countLabel(entries, "entries")}`;
    return ["attach", "observe"].map((what) =>
      cost(samples, { what, at, against: "bare mmap" })
    );
  });
};
