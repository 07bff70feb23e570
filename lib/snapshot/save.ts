/**
 * Saving: a pool to disk, whole or not at all.
 *
 * Records are written from the entry table, each pinned while it is copied, so
 * the pool goes on being used. Files are made under temporary names; the new
 * manifest is what makes them count, and what it replaces is removed last.
 *
 * @module
 */
import type { Fd } from "../../ffi/platform.ts";
import { pieces } from "../contents.ts";
import type { Core } from "../core.ts";
import { BusyError, CortexError, FailedError, onHost } from "../errors.ts";
import type { EntryNumber } from "../entry_table.ts";
import { describePool } from "../describe.ts";
import { toHex } from "../hex.ts";
import {
  EntryState,
  SNAPSHOT_HEAD_BYTES,
  SNAPSHOT_VERSION,
} from "../layout.ts";
import { pinEntry } from "../lookup.ts";
import { showPool } from "../segment.ts";
import { currentTick } from "../tick.ts";
import { closeViews, openViews } from "../views.ts";
import {
  isOurFile,
  type Manifest,
  readFormerManifest,
  showSnapshot,
  writeManifest,
} from "./manifest.ts";
import { encodeHead, encodeRecord, padding } from "./record.ts";

/** How far a save or restore has come. */
export interface Progress {
  readonly done_bytes: number;
  readonly total_bytes: number;
}

/** What a save did. */
export interface PersistReport {
  readonly path: string;
  readonly generation: number;
  readonly entries: number;
  /** Of all values. */
  readonly value_bytes: number;
  /** Of the file. */
  readonly file_bytes: number;
  /** Entries that came or went meanwhile. */
  readonly skipped: number;
  /** Entries left out because their value does not have its checksum. */
  readonly damaged: number;
}

/**
 * Saves a pool into a directory, step by step: each step writes one entry.
 * Ending the iteration early leaves the former snapshot as it was.
 *
 * @throws {NoSpaceError} if the disk is full.
 * @throws {BusyError} if another process is saving into the directory.
 */
export function* saveSteps(
  core: Core,
  directory: string,
): Generator<Progress, PersistReport> {
  core.expectAttached("persist");
  if (core.header.get("loading") !== 0) {
    throw new FailedError(
      "persist",
      showPool(core.name),
      "its restore has not come to its end",
      "Wait for it; if it was killed, destroy the pool and restore it again",
    );
  }
  const { files } = core.platform;
  const what = showSnapshot(directory);
  const lock = onHost("persist", what, () => {
    files.makeDirectory(directory, 0o700);
    return files.openDirectory(directory);
  });
  try {
    if (!onHost("persist", what, () => core.platform.tryLock(lock))) {
      throw new BusyError(
        "persist",
        what,
        "another process is saving into it",
        "Try again when it is done",
      );
    }
    return yield* new Saver(core, directory, lock).run();
  } finally {
    files.close(lock);
  }
}

interface Source {
  readonly entry: EntryNumber;
  readonly generation: number;
  readonly access_tick: number;
  readonly size_bytes: number;
}

/** Under steady writing each pass is shorter than the one before; this ends it. */
const PASSES_MAX = 4;

/** Sealed entries made from `since` on, the most recently used first. */
function listSources(core: Core, since: number): Source[] {
  const { table } = core;
  const sources: Source[] = [];
  for (let entry = 0; entry < table.count; entry++) {
    const generation = table.generation(entry);
    if (table.state(entry) !== EntryState.SEALED) continue;
    if (table.real(entry, "sequence") < since) continue;
    sources.push({
      entry,
      generation,
      access_tick: table.real(entry, "access_tick"),
      size_bytes: table.size_bytes(entry),
    });
  }
  return sources.sort((a, b) => b.access_tick - a.access_tick);
}

const BUFFER_BYTES = 4 << 20;

class Saver {
  readonly #core: Core;
  readonly #directory: string;
  readonly #directoryFd: Fd;
  readonly #nonce: Uint8Array;
  readonly #nonceText: string;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #buffered = 0;
  #position = 0;
  #entries = 0;
  #value_bytes = 0;
  #skipped = 0;
  #damaged = 0;

  constructor(core: Core, directory: string, directoryFd: Fd) {
    this.#core = core;
    this.#directory = directory;
    this.#directoryFd = directoryFd;
    this.#nonce = core.platform.randomBytes(16);
    this.#nonceText = toHex(this.#nonce);
  }

  *run(): Generator<Progress, PersistReport> {
    const former = this.#onDisk(() =>
      readFormerManifest(this.#core.platform, this.#directory)
    );
    // A damaged manifest may still be mended by hand: its file stays till then.
    if (former) this.#onDisk(() => this.#sweep(former));
    const generation = (former?.generation ?? 0) + 1;
    const number = String(generation).padStart(8, "0");
    const name = `base-${number}-${this.#nonceText.slice(0, 8)}.cortex`;
    const created_at = this.#core.platform.now();
    yield* this.#writeFile(name, created_at);
    const manifest = this.#manifest(name, generation, created_at);
    this.#onDisk(() => this.#publish(manifest));
    this.#noteSaved(created_at);
    return {
      path: this.#directory,
      generation,
      entries: this.#entries,
      value_bytes: this.#value_bytes,
      file_bytes: manifest.file.size_bytes,
      skipped: this.#skipped,
      damaged: this.#damaged,
    };
  }

  /** The snapshot is whole: a pool that is gone or busy meanwhile takes nothing from it. */
  #noteSaved(created_at: number): void {
    const { header } = this.#core;
    try {
      this.#core.change("persist", () => {
        header.setStat("last_persist_at", created_at);
      });
    } catch (error) {
      if (!(error instanceof CortexError)) throw error;
    }
  }

  /** Removes what a killed save left: we hold the directory's lock. */
  #sweep(current: Manifest | undefined): void {
    const { files } = this.#core.platform;
    for (const name of files.list(this.#directory)) {
      if (isOurFile(name) && name !== current?.file.name) {
        files.remove(`${this.#directory}/${name}`);
      }
    }
  }

  *#writeFile(name: string, created_at: number): Generator<Progress, void> {
    const { files } = this.#core.platform;
    const path = `${this.#directory}/${name}`;
    const temporary = `${path}.tmp`;
    let whole = false;
    const fd = this.#onDisk(() => files.open(temporary, "w"));
    try {
      yield* this.#writeRecords(fd, created_at);
      this.#onDisk(() => {
        this.#flush(fd);
        files.sync(fd);
        files.rename(temporary, path);
        files.sync(this.#directoryFd);
      });
      whole = true;
    } finally {
      files.close(fd);
      if (!whole && files.exists(temporary)) files.remove(temporary);
    }
  }

  *#writeRecords(fd: Fd, created_at: number): Generator<Progress, void> {
    const { platform } = this.#core;
    this.#onDisk(() =>
      this.#append(fd, encodeHead(platform, this.#nonce, created_at))
    );
    let total_bytes = 0, done_bytes = 0, since = 0;
    // What was put or replaced during a pass is for the next one.
    for (let pass = 0; pass < PASSES_MAX; pass++) {
      const next = this.#core.header.stat("next_sequence");
      const sources = listSources(this.#core, since);
      if (sources.length === 0) break;
      total_bytes += sources.reduce((sum, one) => sum + one.size_bytes, 0);
      for (const source of sources) {
        this.#onDisk(() => this.#writeEntry(fd, source));
        done_bytes += source.size_bytes;
        yield { done_bytes, total_bytes };
      }
      since = next;
    }
  }

  #writeEntry(fd: Fd, source: Source): void {
    const core = this.#core;
    const { pins } = core.expectAttached("persist");
    if (!pinEntry(core, source.entry, source.generation, pins)) {
      this.#skipped++;
      return;
    }
    try {
      this.#writePinned(fd, source.entry);
    } finally {
      pins.unpin(source.entry);
    }
  }

  #writePinned(fd: Fd, entry: EntryNumber): void {
    const { table, contents, platform, geometry, mapping, keys } = this.#core;
    const lengths = table.textLengths(entry);
    const text = contents.bytes(entry);
    const extents = table.backedExtents(entry);
    if (!lengths || !text || !extents || !table.isSound(entry)) {
      this.#damaged++;
      return;
    }
    const size_bytes = table.size_bytes(entry);
    const views = openViews(mapping, pieces(geometry, extents, 0, size_bytes));
    const value_crc = views.reduce(
      (crc, view) => platform.crc32(view, crc),
      0,
    );
    if ((table.valueCrc(entry) ?? value_crc) !== value_crc) {
      closeViews(mapping, views);
      this.#damaged++;
      return;
    }
    const head = encodeRecord(platform, this.#nonce, {
      ...lengths,
      size_bytes,
      value_crc,
      tokens: table.word(entry, "tokens"),
      priority: table.priority(entry),
      created_at: table.real(entry, "created_at"),
      last_access_at: table.real(entry, "last_access_at"),
      access_tick: table.real(entry, "access_tick"),
      access_count: table.word(entry, "access_count"),
      sequence: table.real(entry, "sequence"),
      namespaceHash: keys.namespaceHash,
    }, text);
    this.#append(fd, head);
    for (const view of views) this.#append(fd, view);
    this.#append(fd, new Uint8Array(padding(head.length + size_bytes)));
    closeViews(mapping, views);
    this.#entries++;
    this.#value_bytes += size_bytes;
  }

  /** Small pieces are gathered; large ones go straight from the pool to the disk. */
  #append(fd: Fd, bytes: Uint8Array): void {
    if (this.#buffered + bytes.length > BUFFER_BYTES) this.#flush(fd);
    if (bytes.length > BUFFER_BYTES) {
      this.#core.platform.files.write(fd, bytes, this.#position);
      this.#position += bytes.length;
      return;
    }
    this.#buffer.set(bytes, this.#buffered);
    this.#buffered += bytes.length;
  }

  #flush(fd: Fd): void {
    const bytes = this.#buffer.subarray(0, this.#buffered);
    this.#core.platform.files.write(fd, bytes, this.#position);
    this.#position += this.#buffered;
    this.#buffered = 0;
  }

  #manifest(name: string, generation: number, created_at: number): Manifest {
    const core = this.#core;
    const status = describePool(core);
    const { hits, misses, puts, evictions, deletes } = status;
    return {
      format: "cortex-snapshot",
      version: SNAPSHOT_VERSION,
      generation,
      created_at,
      pool: {
        name: core.name,
        uuid: status.uuid,
        mode: core.platform.stat(core.fd).mode,
        size_bytes: status.size_bytes,
        block_size_bytes: status.block_size_bytes,
        max_entries: status.max_entries,
        policy: status.policy,
        tier: status.tier,
        low_percent: core.identity.low_percent,
        namespace: status.namespace,
        tick: currentTick(core.control.u32),
        next_sequence: core.header.stat("next_sequence"),
        hits,
        misses,
        puts,
        evictions,
        deletes,
      },
      file: {
        name,
        size_bytes: Math.max(this.#position, SNAPSHOT_HEAD_BYTES),
        records: this.#entries,
        value_bytes: this.#value_bytes,
        nonce: this.#nonceText,
      },
    };
  }

  /** The step that counts; then what it replaced is litter. */
  #publish(manifest: Manifest): void {
    const { files } = this.#core.platform;
    const path = (name: string) => `${this.#directory}/${name}`;
    try {
      writeManifest(this.#core.platform, this.#directory, manifest);
    } catch (error) {
      files.remove(path(manifest.file.name));
      throw error;
    }
    files.sync(this.#directoryFd);
    this.#sweep(manifest);
  }

  #onDisk<T>(run: () => T): T {
    return onHost("persist", showSnapshot(this.#directory), run);
  }
}
