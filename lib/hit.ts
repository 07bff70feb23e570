/**
 * A hit: an entry, pinned for as long as it is held.
 *
 * @module
 */
import { pieces } from "./contents.ts";
import type { Core } from "./core.ts";
import { ClosedError, CorruptError, FailedError } from "./errors.ts";
import type { EntryNumber } from "./entry_table.ts";
import { showKey } from "./key.ts";
import { EntryState } from "./layout.ts";
import { closeViews, openViews } from "./views.ts";

/**
 * A pinned entry: nothing evicts or overwrites it until `release`. Take it with
 * `using`, and its views are empty afterwards, so none can show another entry's
 * bytes.
 *
 * @example
 * ```ts ignore
 * using hit = pool.get("doc-1");
 * if (hit) engine.load(hit.bytes);
 * ```
 */
export class Hit {
  readonly key: string;
  readonly size_bytes: number;
  readonly #core: Core;
  readonly #entry: EntryNumber;
  #views: Uint8Array<ArrayBuffer>[] | undefined;
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #held = true;

  /** `entry` is pinned already. */
  constructor(core: Core, entry: EntryNumber, key: string) {
    this.#core = core;
    this.#entry = entry;
    this.key = key;
    this.size_bytes = core.table.size_bytes(entry);
  }

  /**
   * The value. Zero-copy where it lies in one piece, which is nearly always; a
   * copy where it does not: `views` never copies. Not to be written to.
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes ??= this.#assemble();
  }

  /** The value's pieces in order, zero-copy. Not to be written to. */
  get views(): readonly Uint8Array<ArrayBuffer>[] {
    this.#expectHeld("read");
    return this.#views ??= this.#open();
  }

  get tokens(): number {
    this.#expectHeld("read");
    return this.#core.table.word(this.#entry, "tokens");
  }

  get priority(): number {
    this.#expectHeld("read");
    return this.#core.table.priority(this.#entry);
  }

  /** The parent's key. */
  get parent(): string | undefined {
    this.#expectHeld("read");
    return this.#core.contents.read(this.#entry)?.parent;
  }

  /** What the maker noted. */
  get meta(): unknown {
    this.#expectHeld("read");
    const text = this.#core.contents.read(this.#entry)?.meta;
    if (text === undefined) return undefined;
    try {
      return JSON.parse(text);
    } catch (cause) {
      throw new CorruptError(
        "read",
        `the metadata of entry ${showKey(this.key)}`,
        "it is not JSON",
        "Drop the entry: cortex cache delete",
        cause,
      );
    }
  }

  /**
   * Checks the value against its checksum.
   *
   * @throws {CorruptError} if it is not what was put in.
   */
  verify(): this {
    const expected = this.#core.table.valueCrc(this.#entry);
    const crc = this.views.reduce(
      (crc, view) => this.#core.platform.crc32(view, crc),
      0,
    );
    if (expected === undefined || expected === crc) return this;
    throw new CorruptError(
      "read",
      `entry ${showKey(this.key)}`,
      "its value is damaged (checksum)",
      "Drop it: cortex cache delete",
    );
  }

  /** Lets go: every view is empty from now on. May be called twice. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    const core = this.#core;
    if (!core.isOpen) return;
    try {
      closeViews(core.mapping, this.#views ?? []);
    } finally {
      core.attachment?.pins.unpin(this.#entry);
    }
    // It was doomed while we held it: its blocks are ours to give back.
    if (core.table.state(this.#entry) === EntryState.DOOMED) {
      core.tryChange(() => {});
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }

  #open(): Uint8Array<ArrayBuffer>[] {
    const { table, geometry, mapping } = this.#core;
    const extents = table.isSound(this.#entry)
      ? table.backedExtents(this.#entry)
      : undefined;
    if (!extents) {
      throw new CorruptError(
        "read",
        `entry ${showKey(this.key)}`,
        "its record is damaged",
        "Mend the pool: cortex cache check --repair",
      );
    }
    return openViews(mapping, pieces(geometry, extents, 0, this.size_bytes));
  }

  #assemble(): Uint8Array<ArrayBuffer> {
    const views = this.views;
    if (views.length === 1) return views[0]!;
    if (this.size_bytes > this.#core.mapping.windowLimit_bytes) {
      throw new FailedError(
        "read",
        `entry ${showKey(this.key)}`,
        "it is larger than this runtime's longest array",
        "Read its views one by one",
      );
    }
    const bytes = new Uint8Array(this.size_bytes);
    let at = 0;
    for (const view of views) {
      bytes.set(view, at);
      at += view.length;
    }
    return bytes;
  }

  #expectHeld(verb: string): void {
    if (this.#held && this.#core.isOpen) return;
    throw new ClosedError(
      verb,
      `entry ${showKey(this.key)}`,
      "the hit was released",
    );
  }
}
