/**
 * The directory of a snapshot: its generations, and their making and going.
 *
 * `MANIFEST` is the newest generation, `MANIFEST-GGGGGGGG` a former one. Data
 * files are shared: one goes when no manifest that is kept names it any more. At
 * every moment the newest whole manifest names whole files only.
 *
 * @module
 */
import type { Fd, Platform } from "../../ffi/platform.ts";
import {
  BusyError,
  CorruptError,
  CortexError,
  isOsError,
  NotFoundError,
  onHost,
} from "../errors.ts";
import { SNAPSHOT_VERSION } from "../layout.ts";
import { waitForLock } from "../lock.ts";
import {
  discardFile,
  none,
  openSnapshotDirectory,
  showSnapshot,
} from "./directory.ts";
import {
  dataFileGeneration,
  decodeManifest,
  encodeManifest,
  type Manifest,
  type Unusable,
} from "./manifest.ts";

const CURRENT = "MANIFEST";
const FORMER = /^MANIFEST-([0-9]{8,15})$/;
const UNFINISHED = /^MANIFEST\.[0-9a-f]{32}\.tmp$/;
const MANIFEST_MAX_BYTES = 2 ** 29;

/** A generation whose manifest is whole. */
export interface Generation {
  /** The manifest's file, in the directory. */
  readonly file: string;
  readonly manifest: Manifest;
}

/** What a directory has. */
export interface Catalogue {
  /** The newest first. */
  readonly generations: readonly Generation[];
  /** Manifests of ours that are damaged. */
  readonly damaged: readonly string[];
  /** The highest number that any file of the directory bears. */
  readonly last: number;
}

/**
 * Reads what a directory has.
 *
 * @throws {NotFoundError} if there is no snapshot in it.
 * @throws {CorruptError} if its manifest is of another version, or not one of ours.
 */
export function readCatalogue(
  platform: Platform,
  directory: string,
  verb: string,
): Catalogue {
  const what = showSnapshot(directory);
  // Only what those have written who are trusted is read.
  platform.files.close(openSnapshotDirectory(platform, directory, verb));
  for (let attempt = 1;; attempt++) {
    const names = onHost(verb, what, () => platform.files.list(directory));
    const files = names.filter(isManifest);
    const found = files.map((file) =>
      onHost(
        verb,
        what,
        () => readManifest(platform, `${directory}/${file}`),
      )
    );
    // One that went away meanwhile may have another name now.
    const isTorn = found.includes(undefined) && attempt < LISTINGS_MAX;
    if (!isTorn) return sorted(names, files, found, directory, verb);
  }
}

/** How often a directory is listed that is changing. */
const LISTINGS_MAX = 100;

function sorted(
  names: readonly string[],
  files: readonly string[],
  found: readonly (Manifest | Unusable | undefined)[],
  directory: string,
  verb: string,
): Catalogue {
  const generations: Generation[] = [], damaged: string[] = [];
  let foreign: Unusable | undefined;
  found.forEach((manifest, i) => {
    const file = files[i]!;
    if (manifest === undefined) return;
    if (!("state" in manifest)) generations.push({ file, manifest });
    else if (manifest.state === "other version") {
      throw refusal(manifest, directory, verb);
    } else {
      damaged.push(file);
      if (manifest.state === "not ours") foreign = manifest;
    }
  });
  // Among files of ours, one that was emptied or overwritten is damaged.
  const isOurDirectory = generations.length > 0 ||
    names.some((name) => dataFileGeneration(name) !== undefined);
  if (foreign && !isOurDirectory) throw refusal(foreign, directory, verb);
  if (generations.length + damaged.length === 0) throw none(directory, verb);
  generations.sort((a, b) => b.manifest.generation - a.manifest.generation);
  const numbers = [
    ...names.map((name) => dataFileGeneration(name) ?? formerNumber(name) ?? 0),
    ...generations.map(({ manifest }) => manifest.generation),
  ];
  return { generations, damaged, last: Math.max(0, ...numbers) };
}

/** The same, with nothing in it if there is no snapshot. */
export function readCatalogueToSave(
  platform: Platform,
  directory: string,
): Catalogue {
  try {
    return readCatalogue(platform, directory, "persist");
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    return { generations: [], damaged: [], last: 0 };
  }
}

/**
 * The newest generation.
 *
 * @throws {CorruptError} if none is whole.
 */
export function newest(
  catalogue: Catalogue,
  directory: string,
  verb: string,
): Generation {
  const [first] = catalogue.generations;
  if (first) return first;
  throw refusal({ state: "damaged" }, directory, verb);
}

function isManifest(name: string): boolean {
  return name === CURRENT || FORMER.test(name);
}

/** The generation of a former manifest, by its name. */
export function formerNumber(name: string): number | undefined {
  const [, digits] = FORMER.exec(name) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

function readManifest(
  platform: Platform,
  path: string,
): Manifest | Unusable | undefined {
  const { files } = platform;
  return withFile(platform, path, (fd) => {
    const bytes = new Uint8Array(Math.min(files.size(fd), MANIFEST_MAX_BYTES));
    const length = files.read(fd, bytes, 0);
    return decodeManifest(platform, bytes.subarray(0, length));
  });
}

/** Opens a file of ours; `undefined` if there is none of that name. */
function withFile<T>(
  { files }: Platform,
  path: string,
  use: (fd: Fd) => T,
): T | undefined {
  let fd: Fd;
  try {
    fd = files.open(path, "r");
  } catch (error) {
    if (isOsError(error, "ENOENT")) return undefined;
    throw error;
  }
  try {
    return use(fd);
  } finally {
    files.close(fd);
  }
}

function refusal(what: Unusable, directory: string, verb: string) {
  const snapshot = showSnapshot(directory);
  switch (what.state) {
    case "not ours":
      return new CorruptError(
        verb,
        snapshot,
        "its manifest is not one of ours",
        "Give the directory of a snapshot of cortex",
      );
    case "damaged":
      return new CorruptError(
        verb,
        snapshot,
        "its manifest is damaged (checksum)",
        "Take another copy of it: no generation of this one can be read",
      );
    case "other version":
      return new CorruptError(
        verb,
        snapshot,
        `it has format version ${what.version}, this cortex speaks version ${SNAPSHOT_VERSION}`,
        "Use the cortex that made it",
      );
  }
}

/** What is wrong with the generation's data files, if anything. */
export function findIncomplete(
  platform: Platform,
  directory: string,
  { files }: Manifest,
): string | undefined {
  for (const { name, size_bytes } of files) {
    const found = sizeOf(platform, `${directory}/${name}`);
    if (found === undefined) return `its file ${name} is missing`;
    if (found !== size_bytes) {
      return `${name} has ${found} bytes, not ${size_bytes}`;
    }
  }
  return undefined;
}

/** Bytes of a file of ours, or `undefined` if there is none of that name. */
export function sizeOf(platform: Platform, path: string): number | undefined {
  return withFile(platform, path, (fd) => platform.files.size(fd));
}

/** Who only takes litter away has the lock for a moment. */
const WAIT_MIN_MS = 300;

/**
 * Opens the directory and takes its lock: one at a time may change it.
 *
 * @param make if given, it is made where it is missing, with that mode.
 * @throws {BusyError} if another has it for longer than that.
 */
export function lockDirectory(
  platform: Platform,
  directory: string,
  verb: string,
  timeout_ms: number,
  make?: number,
): Fd {
  const what = showSnapshot(directory);
  const fd = openSnapshotDirectory(platform, directory, verb, make);
  const wait_ms = Math.max(WAIT_MIN_MS, timeout_ms);
  try {
    onHost(verb, what, () =>
      waitForLock(platform, fd, wait_ms, () => {
        throw new BusyError(
          verb,
          what,
          "another process is saving into it",
          "Try again when it is done",
        );
      }));
    return fd;
  } catch (error) {
    platform.files.close(fd);
    throw error;
  }
}

/**
 * Of generations, newest first, those that are kept: the newest, so many former
 * ones that are whole, and the last one of another pool that was saved here before, which a new
 * pool of an old name must not push out.
 */
export function retained(
  generations: readonly Generation[],
  keep: number,
  isWhole: (generation: Generation) => boolean,
): Generation[] {
  const [first, ...former] = generations;
  if (!first) return [];
  // One that is not whole is no help, and must not push out one that is.
  const whole = former.filter(isWhole);
  const kept = [first, ...whole.slice(0, keep)];
  const other = whole.find(({ manifest }) =>
    manifest.pool.uuid !== first.manifest.pool.uuid
  );
  return other && !kept.includes(other) ? [...kept, other] : kept;
}

/**
 * Makes the manifest the newest generation, in one step. What was the newest
 * becomes a former one. It is on disk once the directory is synced.
 *
 * @returns the bytes of the manifest.
 */
export function publish(
  platform: Platform,
  directory: string,
  manifest: Manifest,
  nonce: string,
  former: Generation | undefined,
  mode: number,
): number {
  const { files } = platform;
  const bytes = encodeManifest(manifest);
  const temporary = `${directory}/${CURRENT}.${nonce}.tmp`;
  try {
    const fd = files.open(temporary, "w", mode);
    try {
      files.write(fd, bytes, 0);
      files.sync(fd);
    } finally {
      files.close(fd);
    }
    if (former?.file === CURRENT) {
      files.rename(
        `${directory}/${CURRENT}`,
        `${directory}/${formerName(former.manifest.generation)}`,
      );
    }
    files.rename(temporary, `${directory}/${CURRENT}`);
  } catch (error) {
    discardFile(platform, temporary);
    throw error;
  }
  return bytes.length;
}

/** What generations there are, once the manifest is published. */
export function published(
  generations: readonly Generation[],
  manifest: Manifest,
): Generation[] {
  const former = generations.map((one) =>
    one.file === CURRENT
      ? { ...one, file: formerName(one.manifest.generation) }
      : one
  );
  return [{ file: CURRENT, manifest }, ...former];
}

function formerName(generation: number): string {
  return `${CURRENT}-${String(generation).padStart(8, "0")}`;
}

/** What {@linkcode sweep} did. */
export interface Swept {
  readonly files: number;
  readonly freed_bytes: number;
}

/**
 * Removes whatever is ours and not kept: manifests first, so that none names a
 * file that is gone. The directory's lock must be held.
 */
export function sweep(
  platform: Platform,
  directory: string,
  directoryFd: Fd,
  kept: readonly Generation[],
): Swept {
  const { files } = platform;
  const wanted = new Set(kept.flatMap(({ file, manifest }) => [
    file,
    ...manifest.files.map(({ name }) => name),
  ]));
  const litter = files.list(directory).filter((name) =>
    isOurs(name) && !wanted.has(name)
  );
  const manifests = litter.filter(isManifest);
  let freed_bytes = 0;
  const remove = (name: string) => {
    const path = `${directory}/${name}`;
    freed_bytes += sizeOf(platform, path) ?? 0;
    files.remove(path);
  };
  manifests.forEach(remove);
  if (manifests.length > 0) files.sync(directoryFd);
  litter.filter((name) => !isManifest(name)).forEach(remove);
  return { files: litter.length, freed_bytes };
}

/** Removes what killed saves left in the making. The lock must be held. */
export function sweepUnfinished(platform: Platform, directory: string): void {
  for (const name of platform.files.list(directory)) {
    if (isOurs(name) && name.endsWith(".tmp")) {
      platform.files.remove(`${directory}/${name}`);
    }
  }
}

/**
 * What killed saves left: files in the making, and data files that no manifest
 * names, unless one is damaged and may have named them. Only to be asked with the
 * directory's lock.
 */
export function findLitter(
  platform: Platform,
  directory: string,
  verb: string,
): string[] {
  const names = platform.files.list(directory).filter(isOurs);
  const { generations, damaged } = catalogueOf(platform, directory, verb);
  const wanted = new Set(
    generations.flatMap(({ manifest }) =>
      manifest.files.map(({ name }) => name)
    ),
  );
  const isKnown = generations.length > 0 && damaged.length === 0;
  return names.filter((name) =>
    name.endsWith(".tmp") ||
    (isKnown && !isManifest(name) && !wanted.has(name))
  );
}

/** Nothing is known of a directory whose manifest is not one of ours. */
function catalogueOf(
  platform: Platform,
  directory: string,
  verb: string,
): Catalogue {
  try {
    return readCatalogue(platform, directory, verb);
  } catch (error) {
    if (!(error instanceof CortexError)) throw error;
    return { generations: [], damaged: [], last: 0 };
  }
}

/** The names of snapshots' files, whole or in the making. */
function isOurs(name: string): boolean {
  return isManifest(name) || UNFINISHED.test(name) ||
    dataFileGeneration(name.replace(/\.tmp$/, "")) !== undefined;
}
