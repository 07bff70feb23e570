/**
 * Look-ups, without a lock: find, pin, look again, use.
 *
 * A reader believes what it read of an entry only if the entry's generation and
 * state are afterwards what they were before.
 *
 * @module
 */
import type { Core } from "./core.ts";
import type { EntryNumber } from "./entry_table.ts";
import type { EncodedKey } from "./key.ts";
import { EntryState } from "./layout.ts";
import type { OwnPins } from "./slots.ts";

/**
 * How often to look again at once when the index changed under a miss. After
 * that it is no put or eviction, but a recovery, or a writer that was stopped.
 */
const ATTEMPTS_MAX = 64;

/**
 * Orders what was read before it before what is read after it. An atomic load
 * alone does not, on arm64: a plain load may come true behind it. An atomic store
 * does, and needs no shared word, which an observer must not write.
 */
function fence(): void {
  Atomics.store(FENCE, 0, 0);
}
const FENCE = new Int32Array(1);

/** How long a recovery may keep a reader from the index. */
const REBUILD_MAX_MS = 1000;

/** What `read` made of a sealed entry, or `undefined` if it did not hold still. */
export function readSealed<T>(
  core: Core,
  entry: EntryNumber,
  read: () => T,
): T | undefined {
  const { table } = core;
  const generation = table.generation(entry);
  if (table.state(entry) !== EntryState.SEALED) return undefined;
  const result = read();
  fence();
  const held = table.state(entry) === EntryState.SEALED &&
    table.generation(entry) === generation;
  return held ? result : undefined;
}

/** Pins an entry if it is sealed and of that generation. */
export function pinEntry(
  core: Core,
  entry: EntryNumber,
  generation: number,
  pins: OwnPins,
): boolean {
  const { table } = core;
  pins.pin(entry);
  // After the pin: either the evictor sees it, or the doom is seen here.
  const held = table.state(entry) === EntryState.SEALED &&
    table.generation(entry) === generation;
  if (!held) pins.unpin(entry);
  return held;
}

/**
 * Finds the sealed entry of a key, or -1.
 *
 * @param pins if given, the entry is pinned when this returns.
 */
export function findEntry(
  core: Core,
  key: EncodedKey,
  pins?: OwnPins,
): EntryNumber | -1 {
  let deadline: number | undefined;
  for (let attempt = 0;; attempt++) {
    const sequence = core.index.sequence();
    const entry = walkChain(core, key, pins);
    if (entry !== -1) return entry;
    if (sequence % 2 === 0 && core.index.sequence() === sequence) return -1;
    if (attempt < ATTEMPTS_MAX) continue;
    if (core.index.sequence() === core.stuckSequence) return -1;
    const now = core.platform.monotonic();
    deadline ??= now + REBUILD_MAX_MS;
    if (now > deadline) {
      // Whoever changes it is stopped: misses need not wait for him again.
      core.stuckSequence = core.index.sequence();
      return -1;
    }
    // If he is dead, this sets it right; if he rebuilds, it takes a while.
    if (!core.attachment || !core.tryTidy()) core.platform.sleep(1);
  }
}

function walkChain(
  core: Core,
  key: EncodedKey,
  pins: OwnPins | undefined,
): EntryNumber | -1 {
  const { table, index } = core;
  let entry = index.first(key.hash[0]!);
  for (let steps = 0; entry !== -1 && steps < table.count; steps++) {
    if (isEntryOf(core, entry, key, pins)) return entry;
    entry = index.next(entry);
  }
  return -1;
}

/** Whether the entry's time is over: it is there no more, though its room may be. */
export function isExpired(core: Core, entry: EntryNumber): boolean {
  const expires_at = core.table.real(entry, "expires_at");
  return expires_at > 0 && core.platform.now() >= expires_at;
}

function isEntryOf(
  core: Core,
  entry: EntryNumber,
  key: EncodedKey,
  pins: OwnPins | undefined,
): boolean {
  const { table, contents, keys } = core;
  if (!table.matches(entry, key.hash, keys.namespaceHash)) return false;
  const generation = table.generation(entry);
  // The hash may have been another's until now: the text is compared after this.
  if (table.state(entry) !== EntryState.SEALED) return false;
  pins?.pin(entry); // and then look again, as in pinEntry
  const hasKey = contents.isOf(entry, key);
  fence();
  const found = hasKey && !isExpired(core, entry) &&
    table.state(entry) === EntryState.SEALED &&
    table.generation(entry) === generation;
  if (!found) pins?.unpin(entry);
  return found;
}
