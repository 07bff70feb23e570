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
import { blockOffset } from "./geometry.ts";
import { EntryState } from "./layout.ts";
import { shellWord } from "./shell.ts";
import { closeViews, openViews } from "./views.ts";

/** How {@linkcode Pool.get} hands a value out. */
export interface GetOptions {
  /**
   * `"detachable"`, as by default: views are empty once the hit is released.
   * `"borrowed"`: they are not, and may show another entry's bytes then; they
   * cost next to nothing, for loops that let go of them first. Either is empty
   * once the pool is closed.
   */
  readonly view?: "detachable" | "borrowed" | undefined;
}

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
  readonly #isBorrowed: boolean;
  /** Views of this hit's own, to be taken back. */
  #views: Uint8Array<ArrayBuffer>[] | undefined;
  #bytes: Uint8Array<ArrayBuffer> | undefined;
  #held = true;

  /** `entry` is pinned already. */
  constructor(
    core: Core,
    entry: EntryNumber,
    key: string,
    isBorrowed: boolean,
  ) {
    this.#core = core;
    this.#entry = entry;
    this.#isBorrowed = isBorrowed;
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
    const borrowed = this.#borrow();
    return borrowed ? [borrowed] : this.#views ??= this.#open();
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
    } catch {
      // Without its cause: a parser's error quotes what it read.
      throw new CorruptError(
        "read",
        `the metadata of entry ${showKey(this.key)}`,
        "it is not JSON",
        "Drop the entry: cortex cache delete",
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
      `Drop it: cortex cache delete ${this.#core.name} ${shellWord(this.key)}`,
    );
  }

  /** Lets go: every view is empty from now on. May be called twice. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    const core = this.#core;
    if (!core.isOpen) return;
    if (this.#isBorrowed) this.#bytes = undefined;
    try {
      closeViews(core.mapping, this.#views ?? []);
    } finally {
      core.attachment?.pins.unpin(this.#entry);
    }
    // It was doomed while we held it: its blocks are ours to give back.
    if (core.table.state(this.#entry) === EntryState.DOOMED) {
      core.tryTidy();
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }

  #open(): Uint8Array<ArrayBuffer>[] {
    const { table, geometry, mapping } = this.#core;
    this.#expectWhole();
    const block = table.soleBlock(this.#entry);
    if (block !== -1 && this.size_bytes <= mapping.windowLimit_bytes) {
      if (this.size_bytes === 0) return [];
      const offset = blockOffset(geometry, block);
      return [new Uint8Array(mapping.window(offset, this.size_bytes))];
    }
    const extents = table.backedExtents(this.#entry);
    if (!extents) throw this.#damaged();
    return openViews(mapping, pieces(geometry, extents, 0, this.size_bytes));
  }

  /** A view that is not taken back, if that was asked for and there can be one. */
  #borrow(): Uint8Array<ArrayBuffer> | undefined {
    if (!this.#isBorrowed) return undefined;
    if (this.#bytes) return this.#bytes;
    const { geometry, lasting, table } = this.#core;
    this.#expectWhole();
    const block = table.soleBlock(this.#entry);
    if (block === -1) return undefined;
    return lasting.view(blockOffset(geometry, block), this.size_bytes);
  }

  #expectWhole(): void {
    if (!this.#core.table.isStillWhole(this.#entry)) throw this.#damaged();
  }

  #damaged(): CorruptError {
    return new CorruptError(
      "read",
      `entry ${showKey(this.key)}`,
      "its record is damaged",
      `Mend the pool: cortex cache check ${this.#core.name} --repair`,
    );
  }

  #assemble(): Uint8Array<ArrayBuffer> {
    this.#expectHeld("read");
    const borrowed = this.#borrow();
    if (borrowed) return borrowed;
    const views = this.#views ??= this.#open();
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
