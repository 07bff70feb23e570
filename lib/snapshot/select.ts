/**
 * Which entries of a snapshot go into a pool, and in what order.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { usableBlocks } from "../geometry.ts";
import { Replacement } from "../policy/replacement.ts";
import type { Line } from "./lines.ts";

/** What of a snapshot finds room. */
export interface Selection {
  readonly chosen: readonly Line[];
  readonly left_out: number;
}

/**
 * Those that fit into what is free; of more than that, the ones that the pool's
 * policy would keep longest.
 */
export function selectFitting(core: Core, lines: readonly Line[]): Selection {
  const { table, header, geometry, platform } = core;
  const blocksOf = (line: Line) => table.blocksFor(line.size_bytes, 0);
  let blocks = usableBlocks(geometry) - header.get("used_blocks");
  let records = table.count - header.get("entries") - header.get("reserved") -
    header.get("doomed");
  const needed = lines.reduce((sum, line) => sum + blocksOf(line), 0);
  if (needed <= blocks && lines.length <= records) {
    return { chosen: lines, left_out: 0 };
  }
  const chosen: Line[] = [];
  const leaving = inOrderOfLeaving(core, lines, platform.now());
  for (const line of leaving.reverse()) {
    if (blocksOf(line) > blocks || records === 0) continue;
    blocks -= blocksOf(line);
    records--;
    chosen.push(line);
  }
  return { chosen, left_out: lines.length - chosen.length };
}

/** As the pool's policy would evict them if they were all it had. */
function inOrderOfLeaving(
  core: Core,
  lines: readonly Line[],
  now: number,
): Line[] {
  const { table, identity } = core;
  // Parents before children, as they came into use.
  const sorted = lines.toSorted((a, b) =>
    a.access_tick - b.access_tick || a.sequence - b.sequence
  );
  const at = (entry: number) => sorted[entry]!;
  const policy = Replacement.fresh(identity.policy, sorted.length, {
    weight: (entry) => Math.max(1, table.blocksFor(at(entry).size_bytes, 0)),
    keyLow: (entry) => at(entry).key_check,
    keyHigh: (entry) => at(entry).parent_check,
    tick: (entry) => at(entry).access_tick,
    uses: (entry) => Math.max(1, at(entry).access_count),
    order: (entry) => at(entry).sequence,
    priority: (entry) => at(entry).priority,
    expires_at: (entry) => at(entry).expires_at,
  });
  const byKey = new Map<number, number>();
  sorted.forEach((line, entry) => {
    const parent = line.parent_check === 0
      ? undefined
      : byKey.get(line.parent_check);
    policy.insert(entry, parent ?? -1);
    byKey.set(line.key_check, entry);
  });
  policy.pressed();
  const leaving: Line[] = [];
  for (;;) {
    const entry = policy.victim(() => true, now);
    if (entry === -1) return leaving;
    policy.remove(entry, true);
    leaving.push(at(entry));
  }
}

/** Entries of about so many bytes are loaded in the order of the disk. */
const WINDOW_BYTES = 64 << 20;
const WINDOW_ENTRIES = 4096;

/**
 * The most recently used first; within a stretch of them in the order in which
 * they lie on disk, which reads faster.
 */
export function inLoadOrder(lines: readonly Line[]): Line[] {
  const sorted = [...lines].sort((a, b) => b.access_tick - a.access_tick);
  const ordered: Line[] = [];
  let window: Line[] = [], bytes = 0;
  const close = () => {
    window.sort((a, b) =>
      a.file - b.file || a.value_position - b.value_position
    );
    ordered.push(...window);
    window = [];
    bytes = 0;
  };
  for (const line of sorted) {
    window.push(line);
    bytes += line.size_bytes;
    if (bytes >= WINDOW_BYTES || window.length >= WINDOW_ENTRIES) close();
  }
  close();
  return ordered;
}
