/**
 * Ghosts as bytes, so that they outlive a pool in its snapshot: for each list a
 * count, then 20 bytes a ghost, oldest first, little-endian: low and
 * high word of the key's hash and uses as u32, and the weight as a double.
 *
 * @module
 */
import type { Ghosts } from "./ghosts.ts";

const HEAD_BYTES = 4, GHOST_BYTES = 20;
/** Saved ghosts may take this much; the youngest are kept. */
const SAVED_MAX_BYTES = 2 ** 21;

/** What is worth keeping of ghosts. */
export function saveGhosts(lists: readonly Ghosts[]): Uint8Array {
  const most = Math.floor(SAVED_MAX_BYTES / GHOST_BYTES / lists.length);
  const kept = lists.map((ghosts) => [...youngest(ghosts, most)]);
  const bytes = new Uint8Array(
    kept.reduce(
      (sum, { length }) => sum + HEAD_BYTES + length * GHOST_BYTES,
      0,
    ),
  );
  const view = new DataView(bytes.buffer);
  let at = 0;
  const u32 = (value: number) => {
    view.setUint32(at, value, true);
    at += 4;
  };
  for (const list of kept) {
    u32(list.length);
    for (const { low, high, uses, weight } of list) {
      u32(low), u32(high), u32(uses);
      view.setFloat64(at, weight, true);
      at += 8;
    }
  }
  return bytes;
}

/** There may be millions: only those that are kept are made into anything. */
function* youngest(ghosts: Ghosts, most: number) {
  let skip = Math.max(0, ghosts.count - most);
  for (const ghost of ghosts.all()) if (skip-- <= 0) yield ghost;
}

/** Puts saved ghosts into empty lists; what cannot be right is left out. */
export function restoreGhosts(
  saved: Uint8Array,
  lists: readonly Ghosts[],
): void {
  const view = new DataView(saved.buffer, saved.byteOffset, saved.length);
  let at = 0;
  for (const ghosts of lists) {
    if (at + HEAD_BYTES > saved.length) return;
    const count = view.getUint32(at, true);
    at += HEAD_BYTES;
    for (let i = 0; i < count && at + GHOST_BYTES <= saved.length; i++) {
      const low = view.getUint32(at, true), high = view.getUint32(at + 4, true);
      const uses = view.getUint32(at + 8, true);
      const weight = view.getFloat64(at + 12, true);
      at += GHOST_BYTES;
      if (!(weight > 0 && weight < 2 ** 53) || ghosts.has(low, high)) continue;
      if (ghosts.isFull) ghosts.dropOldest();
      ghosts.add(low, high, weight, { uses, note: 0 });
    }
  }
}
