/**
 * The life of a segment: its name, finding, checking and removing it. Nothing in
 * it is believed before it is checked. How one is made: `segment_making.ts`.
 *
 * @module
 */
import type { Fd, FileStat, Mapping, Platform } from "../ffi/platform.ts";
import { Control } from "./control.ts";
import {
  CorruptError,
  FailedError,
  isOsError,
  NotFoundError,
  onHost,
  UsageError,
} from "./errors.ts";
import {
  claimedVersion,
  Header,
  type Identity,
  readIdentity,
} from "./header.ts";
import { PAGE_BYTES, PoolState } from "./layout.ts";
import { busy, waitForLock } from "./lock.ts";
import {
  BUILDING_SEGMENT,
  findPlace,
  forgetLost,
  inMemory,
  isLost,
  listPlaces,
  type Place,
  removeByHand,
  SEGMENT_PREFIX,
} from "./place.ts";

const NAME_MAX = 128;
const NAME_FIRST =
  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const NAME_REST = NAME_FIRST + "._-";

/** An open, mapped segment. */
export interface Segment {
  readonly name: string;
  readonly fd: Fd;
  readonly mapping: Mapping;
  readonly identity: Identity;
  readonly place: Pick<Place, "file" | "unlink">;
}

/** How messages call a pool. */
export function showPool(name: string): string {
  return `pool ${JSON.stringify(name.slice(0, 2 * NAME_MAX))}`;
}

/** No regular expression: the first takes a program half a millisecond. */
function isName(name: string): boolean {
  const [first = "", ...rest] = name;
  return first !== "" && NAME_FIRST.includes(first) &&
    rest.every((letter) => NAME_REST.includes(letter)) &&
    name.length <= NAME_MAX && !name.includes("..");
}

/** The segment of a pool, as the host lists it. */
export function segmentOf(name: string): string {
  return SEGMENT_PREFIX + name;
}

/** The pool that a segment is, by its name, or `undefined`. */
export function poolOf(segment: string): string | undefined {
  if (!segment.startsWith(SEGMENT_PREFIX)) return undefined;
  const name = segment.slice(SEGMENT_PREFIX.length);
  return isName(name) ? name : undefined;
}

/** The pool that a segment is to become, by its name, or `undefined`. */
export function futurePoolOf(segment: string): string | undefined {
  const name = BUILDING_SEGMENT.exec(segment)?.[1];
  return name !== undefined && isName(name) ? name : undefined;
}

/** @throws {UsageError} if no pool can have that name. */
export function checkName(name: string, verb: string): void {
  if (isName(name)) return;
  throw new UsageError(
    verb,
    showPool(name),
    "the name is not valid",
    `Use 1 to ${NAME_MAX} letters, digits, ".", "_" or "-", without "..", and begin with a letter or digit`,
  );
}

/** Names of the pools on this host. */
export function listSegments(platform: Platform): string[] {
  return onHost("list", "the pools", () => listPlaces(platform))
    .filter(isName)
    .sort();
}

/** Those of them that this process may use: not what other users keep to themselves. */
export function listOwnSegments(platform: Platform): string[] {
  return listSegments(platform).filter((name) => {
    try {
      withFile(platform, name, "list", (fd) => platform.close(fd));
      return true;
    } catch (error) {
      return !(error instanceof FailedError);
    }
  });
}

/**
 * Opens and checks a segment.
 *
 * @throws {NotFoundError} if there is none, or it is being destroyed.
 * @throws {CorruptError} if it is not a whole pool of this version.
 */
export function openSegment(
  platform: Platform,
  name: string,
  verb = "open",
): Segment {
  return withFile(platform, name, verb, (fd, stat, place) => {
    const mapping = platform.map(fd, stat.size_bytes);
    try {
      const page = new Control(mapping.window(0, PAGE_BYTES));
      if (claimedVersion(page) === undefined) {
        throw noPool(platform, name, verb);
      }
      const identity = readIdentity(
        page,
        stat.size_bytes,
        platform,
        showPool(name),
      );
      if (new Header(page).get("state") !== PoolState.LIVE) {
        throw new NotFoundError(verb, showPool(name), "it is being destroyed");
      }
      mapping.release(page.u8.buffer as ArrayBuffer);
      return { name, fd, mapping, identity, place };
    } catch (error) {
      mapping.close();
      throw error;
    }
  });
}

/** Opens the file behind a name and checks whose it is; closes it on failure. */
function withFile<T>(
  platform: Platform,
  name: string,
  verb: string,
  use: (fd: Fd, stat: FileStat, place: Place) => T,
): T {
  checkName(name, verb);
  const { fd, place } = openPlace(platform, name, verb);
  try {
    return onHost(verb, showPool(name), () => {
      const stat = platform.stat(fd);
      expectTrusted(platform, stat, name, verb);
      return use(fd, stat, place);
    });
  } catch (error) {
    platform.close(fd);
    throw error;
  }
}

/** Shared memory first: that is where nearly all pools are. */
function openPlace(
  platform: Platform,
  name: string,
  verb: string,
): { fd: Fd; place: Place } {
  return onHost(verb, showPool(name), () => {
    try {
      const place = inMemory(platform, name);
      return { fd: place.open(), place };
    } catch (error) {
      if (isOsError(error, "EINVAL")) {
        throw noPool(platform, name, verb); // a directory
      }
      if (isOsError(error, "ELOOP")) {
        throw noPool(platform, name, verb, "it is a symbolic link");
      }
      if (!isOsError(error, "ENOENT")) throw error;
    }
    const place = findPlace(platform, name);
    if (place.file === undefined) throw none(name, verb);
    try {
      return { fd: place.open(), place };
    } catch (error) {
      if (!isOsError(error, "ENOENT")) throw error;
      throw lost(name, verb, place.file);
    }
  });
}

function lost(name: string, verb: string, file: string): NotFoundError {
  return new NotFoundError(
    verb,
    showPool(name),
    `its file ${JSON.stringify(file)} does not exist`,
    `Mount its disk; or forget the pool: cortex cache destroy ${name}`,
  );
}

function none(name: string, verb: string): NotFoundError {
  return new NotFoundError(
    verb,
    showPool(name),
    "it does not exist",
    "See the pools there are: cortex cache list",
  );
}

/** Anybody may put a file into /dev/shm: it must be ours, or shared on purpose. */
function expectTrusted(
  platform: Platform,
  stat: FileStat,
  name: string,
  verb: string,
): void {
  const pool = showPool(name);
  if (!stat.isRegular || stat.size_bytes < PAGE_BYTES) {
    throw noPool(platform, name, verb);
  }
  const isForAll = (stat.mode & 0o002) !== 0;
  const isOurs = stat.uid === platform.uid || stat.uid === 0 ||
    platform.uid === 0;
  const isShared = (stat.mode & 0o060) === 0o060 && !isForAll &&
    platform.groups().includes(stat.gid);
  if (!isOurs && !isShared) {
    throw new FailedError(
      verb,
      pool,
      `it belongs to user ${stat.uid}`,
      "Its owner can share it with a group: cortex cache create --mode 0660",
    );
  }
  if (isForAll) {
    throw new FailedError(
      verb,
      pool,
      "any user can write to it",
      `If you know what is in it: chmod o-rwx /dev/shm/${SEGMENT_PREFIX}${name}`,
    );
  }
}

/** Whether it is a pool, whole or not; of what is not for us to read, it may be. */
export function isPool(platform: Platform, name: string): boolean {
  try {
    return withFile(platform, name, "create", (fd) => {
      const page = new Uint8Array(PAGE_BYTES);
      platform.read(fd, page, 0);
      platform.close(fd);
      return claimedVersion(new Control(page.buffer)) !== undefined;
    });
  } catch (error) {
    return !(error instanceof CorruptError);
  }
}

function noPool(
  platform: Platform,
  name: string,
  verb: string,
  state = "it is not a cortex pool",
): CorruptError {
  const hint = removeByHand(platform, name);
  return new CorruptError(verb, showPool(name), state, hint);
}

/** Removes the pool that a handle is open on, under its lock. */
export function unlinkSegment(
  place: Pick<Place, "unlink">,
  header: Header,
): void {
  place.unlink();
  header.publish("state", PoolState.DESTROYED);
}

/**
 * Removes a pool. Processes that have it open keep their mapping until they
 * close it; none of them can change it any more.
 *
 * @throws {BusyError} if its lock is not to be had in `timeout_ms`.
 */
export function destroySegment(
  platform: Platform,
  name: string,
  timeout_ms: number,
): void {
  try {
    destroyFound(platform, name, timeout_ms);
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    onHost("destroy", showPool(name), () => {
      if (!isLost(platform, name)) throw error;
      forgetLost(platform, name);
    });
  }
}

function destroyFound(
  platform: Platform,
  name: string,
  timeout_ms: number,
): void {
  withFile(platform, name, "destroy", (fd, _, place) => {
    const mapping = platform.map(fd, PAGE_BYTES);
    try {
      // A damaged pool can be destroyed too, if it is one of ours at all.
      const page = new Control(mapping.window(0, PAGE_BYTES));
      if (claimedVersion(page) === undefined) {
        throw noPool(platform, name, "destroy");
      }
      const header = new Header(page);
      waitForLock(platform, fd, timeout_ms, () => {
        throw busy("destroy", showPool(name), header, timeout_ms);
      });
      if (platform.stat(fd).links === 0) {
        throw none(name, "destroy");
      }
      unlinkSegment(place, header);
      platform.unlock(fd);
    } finally {
      mapping.close();
    }
    platform.close(fd);
  });
}
