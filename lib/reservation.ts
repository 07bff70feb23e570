/**
 * Putting a value in: reserve room under the lock, fill it outside, seal.
 *
 * @module
 */
import { pieces } from "./contents.ts";
import type { Core } from "./core.ts";
import { spillOffset } from "./entry_table.ts";
import { ClosedError, UsageError } from "./errors.ts";
import { showKey } from "./key.ts";
import { abortEntry, isReserving, sealEntry } from "./lifecycle.ts";
import { findEntry } from "./lookup.ts";
import { type History, planEntry, type PutOptions } from "./plan.ts";
import { type BackedRoom, noteBacked, reserveRoom } from "./room.ts";
import { closeViews, fillViews, openViews } from "./views.ts";

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
  readonly #views: Uint8Array<ArrayBuffer>[];
  #staged: Uint8Array<ArrayBuffer> | undefined;
  #open = true;

  private constructor(
    core: Core,
    key: string,
    size_bytes: number,
    room: BackedRoom,
    mayEvict: boolean,
  ) {
    this.key = key;
    this.size_bytes = size_bytes;
    this.#core = core;
    this.#room = room;
    this.#yields = !mayEvict;
    this.#views = openViews(
      core.mapping,
      pieces(core.geometry, room.extents, 0, size_bytes),
    );
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
    return new Reservation(core, key, size_bytes, room, plan.mayEvict);
  }

  /**
   * The room, as one array. In shared memory where it lies in one piece, which
   * is nearly always; else private, and copied in by `seal`.
   */
  get bytes(): Uint8Array<ArrayBuffer> {
    this.#expectOpen("fill");
    if (this.#views.length === 1) return this.#views[0]!;
    return this.#staged ??= new Uint8Array(this.size_bytes);
  }

  /** The room in shared memory, in order. Fill these or `bytes`, not both. */
  get views(): readonly Uint8Array<ArrayBuffer>[] {
    this.#expectOpen("fill");
    return this.#views;
  }

  /** Copies a whole value in. */
  write(bytes: Uint8Array): void {
    this.#expectOpen("fill");
    if (bytes.length !== this.size_bytes) {
      throw new UsageError(
        "fill",
        `the reservation of ${showKey(this.key)}`,
        `it is for ${this.size_bytes} bytes, not ${bytes.length}`,
      );
    }
    if (this.#staged) this.#staged.set(bytes);
    else fillViews(this.#views, bytes);
  }

  /** Publishes the entry. From now on it is immutable, and the views are empty. */
  seal(): void {
    this.#expectOpen("seal");
    const core = this.#core;
    this.#expectViews();
    if (this.#staged) fillViews(this.#views, this.#staged);
    const crc = this.#views.reduce(
      (crc, view) => core.platform.crc32(view, crc),
      0,
    );
    if (this.#room.spilled) this.#writeSpilled(this.#room.spilled);
    core.change("seal", () => {
      const { entry, fresh } = this.#room;
      this.#expectOurs("seal");
      noteBacked(core, fresh);
      if (this.#yields && this.#isOutdone()) {
        abortEntry(core, entry);
        return;
      }
      core.table.setValueCrc(entry, crc);
      sealEntry(core, entry);
    });
    this.#open = false;
    closeViews(core.mapping, this.#views);
  }

  /**
   * Gives the room back unless it was sealed: at once, or with the handle's next
   * change if the pool is busy. May be called twice.
   */
  abort(): void {
    const core = this.#core;
    if (!this.#open || !core.isOpen) return;
    this.#open = false;
    closeViews(core.mapping, this.#views);
    core.abandon(this.#room);
  }

  [Symbol.dispose](): void {
    this.abort();
  }

  #writeSpilled(text: Uint8Array): void {
    const { geometry, mapping } = this.#core;
    const from = spillOffset(this.size_bytes);
    const views = openViews(
      mapping,
      pieces(geometry, this.#room.extents, from, text.length),
    );
    fillViews(views, text);
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
  #expectViews(): void {
    const length = this.#views.reduce((sum, view) => sum + view.length, 0);
    if (length === this.size_bytes) return;
    throw new ClosedError(
      "seal",
      `entry ${showKey(this.key)}`,
      "its views were transferred away",
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
