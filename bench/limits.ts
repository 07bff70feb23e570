/**
 * What the figures must show, all in one place. Ratios are of one run on one
 * machine; the few times in microseconds are for a machine of its own.
 *
 * @module
 */
import type { Finding } from "./finding.ts";

/** A bar for one kind of finding. */
interface Limit {
  readonly suite: string;
  readonly what: string;
  /** The sizes or numbers it is for; all by default. */
  readonly at?: readonly string[];
  readonly against: string;
  /** Bars for the ratio. */
  readonly at_least?: number;
  readonly at_most?: number;
  /** A bar for the figure itself, in microseconds. */
  readonly at_most_us?: number;
}

const LARGE = ["512 KiB", "2 MiB", "32 MiB"];
const FROM_64_KIB = ["64 KiB", ...LARGE];
const BY_PERSIST = "put, checksum by persist";

const LIMITS: readonly Limit[] = [
  ...inSuite("pool", [
    { what: "put", against: "plain copy", at: ["64 KiB"], at_least: 0.45 },
    { what: "put", against: "plain copy", at: LARGE, at_least: 0.65 },
    { what: BY_PERSIST, against: "plain copy", at: ["64 KiB"], at_least: 0.6 },
    { what: BY_PERSIST, against: "plain copy", at: LARGE, at_least: 0.9 },
    { what: "put", against: "lmdb", at: FROM_64_KIB, at_least: 3 },
    { what: "put", against: "redis", at: FROM_64_KIB, at_least: 3 },
    { what: "hit", against: "plain copy", at_most_us: 2.5 },
    { what: "hit, borrowed", against: "plain copy", at_most_us: 0.6 },
    { what: "hit", against: "lmdb", at: ["64 KiB"], at_least: 3 },
    { what: "hit", against: "lmdb", at: ["512 KiB"], at_least: 20 },
    { what: "hit", against: "redis", at: ["64 KiB"], at_least: 15 },
    { what: "hit", against: "redis", at: ["512 KiB"], at_least: 50 },
  ]),
  ...inSuite("readers", [
    { what: "hits", against: "1 reader", at: ["2 readers"], at_least: 1.7 },
    { what: "p99 hit beside a writer", against: "p99 hit alone", at_most: 2 },
  ]),
  ...inSuite("pressure", [
    { what: "put under pressure", against: "put without", at_most: 1.3 },
    { what: "p99 put under pressure", against: "its median", at_most: 10 },
  ]),
  ...inSuite("attach", [
    { what: "attach", against: "bare mmap", at_most_us: 2000 },
  ]),
  ...inSuite("cli", [
    { what: "cache status", against: "empty program", at_most: 2 },
    { what: "cache status, memory", against: "empty program", at_most: 1.3 },
  ]),
  ...inSuite("flat", [
    { what: "put", against: "1,000 entries", at_most: 1.3 },
    { what: "hit", against: "1,000 entries", at_most: 1.3 },
    { what: "delete", against: "1,000 entries", at_most: 1.3 },
  ]),
  ...inSuite("snapshot", [
    { what: "persist", against: "dd", at_least: 0.9 },
    { what: "restore, cold", against: "cat, cold", at_least: 0.9 },
    // In a small one, what every snapshot takes counts for more.
    {
      what: "persist after 1%",
      against: "persist",
      at: ["4 GiB"],
      at_most: 0.05,
    },
    { what: "bytes after 1%", against: "persist", at_most: 0.03 },
  ]),
];

function inSuite(
  suite: string,
  limits: readonly Omit<Limit, "suite">[],
): Limit[] {
  return limits.map((limit) => ({ suite, ...limit }));
}

/** A bar, and whether the figure holds it. */
export interface Verdict {
  /** Such as ">= 0.65" or "<= 2.5 us". */
  readonly limit: string;
  readonly holds: boolean;
}

/** The bar that a finding is held against, if there is one. */
export function judge(suite: string, finding: Finding): Verdict | undefined {
  const limit = LIMITS.find((limit) =>
    limit.suite === suite && limit.what === finding.what &&
    limit.against === finding.against &&
    (limit.at?.includes(finding.at) ?? true)
  );
  return limit && verdict(limit, finding);
}

function verdict(limit: Limit, { ratio, value }: Finding): Verdict {
  const { at_least, at_most, at_most_us } = limit;
  if (at_least !== undefined) {
    return { limit: `>= ${at_least}`, holds: ratio >= at_least };
  }
  if (at_most !== undefined) {
    return { limit: `<= ${at_most}`, holds: ratio <= at_most };
  }
  return { limit: `<= ${at_most_us} us`, holds: value <= at_most_us! };
}
