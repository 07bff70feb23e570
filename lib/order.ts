/**
 * Entries put in order. Each one's numbers are read once: records lie far apart,
 * and a sort looks at each some twenty times.
 *
 * @module
 */
import type { EntryNumber } from "./entry_table.ts";

type Fact = (entry: EntryNumber) => number;

/** Those of the lowest `first` come first, and of equals those of the lowest `then`. */
export function ordered(
  entries: readonly EntryNumber[],
  first: Fact,
  then: Fact,
): EntryNumber[] {
  const major = Float64Array.from(entries, first);
  const minor = Float64Array.from(entries, then);
  return Array.from(entries.keys())
    .sort((a, b) => major[a]! - major[b]! || minor[a]! - minor[b]!)
    .map((at) => entries[at]!);
}
