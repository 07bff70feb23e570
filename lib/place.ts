/**
 * Where a pool's segment is: in shared memory, by its name; or, on tier disk, a
 * file anywhere, to which a link of the pool's name leads from `pools` in the
 * state home.
 *
 * @module
 */
import type { Fd, FileStat, Platform } from "../ffi/platform.ts";
import { ExistsError, isOsError, NotFoundError } from "./errors.ts";
import { toHex } from "./hex.ts";
import { shellWord } from "./shell.ts";
import { findStateHome, stateHome } from "./state_home.ts";

/** A place that a segment can be in. */
export interface Place {
  /** The file of a pool on disk. */
  readonly file: string | undefined;
  open(): Fd;
  unlink(): void;
}

/** A place in which one is being made, under another name. */
export interface BuildingPlace {
  readonly file: string | undefined;
  create(mode: number): Fd;
  /** Gives it its name; refuses if that is taken. */
  publish(): void;
  /** Removes what was made. */
  abandon(): void;
}

/** How the segments of pools are named in shared memory. */
export const SEGMENT_PREFIX = "cortex.";
/** How those are that are being made. */
export const BUILDING_SEGMENT = /^\.cortex\.(.+)\.[0-9a-f]{8}$/;
const BUILDING_PREFIX = ".cortex.";
/** A maker that got no further than an empty segment in that time is not there. */
const EMPTY_MIN_AGE_MS = 60_000;

/** Whether a segment is so new that its maker may not have come to lock it yet. */
export function isJustBegun(platform: Platform, stat: FileStat): boolean {
  const age_ms = platform.now() - stat.changed_at;
  return stat.size_bytes === 0 && age_ms < EMPTY_MIN_AGE_MS;
}

/** The place of that name, which need not exist. */
export function findPlace(platform: Platform, name: string): Place {
  const file = findFile(platform, name);
  return file === undefined
    ? inMemory(platform, name)
    : onDisk(platform, name, file);
}

export function inMemory(platform: Platform, name: string): Place {
  return {
    file: undefined,
    open: () => platform.openSegment(SEGMENT_PREFIX + name),
    unlink: () => platform.unlinkSegment(SEGMENT_PREFIX + name),
  };
}

function onDisk(platform: Platform, name: string, file: string): Place {
  return {
    file,
    open: () => platform.openFile(file),
    unlink: () => {
      platform.files.remove(file);
      removeLink(platform, name);
    },
  };
}

/** The file of a pool on disk; `undefined` if there is no pool of that name there. */
export function findFile(
  platform: Platform,
  name: string,
): string | undefined {
  const home = findStateHome(platform);
  if (home === undefined) return undefined;
  try {
    return platform.files.linkTarget(`${home}/pools/${name}`);
  } catch (error) {
    // Who may not look there has no pool there.
    if (isOsError(error, "EACCES")) return undefined;
    throw error;
  }
}

/**
 * Whether a pool is said to be on disk, and its file is not there: removed by
 * hand, or on a disk that is not mounted.
 */
export function isLost(platform: Platform, name: string): boolean {
  const file = findFile(platform, name);
  return file !== undefined && !platform.files.exists(file);
}

/** Forgets a pool whose file is not there. */
export function forgetLost(platform: Platform, name: string): void {
  removeLink(platform, name);
}

function removeLink(platform: Platform, name: string): void {
  const link = `${stateHome(platform)}/pools/${name}`;
  if (platform.files.linkTarget(link) !== undefined) {
    platform.files.remove(link);
  }
}

/** Names that pools have, in shared memory and on disk; not all need be valid. */
export function listPlaces(platform: Platform): string[] {
  const inMemory = platform.listSegments()
    .filter((name) => name.startsWith(SEGMENT_PREFIX))
    .map((name) => name.slice(SEGMENT_PREFIX.length));
  return [...new Set([...inMemory, ...listOnDisk(platform)])];
}

function listOnDisk(platform: Platform): string[] {
  const home = findStateHome(platform);
  if (home === undefined) return [];
  try {
    return platform.files.list(`${home}/pools`);
  } catch (error) {
    const codes = ["ENOENT", "ENOTDIR", "EACCES"];
    if (codes.some((code) => isOsError(error, code))) return [];
    throw error;
  }
}

/** Whether a pool has that name, of whatever kind. */
export function isTaken(platform: Platform, name: string): boolean {
  if (platform.listSegments().includes(SEGMENT_PREFIX + name)) return true;
  const file = findFile(platform, name);
  return file !== undefined && platform.files.exists(file);
}

/** What to do about something else of a pool's name: nothing of ours removes it. */
export function removeByHand(platform: Platform, name: string): string {
  const segment = SEGMENT_PREFIX + name;
  const isShared = platform.listSegments().includes(segment);
  const file = isShared ? undefined : findFile(platform, name);
  const path = file ?? `/dev/shm/${segment}`;
  const isDirectory = platform.files.stat(path)?.isDirectory;
  const verb = isDirectory ? "rm -r" : "rm";
  return `Remove it by hand: ${verb} ${shellWord(path)}`;
}

/** A place for a new segment. Removes what killed attempts at it left. */
export function buildingPlace(
  platform: Platform,
  name: string,
  file: string | undefined,
): BuildingPlace {
  const suffix = toHex(platform.randomBytes(4));
  return file === undefined
    ? buildInMemory(platform, name, suffix)
    : buildOnDisk(platform, name, file, suffix);
}

function buildInMemory(
  platform: Platform,
  name: string,
  suffix: string,
): BuildingPlace {
  const prefix = `${BUILDING_PREFIX}${name}.`;
  const building = prefix + suffix;
  sweep(platform, platform.listSegments(), prefix, {
    open: (name) => platform.openSegment(name),
    remove: (name) => platform.unlinkSegment(name),
  });
  return {
    file: undefined,
    create: (mode) => platform.createSegment(building, mode),
    publish: () => platform.renameSegment(building, SEGMENT_PREFIX + name),
    abandon: () => platform.unlinkSegment(building),
  };
}

function buildOnDisk(
  platform: Platform,
  name: string,
  file: string,
  suffix: string,
): BuildingPlace {
  const { files } = platform;
  const [, directory = "", base = file] = /^(.*\/)?([^/]+)$/.exec(file) ?? [];
  const prefix = `.${base}.`;
  const building = `${directory}${prefix}${suffix}`;
  if (!files.exists(directory || ".")) {
    throw new NotFoundError(
      "create",
      `pool ${JSON.stringify(name)}`,
      `the directory of its file ${JSON.stringify(file)} does not exist`,
      "Make it, or mount its disk",
    );
  }
  sweep(platform, files.list(directory || "."), prefix, {
    open: (name) => platform.openFile(directory + name),
    remove: (name) => files.remove(directory + name),
  });
  return {
    file,
    create: (mode) => platform.createFile(building, mode),
    publish: () => {
      // The name first: a link that leads nowhere is no pool, and is replaced.
      const pools = `${stateHome(platform)}/pools`;
      files.makeDirectory(pools, 0o700);
      removeLink(platform, name);
      files.link(file, `${pools}/${name}`);
      try {
        platform.renameFile(building, file);
      } catch (error) {
        removeLink(platform, name);
        if (!isOsError(error, "EEXIST")) throw error;
        throw new ExistsError(
          "create",
          `pool ${JSON.stringify(name)}`,
          `file ${JSON.stringify(file)} exists already`,
          "Choose another file, or remove it if you know what it is",
        );
      }
    },
    abandon: () => {
      if (files.exists(building)) files.remove(building);
    },
  };
}

/** Removes what a create that was killed left: its maker's lock is free. */
function sweep(
  platform: Platform,
  names: readonly string[],
  prefix: string,
  place: { open(name: string): Fd; remove(name: string): void },
): void {
  for (const found of names) {
    if (!found.startsWith(prefix) || found.includes(".", prefix.length)) {
      continue;
    }
    let fd: Fd | undefined;
    try {
      fd = place.open(found);
      const isYoung = isJustBegun(platform, platform.stat(fd));
      if (!isYoung && platform.tryLock(fd)) place.remove(found);
    } catch {
      // Gone meanwhile, or not ours: no matter for the pool to be made.
    } finally {
      if (fd !== undefined) platform.close(fd);
    }
  }
}
