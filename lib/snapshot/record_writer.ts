/**
 * Writes entries of a pool as records of a data file. An entry is pinned until
 * its bytes are on their way, so the pool goes on being used.
 *
 * A group of heads comes first, and their values behind it: so large values go
 * straight from the pool to the disk, page by page, and their checksums are worked
 * out meanwhile. Of compressed values the heads come last.
 *
 * @module
 */
import { type Piece, pieces } from "../contents.ts";
import type { Core } from "../core.ts";
import {
  SNAPSHOT_ALIGN_BYTES,
  SNAPSHOT_LARGE_BYTES,
  SNAPSHOT_PAGE_BYTES,
  SNAPSHOT_PIECE,
  SNAPSHOT_PIECE_BYTES,
  SNAPSHOT_RECORD_BYTES,
  SnapshotCodec,
} from "../layout.ts";
import { usableBlocks } from "../geometry.ts";
import { pinEntry } from "../lookup.ts";
import { closeViews, openViews } from "../views.ts";
import { DataWriter } from "./data_writer.ts";
import type { Line } from "./lines.ts";
import type { Live } from "./live.ts";
import {
  align,
  encodeHead,
  encodeRecord,
  type SnapshotRecord,
} from "./record.ts";

/** A record that has its place: a line but for the number of its file. */
export interface Written {
  readonly live: Live;
  readonly place: Pick<Line, "position" | "value_position" | "value_crc">;
}

/** A pinned entry whose record is about to be written. */
interface Pending {
  readonly live: Live;
  readonly hold: Hold;
  readonly text: Uint8Array;
  readonly pieces: readonly Piece[];
  readonly record: Omit<SnapshotRecord, "value_position" | "codec">;
}

/** Where and how a value is stored. */
type Stored = Pick<SnapshotRecord, "value_position" | "codec">;

/** A group is written when its heads or its values have so many bytes. */
const GROUP_HEADS_BYTES = 64 * 1024;
const GROUP_VALUES_BYTES = 32 << 20;
/** But not so much of a small pool: it is pinned, and its writers need room. */
const GROUP_SHARE = 1 / 16;
/** Raw bytes of a compressed piece. */
const PIECE_BYTES = 4 << 20;
/** A value whose first piece does not shrink to this share is stored as it is. */
const WORTH_SHARE = 0.97;

export class RecordWriter {
  readonly #written: Written[] = [];
  readonly #dropped = new Set<Live>();
  /** Entries that came or went meanwhile. */
  skipped = 0;
  /** Entries that do not have their checksum. */
  damaged = 0;
  readonly #core: Core;
  readonly #writer: DataWriter;
  readonly #nonce: Uint8Array;
  readonly #compress: boolean;
  readonly #group_bytes: number;
  #group: Pending[] = [];
  #heads_bytes = 0;
  #values_bytes = 0;

  constructor(
    core: Core,
    writer: DataWriter,
    nonce: Uint8Array,
    created_at: number,
    compress: boolean,
  ) {
    this.#core = core;
    this.#writer = writer;
    this.#nonce = nonce;
    this.#compress = compress;
    const { geometry } = core;
    const data_bytes = usableBlocks(geometry) * geometry.block_bytes;
    this.#group_bytes = Math.min(GROUP_VALUES_BYTES, data_bytes * GROUP_SHARE);
    writer.append(encodeHead(core.platform, nonce, created_at));
  }

  /** Records that are whole. */
  get written(): Written[] {
    return this.#written.filter(({ live }) => !this.#dropped.has(live));
  }

  write(live: Live): void {
    const { entry, generation, size_bytes } = live;
    const { pins } = this.#core.expectAttached("persist");
    if (!pinEntry(this.#core, entry, generation, pins)) {
      this.skipped++;
      return;
    }
    const hold = new Hold(() => pins.unpin(entry));
    let pending: Pending | undefined;
    try {
      pending = this.#describe(live, hold);
    } catch (error) {
      hold.release();
      throw error;
    }
    if (!pending) {
      this.damaged++;
      hold.release();
      return;
    }
    this.#group.push(pending);
    this.#heads_bytes += SNAPSHOT_RECORD_BYTES + pending.text.length;
    this.#values_bytes += size_bytes;
    const full = this.#heads_bytes >= GROUP_HEADS_BYTES ||
      this.#values_bytes >= this.#group_bytes;
    if (full) this.finish();
  }

  /** Writes the group that is left. */
  finish(): void {
    const group = this.#group;
    this.#group = [];
    this.#heads_bytes = this.#values_bytes = 0;
    try {
      if (this.#compress) {
        // How long they become shows when they are written.
        const stored = group.map((one) => this.#writeValue(one));
        this.#writeHeads(group, stored);
      } else {
        this.#writeHeads(group, this.#placeValues(group));
        group.forEach((one) => this.#writeValue(one));
      }
    } finally {
      for (const { hold } of group) hold.release();
    }
  }

  /** Lets go of entries that will not be written. */
  abandon(): void {
    for (const { hold } of this.#group) hold.release();
    this.#group = [];
  }

  #describe(live: Live, hold: Hold): Pending | undefined {
    const { table, contents, geometry, keys } = this.#core;
    const { entry, size_bytes } = live;
    const lengths = table.textLengths(entry);
    const text = contents.bytes(entry)?.slice();
    const extents = table.backedExtents(entry);
    if (!lengths || !text || !extents || !table.wholeExtents(entry)) {
      return undefined;
    }
    const list = pieces(geometry, extents, 0, size_bytes);
    return {
      live,
      hold,
      text,
      pieces: list,
      record: {
        ...lengths,
        size_bytes,
        value_crc: live.value_crc ?? this.#crcOf(list),
        tokens: table.word(entry, "tokens"),
        priority: live.priority,
        created_at: live.created_at,
        last_access_at: live.last_access_at,
        access_tick: live.access_tick,
        access_count: live.access_count,
        sequence: live.sequence,
        namespaceHash: keys.namespaceHash,
      },
    };
  }

  #crcOf(list: readonly Piece[]): number {
    const { mapping, platform } = this.#core;
    const views = openViews(mapping, list);
    try {
      return views.reduce((crc, view) => platform.crc32(view, crc), 0);
    } finally {
      closeViews(mapping, views);
    }
  }

  /** Where the values of a group will be, behind its heads. */
  #placeValues(group: readonly Pending[]): Stored[] {
    let at = align(this.#writer.position, SNAPSHOT_ALIGN_BYTES);
    for (const { text } of group) {
      at = align(
        at + SNAPSHOT_RECORD_BYTES + text.length,
        SNAPSHOT_ALIGN_BYTES,
      );
    }
    return group.map(({ record }) => {
      const value_position = align(at, alignmentOf(record.size_bytes));
      at = value_position + record.size_bytes;
      return { value_position, codec: SnapshotCodec.PLAIN };
    });
  }

  #writeHeads(group: readonly Pending[], stored: readonly Stored[]): void {
    const { platform } = this.#core;
    group.forEach(({ live, record, text }, i) => {
      this.#writer.align(SNAPSHOT_ALIGN_BYTES);
      const { position } = this.#writer;
      const whole = { ...record, ...stored[i]! };
      this.#writer.append(encodeRecord(platform, this.#nonce, whole, text));
      const { value_position, value_crc } = whole;
      const place = { position, value_position, value_crc };
      this.#written.push({ live, place });
    });
    this.#writer.align(SNAPSHOT_ALIGN_BYTES);
  }

  #writeValue({ live, hold, pieces, record }: Pending): Stored {
    const { mapping, platform } = this.#core;
    const { size_bytes } = record;
    const alignment = alignmentOf(size_bytes);
    this.#writer.align(alignment);
    const { position } = this.#writer;
    const views = openViews(mapping, pieces);
    try {
      const compressed = this.#compress && this.#appendCompressed(views);
      if (!compressed && alignment === SNAPSHOT_PAGE_BYTES) {
        this.#appendPages(pieces, hold);
        // All pieces are whole pages but the last one.
        const tail = size_bytes % SNAPSHOT_PAGE_BYTES;
        if (tail > 0) this.#writer.append(views.at(-1)!.subarray(-tail));
      } else if (!compressed) {
        for (const view of views) this.#writer.append(view);
      }
      const crc = views.reduce((crc, view) => platform.crc32(view, crc), 0);
      if (crc !== record.value_crc) this.#drop(live);
      const codec = compressed ? SnapshotCodec.ZSTD : SnapshotCodec.PLAIN;
      return { value_position: position, codec };
    } finally {
      closeViews(mapping, views);
    }
  }

  /** Straight from the pool; held until it is on its way. */
  #appendPages(list: readonly Piece[], hold: Hold): void {
    for (const { offset, length } of list) {
      const pages = length - length % SNAPSHOT_PAGE_BYTES;
      hold.add(DataWriter.transfersOf(pages));
      const { mapping } = this.#core;
      this.#writer.appendMapped(mapping, offset, pages, () => hold.release());
    }
  }

  /** A value that does not have its checksum is none that the snapshot has. */
  #drop(live: Live): void {
    this.damaged++;
    this.#dropped.add(live);
  }

  /** @returns whether it was worth it; else nothing was appended. */
  #appendCompressed(views: readonly Uint8Array[]): boolean {
    const { platform } = this.#core;
    let begun = false;
    for (const view of views) {
      for (let at = 0; at < view.length; at += PIECE_BYTES) {
        const raw = view.subarray(at, at + PIECE_BYTES);
        const stored = platform.compress(raw);
        if (!begun && stored.length > raw.length * WORTH_SHARE) return false;
        begun = true;
        const head = new Uint8Array(SNAPSHOT_PIECE_BYTES);
        const fields = new DataView(head.buffer);
        fields.setUint32(SNAPSHOT_PIECE.stored_bytes, stored.length, true);
        fields.setUint32(SNAPSHOT_PIECE.size_bytes, raw.length, true);
        fields.setUint32(SNAPSHOT_PIECE.crc, platform.crc32(stored), true);
        this.#writer.append(head);
        this.#writer.append(stored);
      }
    }
    return begun;
  }
}

/** Large values begin on a page of their own. */
function alignmentOf(size_bytes: number): number {
  return size_bytes >= SNAPSHOT_LARGE_BYTES
    ? SNAPSHOT_PAGE_BYTES
    : SNAPSHOT_ALIGN_BYTES;
}

/** Calls back when the last of its holders has let go. It begins with one. */
class Hold {
  readonly #whenFree: () => void;
  #count = 1;

  constructor(whenFree: () => void) {
    this.#whenFree = whenFree;
  }

  add(count: number): void {
    this.#count += count;
  }

  release(): void {
    if (--this.#count === 0) this.#whenFree();
  }
}
