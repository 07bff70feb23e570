/**
 * Putting a value in: reserve room under the lock, fill it outside, seal.
 *
 * @module
 */
import { type Piece, pieces } from "./contents.ts";
import type { Core } from "./core.ts";
import { spillOffset } from "./stored.ts";
import { ClosedError, UsageError } from "./errors.ts";
import { blockOffset } from "./geometry.ts";
import { showKey } from "./key.ts";
import { OperationKind } from "./layout.ts";
import { abortEntry, isReserving, noteBacked, sealEntry } from "./lifecycle.ts";
import { findEntry } from "./lookup.ts";
import { type History, type Plan, planEntry, type PutOptions } from "./plan.ts";
import { type BackedRoom, reserveRoom } from "./room.ts";
import {
  closeViews,
  expectBytes,
  fillAndSum,
  fillViews,
  openViews,
} from "./views.ts";

/**
 * Room for a value: fill `bytes`, then `seal`. Take it with `using`: what was
 * not sealed is given back.
 *
 * @example
 * ```ts ignore
 * using slot = pool.reserve("doc-1", size);
 * engine.save(slot.bytes);
 * slot.seal();
 * ```
 */
export class Reservation {
  readonly key: string;
  readonly size_bytes: number;
  readonly #core: Core;
  readonly #room: BackedRoom;
  /** What is put back gives way to a younger entry of its key. */
  readonly #yields: boolean;
  readonly #isSummed: boolean;
  /** Views that are lent, to be taken back. */
  #opened: Uint8Array<ArrayBuffer>[] | undefined;
  #staged: Uint8Array<ArrayBuffer> | undefined;
  /** Whether what former entries left may still be in it. */
  #isStale = true;
  /** What `write` found, as long as nobody else could have filled the room. */
  #written_crc: number | undefined;
  #open = true;

  private constructor(
    core: Core,
    key: string,
    size_bytes: number,
    room: BackedRoom,
    { mayEvict, isSummed }: Plan,
  ) {
    this.key = key;
    this.size_bytes = size_bytes;
    this.#core = core;
    this.#room = room;
    this.#yields = !mayEvict;
    this.#isSummed = isSummed;
  }

  /** Reserves room; see `Pool.reserve`. */
  static make(
    core: Core,
    key: string,
    size_bytes: number,
    options: PutOptions,
    history?: History,
  ): Reservation {
    core.expectAttached("put");
    const plan = planEntry(core, key, size_bytes, options, history);
    const room = reserveRoom(core, plan);
    return new Reservation(core, key, size_bytes, room, plan);
  }

  /**
   * The room, as one array, all zeros. In shared memory where it lies in one
   * piece, which is nearly always; else private, and copied in by `seal`.
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    this.#expectOpen("fill");
    if (this.#lent.length === 1) return this.views[0]!;
    this.#written_crc = undefined;
    return this.#staged ??= this.#stage();
  }

  /**
   * The room in shared memory, in order, all zeros: what former entries left in
   * it is theirs. Fill these or `bytes`, not both.
   */
  get views(): readonly Uint8Array<ArrayBuffer>[] {
    this.#expectOpen("fill");
    this.#clear();
    this.#written_crc = undefined;
    return this.#lent;
  }

  /**
   * The room as former entries left it: only for one who fills all of it, or
   * gives it back.
   */
  get rawViews(): readonly Uint8Array<ArrayBuffer>[] {
    this.#expectOpen("fill");
    this.#isStale = false;
    this.#written_crc = undefined;
    return this.#lent;
  }

  /** Where the room lies in the segment, in order: for transfers from a disk. */
  get pieces(): Piece[] {
    this.#expectOpen("fill");
    const { extents } = this.#room;
    return pieces(this.#core.geometry, extents, 0, this.size_bytes);
  }

  /** Copies a whole value in. */
  write(bytes: Uint8Array): void {
    this.#expectOpen("fill");
    this.#fill(expectBytes(bytes, "fill", () => this.#shown()));
  }

  #fill(bytes: Uint8Array): void {
    this.#expectOpen("fill");
    this.#expectViews("fill");
    this.#expectLength(bytes.length);
    this.#isStale = false;
    this.#written_crc = undefined;
    const { platform } = this.#core;
    if (this.#staged) this.#staged.set(bytes);
    else if (this.#opened || !this.#isSummed) {
      fillViews(platform, this.#own(), bytes);
    } else this.#written_crc = fillAndSum(platform, this.#own(), bytes);
  }

  /** Publishes the entry. From now on it is immutable, and the views are empty. */
  seal(): void {
    this.#seal(false);
  }

  /** Copies a whole value in, as `expectBytes` gave it, and publishes it, at once. */
  fillAndSeal(bytes: Uint8Array): void {
    this.#fill(bytes);
    this.#seal(true);
  }

  /** As `seal`, if the value has that checksum; else it stays to be given back. */
  sealIf(value_crc: number): boolean {
    this.#expectOpen("seal");
    if (this.#crc() !== value_crc) return false;
    this.#publish(value_crc, false);
    return true;
  }

  /**
   * Gives the room back unless it was sealed: at once, or with the handle's next
   * change if the pool is busy. May be called twice.
   */
  abort(): void {
    const core = this.#core;
    if (!this.#open || !core.isOpen) return;
    this.#open = false;
    closeViews(core.mapping, this.#opened ?? []);
    core.abandon(this.#room);
  }

  [Symbol.dispose](): void {
    this.abort();
  }

  /** @param isSeen the segment was looked at a moment ago. */
  #seal(isSeen: boolean): void {
    this.#expectOpen("seal");
    this.#expectViews("seal");
    const { platform } = this.#core;
    if (this.#staged) fillViews(platform, this.#own(), this.#staged);
    else this.#clear();
    this.#publish(this.#isSummed ? this.#crc() : undefined, isSeen);
  }

  /** A private copy of what was written, or zeros. */
  #stage(): Uint8Array<ArrayBuffer> {
    const staged = new Uint8Array(this.size_bytes);
    if (this.#isStale) return staged;
    let at = 0;
    for (const view of this.#lent) {
      staged.set(view, at);
      at += view.length;
    }
    return staged;
  }

  /** The room, for somebody else to fill. */
  get #lent(): Uint8Array<ArrayBuffer>[] {
    return this.#opened ??= openViews(this.#core.mapping, this.pieces);
  }

  /** The room, for us: nobody keeps these views, so nothing has to take them back. */
  #own(): Uint8Array<ArrayBuffer>[] {
    const { extents } = this.#room;
    if (this.#opened || extents.length !== 1) return this.#lent;
    const { geometry, lasting } = this.#core;
    const offset = blockOffset(geometry, extents[0]!.start);
    const view = lasting.view(offset, this.size_bytes);
    return view ? [view] : this.#lent;
  }

  #clear(): void {
    if (!this.#isStale) return;
    this.#isStale = false;
    for (const view of this.#own()) view.fill(0);
  }

  #crc(): number {
    if (this.#written_crc !== undefined) return this.#written_crc;
    const { platform } = this.#core;
    return this.#own().reduce((crc, view) => platform.crc32(view, crc), 0);
  }

  #publish(crc: number | undefined, isSeen: boolean): void {
    const core = this.#core;
    if (this.#room.spilled) this.#writeSpilled(this.#room.spilled);
    core.change("seal", () => {
      const { entry, extents, fresh } = this.#room;
      this.#expectOurs("seal");
      noteBacked(core, fresh);
      if (this.#yields && this.#isOutdone()) {
        abortEntry(core, entry);
        return;
      }
      core.table.setFilled(entry, crc);
      sealEntry(core, entry);
      if (extents.length === 1) core.own.note(entry, extents[0]!);
      const { ring, table } = core;
      if (ring.isOn && !this.#yields) {
        ring.note(
          OperationKind.PUT,
          table,
          entry,
          table.real(entry, "last_access_at"),
        );
      }
    }, isSeen);
    this.#open = false;
    closeViews(core.mapping, this.#opened ?? []);
  }

  #writeSpilled(text: Uint8Array): void {
    const { geometry, mapping, platform } = this.#core;
    const from = spillOffset(this.size_bytes);
    const views = openViews(
      mapping,
      pieces(geometry, this.#room.extents, from, text.length),
    );
    fillViews(platform, views, text);
    closeViews(mapping, views);
  }

  /** Whether a younger entry of the key is there. */
  #isOutdone(): boolean {
    const { table, keys } = this.#core;
    const present = findEntry(this.#core, keys.encode(this.key));
    return present !== -1 &&
      table.real(present, "sequence") >=
        table.real(this.#room.entry, "sequence");
  }

  /** A view's buffer that was transferred away takes what is in it along. */
  #expectViews(verb: string): void {
    if (!this.#opened) return;
    const length = this.#opened.reduce((sum, view) => sum + view.length, 0);
    if (length === this.size_bytes) return;
    throw new ClosedError(
      verb,
      `entry ${showKey(this.key)}`,
      "its views were transferred away",
    );
  }

  #shown(): string {
    return `the reservation of ${showKey(this.key)}`;
  }

  #expectLength(length: number): void {
    if (length === this.size_bytes) return;
    throw new UsageError(
      "fill",
      this.#shown(),
      `it is for ${this.size_bytes} bytes, not ${length}`,
    );
  }

  #expectOurs(verb: string): void {
    if (isReserving(this.#core, this.#room)) return;
    throw new ClosedError(
      verb,
      `entry ${showKey(this.key)}`,
      "its reservation was dropped in a recovery",
      "Put it again",
    );
  }

  #expectOpen(verb: string): void {
    if (this.#open && this.#core.isOpen) return;
    throw new ClosedError(
      verb,
      `entry ${showKey(this.key)}`,
      "the reservation is over",
    );
  }
}
