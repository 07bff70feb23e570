/**
 * Saving: a pool to disk, whole or not at all.
 *
 * Only what no former generation has is written, from the entry table, each entry
 * pinned while it is copied, so the pool goes on being used. Files are made under
 * temporary names; the new manifest is what makes them count, and what nobody
 * needs any more is removed last.
 *
 * @module
 */
import type { Fd } from "../../ffi/platform.ts";
import type { Core } from "../core.ts";
import { BusyError, FailedError, onHost } from "../errors.ts";
import { toHex } from "../hex.ts";
import { SNAPSHOT_VERSION } from "../layout.ts";
import { showPool } from "../segment.ts";
import { currentTick } from "../tick.ts";
import { DataWriter } from "./data_writer.ts";
import { layDown, takeOn } from "./exclusive.ts";
import {
  directoryMode,
  discardFile,
  fileMode,
  showSnapshot,
} from "./directory.ts";
import {
  type Catalogue,
  findIncomplete,
  type Generation,
  lockDirectory,
  publish,
  published,
  readCatalogueToSave,
  retained,
  sizeOf,
  sweep,
  sweepUnfinished,
} from "./generations.ts";
import { isSane } from "./lines.ts";
import {
  filesToFold,
  listLive,
  type Live,
  matchSaved,
  nameOf,
  type Saved,
} from "./live.ts";
import { type DataFile, dataFileName, type Manifest } from "./manifest.ts";
import { takePolicyState } from "./policy_state.ts";
import { noteSaved, recordPool } from "./pool_record.ts";
import { RecordWriter, type Written } from "./record_writer.ts";
import type { Progress } from "../progress.ts";
import type { PersistReport, SaveOptions } from "./report.ts";

/** Former generations that are kept unless more are asked for. */
const KEEP = 1;
const DEAD_PERCENT = 50;
/** Under steady writing each pass is shorter than the one before; this ends it. */
const PASSES_MAX = 4;

/**
 * Saves a pool into a directory, step by step: each step writes one entry.
 * Ending the iteration early leaves the former snapshot as it was.
 *
 * @throws {NoSpaceError} if the disk is full.
 * @throws {BusyError} if the pool is being saved, or something into the directory.
 */
export function* saveSteps(
  core: Core,
  directory: string,
  options: SaveOptions = {},
): Generator<Progress, PersistReport> {
  core.expectAttached("persist");
  const timeout_ms = options.lockTimeout_ms ?? 0;
  if (!takeOn(core, "saving", timeout_ms)) {
    throw new BusyError(
      "persist",
      showPool(core.name),
      "another process is saving it",
      "Try again when it is done",
    );
  }
  try {
    expectLoaded(core, timeout_ms, options.full ?? false);
    const { files } = core.platform;
    const lock = lockDirectory(
      core.platform,
      directory,
      "persist",
      timeout_ms,
      directoryMode(core),
    );
    try {
      return yield* new Saver(core, directory, lock, options).run();
    } finally {
      files.close(lock);
    }
  } finally {
    if (core.isOpen) layDown(core, "saving");
  }
}

/** A pool that is still being filled has less than its snapshot. */
function expectLoaded(
  core: Core,
  timeout_ms: number,
  asItIs: boolean,
): void {
  if (core.header.get("loading") === 0) return;
  const isFree = takeOn(core, "loading", timeout_ms);
  if (isFree && asItIs) {
    core.change("persist", () => core.header.publish("loading", 0));
  }
  if (isFree) layDown(core, "loading");
  if (core.header.get("loading") === 0) return;
  const what = ["persist", showPool(core.name)] as const;
  if (!isFree) {
    throw new BusyError(
      ...what,
      "it is being restored",
      "Try again when it is done",
    );
  }
  throw new FailedError(
    ...what,
    "its restore has not come to its end",
    `Go on with it: cortex cache restore ${core.name}; or save what is there: persist --full`,
  );
}

/** A line before its file has a number in the manifest. */
interface Placed {
  readonly live: Live;
  readonly place: Written["place"];
  readonly file: DataFile;
}

/** What is known before anything is written. */
interface Plan {
  readonly former: Generation | undefined;
  /** Stay where they are. */
  readonly saved: readonly Saved[];
  readonly fresh: readonly Live[];
  /** All that was there: saved and fresh. */
  readonly seen: readonly Live[];
}

class Saver {
  readonly #core: Core;
  readonly #directory: string;
  readonly #directoryFd: Fd;
  readonly #options: SaveOptions;
  readonly #nonce: Uint8Array;
  readonly #nonceText: string;
  #skipped = 0;
  #damaged = 0;
  #written_bytes = 0;

  constructor(
    core: Core,
    directory: string,
    directoryFd: Fd,
    options: SaveOptions,
  ) {
    this.#core = core;
    this.#directory = directory;
    this.#directoryFd = directoryFd;
    this.#options = options;
    this.#nonce = core.platform.randomBytes(16);
    this.#nonceText = toHex(this.#nonce);
  }

  *run(): Generator<Progress, PersistReport> {
    const { platform } = this.#core;
    const catalogue = this.#onDisk(() =>
      readCatalogueToSave(platform, this.#directory)
    );
    this.#expectOwn(catalogue);
    this.#onDisk(() => sweepUnfinished(platform, this.#directory));
    const created_at = platform.now();
    const plan = this.#plan(catalogue);
    const former = plan.former?.manifest;
    if (this.#options.ifChanged && former && this.#isSame(plan, former)) {
      noteSaved(this.#core, created_at);
      return this.#report(former, plan, 0, false);
    }
    const generation = catalogue.last + 1;
    const made: Placed[] = [];
    const file = yield* this.#writeFile(plan, generation, created_at, made);
    let manifest: Manifest;
    try {
      manifest = this.#manifest(plan, made, generation, created_at);
    } catch (error) {
      if (file) discardFile(platform, `${this.#directory}/${file.name}`);
      throw error;
    }
    this.#onDisk(() => this.#publish(manifest, catalogue, file));
    noteSaved(this.#core, created_at);
    return this.#report(manifest, plan, made.length, true, file);
  }

  /** Another pool's snapshot is not to be replaced by a slip of the path. */
  #expectOwn({ generations: [newest] }: Catalogue): void {
    if (!newest) return;
    const { name, uuid } = newest.manifest.pool;
    if (name === this.#core.name || uuid === this.#core.identity.uuid) return;
    throw new FailedError(
      "persist",
      showSnapshot(this.#directory),
      `it is of ${showPool(name)}`,
      "Choose another directory, or remove this one",
    );
  }

  #plan(catalogue: Catalogue): Plan {
    const [former] = catalogue.generations;
    const entries = listLive(this.#core);
    // Another life of the pool may have made the same entry of other things.
    const isOurs = former?.manifest.pool.uuid === this.#core.identity.uuid;
    if (!former || !isOurs || this.#options.full) {
      return { former, saved: [], fresh: entries, seen: entries };
    }
    const { files, lines } = former.manifest;
    const whole = files.map(({ name, size_bytes }) =>
      this.#onDisk(() =>
        sizeOf(this.#core.platform, `${this.#directory}/${name}`)
      ) === size_bytes
    );
    const usable = lines.filter((line) =>
      whole[line.file] && isSane(line, files.length)
    );
    const { saved, fresh } = matchSaved(entries, usable);
    const { dead_percent = DEAD_PERCENT } = this.#options;
    const folded = filesToFold(files, saved, dead_percent);
    return {
      former,
      seen: entries,
      saved: saved.filter(({ line }) => !folded.has(line.file)),
      fresh: [
        ...fresh,
        ...saved.filter(({ line }) => folded.has(line.file))
          .map(({ live }) => live),
      ],
    };
  }

  /** Whether the former generation says all that this one would. */
  #isSame({ saved, fresh }: Plan, { lines, pool }: Manifest): boolean {
    const { identity, control } = this.#core;
    return fresh.length === 0 && saved.length === lines.length &&
      pool.uuid === identity.uuid && pool.tick === currentTick(control.u32);
  }

  /** Writes what is fresh, if there is any; `undefined` if not. */
  *#writeFile(
    plan: Plan,
    generation: number,
    created_at: number,
    made: Placed[],
  ): Generator<Progress, DataFile | undefined> {
    if (plan.fresh.length === 0) return undefined;
    const { platform } = this.#core;
    const { files } = platform;
    const kind = plan.saved.length === 0 ? "base" : "delta";
    const name = dataFileName(kind, generation, this.#nonceText);
    const path = `${this.#directory}/${name}`;
    const temporary = `${path}.tmp`;
    const total_bytes = plan.fresh.reduce(
      (sum, one) => sum + one.size_bytes,
      0,
    );
    const setAside = !this.#options.compress && total_bytes > 0;
    let whole = false;
    try {
      const writer = this.#onDisk(() =>
        new DataWriter(
          platform,
          temporary,
          fileMode(this.#core),
          total_bytes,
          setAside,
        )
      );
      let written;
      try {
        written = yield* this.#writeRecords(writer, plan, created_at);
        this.#onDisk(() => writer.finish());
      } finally {
        writer.close();
      }
      const file: DataFile = {
        name,
        size_bytes: writer.position,
        records: written.length,
        value_bytes: written.reduce((sum, w) => sum + w.live.size_bytes, 0),
        nonce: this.#nonceText,
      };
      for (const one of written) made.push({ ...one, file });
      this.#written_bytes += file.size_bytes;
      this.#onDisk(() => {
        files.rename(temporary, path);
        files.sync(this.#directoryFd);
      });
      whole = true;
      return file;
    } finally {
      if (!whole) discardFile(platform, temporary);
      if (!whole) discardFile(platform, path);
    }
  }

  *#writeRecords(writer: DataWriter, plan: Plan, created_at: number) {
    const core = this.#core;
    const records = this.#onDisk(() =>
      new RecordWriter(
        core,
        writer,
        this.#nonce,
        created_at,
        this.#options.compress ?? false,
      )
    );
    // Not by sequence: that is drawn when room is reserved, long before some are
    // sealed.
    const seen = new Set(plan.seen.map(nameOf));
    let fresh = plan.fresh;
    let total_bytes = 0, done_bytes = 0;
    try {
      // What was put or replaced during a pass is for the next one.
      for (let pass = 0; pass < PASSES_MAX && fresh.length > 0; pass++) {
        total_bytes += fresh.reduce((sum, one) => sum + one.size_bytes, 0);
        for (const live of fresh) {
          this.#onDisk(() => records.write(live));
          done_bytes += live.size_bytes;
          yield { done_bytes, total_bytes };
        }
        fresh = listLive(core).filter((live) => !seen.has(nameOf(live)));
        for (const live of fresh) seen.add(nameOf(live));
      }
      this.#onDisk(() => records.finish());
    } finally {
      records.abandon();
    }
    this.#skipped = records.skipped;
    this.#damaged = records.damaged;
    return records.written;
  }

  /** What stays and what was written; of a key that is twice there, the younger. */
  #manifest(
    plan: Plan,
    made: readonly Placed[],
    generation: number,
    created_at: number,
  ): Manifest {
    const formerFiles = plan.former?.manifest.files ?? [];
    const kept = plan.saved.map(({ live, line }): Placed => ({
      live,
      place: line,
      file: formerFiles[line.file]!,
    }));
    const youngest = new Map<string, Placed>();
    for (const one of [...kept, ...made]) {
      const other = youngest.get(one.live.key_hash);
      if (!other || other.live.sequence < one.live.sequence) {
        youngest.set(one.live.key_hash, one);
      }
    }
    const placed = [...youngest.values()].sort((a, b) =>
      b.live.access_tick - a.live.access_tick
    );
    const files = [...new Set(placed.map(({ file }) => file))];
    const numbers = new Map(files.map((file, i) => [file, i]));
    const policyState = takePolicyState(this.#core);
    return {
      format: "cortex-snapshot",
      version: SNAPSHOT_VERSION,
      generation,
      created_at,
      pool: recordPool(this.#core),
      files,
      entries: placed.length,
      value_bytes: placed.reduce((sum, { live }) => sum + live.size_bytes, 0),
      policy_bytes: policyState.length,
      lines: placed.map(({ live, place, file }) => ({
        ...live,
        position: place.position,
        value_position: place.value_position,
        value_crc: place.value_crc,
        file: numbers.get(file)!,
      })),
      policyState,
    };
  }

  /** The step that counts; then what nobody needs any more is litter. */
  #publish(
    manifest: Manifest,
    catalogue: Catalogue,
    file: DataFile | undefined,
  ): void {
    const { platform } = this.#core;
    const { generations } = catalogue;
    let bytes: number;
    try {
      bytes = publish(
        platform,
        this.#directory,
        manifest,
        this.#nonceText,
        generations[0],
        fileMode(this.#core),
      );
    } catch (error) {
      if (file) discardFile(platform, `${this.#directory}/${file.name}`);
      throw error;
    }
    platform.files.sync(this.#directoryFd);
    this.#written_bytes += bytes;
    const kept = retained(
      published(generations, manifest),
      this.#options.keep ?? KEEP,
      ({ manifest }) =>
        findIncomplete(platform, this.#directory, manifest) === undefined,
    );
    sweep(platform, this.#directory, this.#directoryFd, kept);
  }

  #report(
    manifest: Manifest,
    plan: Plan,
    written_entries: number,
    changed: boolean,
    file?: DataFile,
  ): PersistReport {
    const former = plan.former?.manifest.lines ?? [];
    const present = new Set(
      [...plan.saved.map(({ live }) => live), ...plan.fresh].map(nameOf),
    );
    return {
      path: this.#directory,
      generation: manifest.generation,
      changed,
      entries: manifest.entries,
      value_bytes: manifest.value_bytes,
      written_entries,
      written_bytes: this.#written_bytes,
      file_bytes: file?.size_bytes ?? 0,
      dropped: former.filter((line) => !present.has(nameOf(line))).length,
      skipped: this.#skipped,
      damaged: this.#damaged,
    };
  }

  #onDisk<T>(run: () => T): T {
    return onHost("persist", showSnapshot(this.#directory), run);
  }
}
