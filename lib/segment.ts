/**
 * The life of a segment: its name, its making, finding and removing it.
 *
 * A segment is made under another name and becomes visible only when whole, so
 * nobody ever sees half a pool. It is checked before anything in it is
 * believed.
 *
 * @module
 */
import type { Fd, FileStat, Mapping, Platform } from "../ffi/platform.ts";
import { Bitmap } from "./bitmap.ts";
import { Control } from "./control.ts";
import {
  CorruptError,
  ExistsError,
  FailedError,
  isOsError,
  NotFoundError,
  onHost,
  UsageError,
} from "./errors.ts";
import {
  Header,
  type Identity,
  readIdentity,
  writeIdentity,
} from "./header.ts";
import { toHex } from "./hex.ts";
import { Links } from "./key_index.ts";
import { MAGIC, NONE, PAGE_BYTES, PoolState } from "./layout.ts";
import { busy, waitForLock } from "./lock.ts";

const PREFIX = "cortex.";
const BUILDING_PREFIX = ".cortex.";
const NAME_MAX = 128;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

/** An open, mapped segment. */
export interface Segment {
  readonly name: string;
  readonly fd: Fd;
  readonly mapping: Mapping;
  readonly identity: Identity;
}

/** How messages call a pool. */
export function showPool(name: string): string {
  return `pool ${JSON.stringify(name.slice(0, 2 * NAME_MAX))}`;
}

/** @throws {UsageError} if no pool can have that name. */
export function checkName(name: string, verb: string): void {
  if (NAME.test(name) && name.length <= NAME_MAX && !name.includes("..")) {
    return;
  }
  throw new UsageError(
    verb,
    showPool(name),
    "the name is not valid",
    `Use 1 to ${NAME_MAX} letters, digits, ".", "_" or "-", without "..", and begin with a letter or digit`,
  );
}

/** Names of the pools on this host. */
export function listSegments(platform: Platform): string[] {
  const names = onHost("list", "the pools", () => platform.listSegments());
  return names.filter((name) => name.startsWith(PREFIX))
    .map((name) => name.slice(PREFIX.length))
    .filter((name) => NAME.test(name) && !name.includes(".."))
    .sort();
}

/** How {@linkcode createSegment} makes it. */
export interface CreateSegmentOptions {
  readonly mode: number;
  /** Back all of it with memory now. */
  readonly populate: boolean;
}

/**
 * Makes a segment and fills in an empty pool.
 *
 * @throws {ExistsError} if the name is taken.
 * @throws {NoSpaceError} if the host has no memory for its tables (or, with
 * `populate`, for all of it).
 */
export function createSegment(
  platform: Platform,
  name: string,
  identity: Identity,
  options: CreateSegmentOptions,
): Segment {
  checkName(name, "create");
  const building = `${BUILDING_PREFIX}${name}.${
    toHex(platform.randomBytes(4))
  }`;
  return onHost("create", showPool(name), () => {
    expectFree(platform, name);
    sweepUnfinished(platform, name);
    const fd = platform.createSegment(building, options.mode);
    let mapping: Mapping | undefined;
    try {
      mapping = fill(platform, fd, identity, options);
      platform.renameSegment(building, PREFIX + name);
      platform.unlock(fd);
      return { name, fd, mapping, identity };
    } catch (error) {
      mapping?.close();
      platform.unlinkSegment(building);
      platform.close(fd);
      throw error;
    }
  });
}

/** Fails early, before memory is taken; the renaming is what decides. */
function expectFree(platform: Platform, name: string): void {
  if (!platform.listSegments().includes(PREFIX + name)) return;
  throw new ExistsError(
    "create",
    showPool(name),
    "it exists already",
    `Destroy it first (cortex cache destroy ${name}), or choose another name`,
  );
}

/**
 * Removes what a create of this name left that was killed: its maker's lock is
 * free. One that has no size yet may not have come to take it.
 */
function sweepUnfinished(platform: Platform, name: string): void {
  const prefix = `${BUILDING_PREFIX}${name}.`;
  for (const found of platform.listSegments()) {
    if (!found.startsWith(prefix) || found.includes(".", prefix.length)) {
      continue;
    }
    let fd: Fd | undefined;
    try {
      fd = platform.openSegment(found);
      if (platform.stat(fd).size_bytes > 0 && platform.tryLock(fd)) {
        platform.unlinkSegment(found);
      }
    } catch {
      // Gone meanwhile, or not ours: no matter for the pool to be made.
    } finally {
      if (fd !== undefined) platform.close(fd);
    }
  }
}

function fill(
  platform: Platform,
  fd: Fd,
  identity: Identity,
  options: CreateSegmentOptions,
): Mapping {
  const { geometry } = identity;
  // Held while building, so that what a crash leaves can be told from this.
  platform.tryLock(fd);
  platform.setMode(fd, options.mode); // past the umask
  platform.truncate(fd, geometry.size_bytes);
  const backed_bytes = options.populate
    ? geometry.size_bytes
    : geometry.control_bytes;
  platform.allocate(fd, 0, backed_bytes);
  const mapping = platform.map(fd, geometry.size_bytes);
  try {
    if (options.populate) mapping.populate(0, geometry.size_bytes);
    const control = Control.of(mapping, geometry);
    writeIdentity(control, identity, platform);
    initialise(control, identity, options.populate);
    mapping.release(control.u8.buffer as ArrayBuffer);
  } catch (error) {
    mapping.close();
    throw error;
  }
  return mapping;
}

/** An empty pool in zeroed memory. */
function initialise(
  control: Control,
  identity: Identity,
  populated: boolean,
): void {
  const { geometry } = identity;
  const page_bytes = geometry.free_list_pages * PAGE_BYTES;
  const freeList = control.words(PAGE_BYTES, page_bytes);
  const committed = control.words(geometry.commit_offset, page_bytes);
  const backed = populated ? geometry.blocks : geometry.system_blocks;
  new Bitmap(freeList, geometry.blocks).set(0, geometry.system_blocks);
  new Bitmap(committed, geometry.blocks).set(0, backed);

  const links = new Links(control, geometry);
  for (let entry = 0; entry < geometry.max_entries; entry++) {
    links.set(entry, entry + 1 < geometry.max_entries ? entry + 2 : NONE);
  }
  const header = new Header(control);
  header.set("free_record", 1);
  header.set("committed_blocks", backed - geometry.system_blocks);
  header.setStat("modified_at", identity.created_at);
  header.setStat("next_sequence", 1);
  header.set("state", PoolState.LIVE);
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
  return withFile(platform, name, verb, (fd, stat) => {
    const mapping = platform.map(fd, stat.size_bytes);
    try {
      const page = new Control(mapping.window(0, PAGE_BYTES));
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
      return { name, fd, mapping, identity };
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
  use: (fd: Fd, stat: FileStat) => T,
): T {
  checkName(name, verb);
  const fd = openFile(platform, name, verb);
  try {
    return onHost(verb, showPool(name), () => {
      const stat = platform.stat(fd);
      expectTrusted(platform, stat, name, verb);
      return use(fd, stat);
    });
  } catch (error) {
    platform.close(fd);
    throw error;
  }
}

function openFile(
  platform: Platform,
  name: string,
  verb: string,
): Fd {
  return onHost(verb, showPool(name), () => {
    try {
      return platform.openSegment(PREFIX + name);
    } catch (error) {
      if (isOsError(error, "EINVAL")) {
        throw new CorruptError(verb, showPool(name), "it is not a cortex pool");
      }
      if (!isOsError(error, "ENOENT")) throw error;
      throw new NotFoundError(
        verb,
        showPool(name),
        "it does not exist",
        "See the pools there are: cortex cache list",
      );
    }
  });
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
    throw new CorruptError(verb, pool, "it is not a cortex pool");
  }
  if (stat.uid === platform.uid || stat.uid === 0 || platform.uid === 0) return;
  const shared = (stat.mode & 0o060) === 0o060 && (stat.mode & 0o002) === 0 &&
    platform.groups().includes(stat.gid);
  if (shared) return;
  throw new FailedError(
    verb,
    pool,
    `it belongs to user ${stat.uid}`,
    "Its owner can share it with a group: cortex cache create --mode 0660",
  );
}

/** Removes the pool that `fd` is open on, under its lock. */
export function unlinkSegment(
  platform: Platform,
  name: string,
  header: Header,
): void {
  platform.unlinkSegment(PREFIX + name);
  header.set("state", PoolState.DESTROYED);
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
  withFile(platform, name, "destroy", (fd) => {
    const mapping = platform.map(fd, PAGE_BYTES);
    try {
      // A damaged pool can be destroyed too, if it is one of ours at all.
      const page = new Control(mapping.window(0, PAGE_BYTES));
      if (MAGIC.some((byte, at) => page.u8[at] !== byte)) {
        throw new CorruptError(
          "destroy",
          showPool(name),
          "it is not a cortex pool",
          `Remove it by hand if you know what it is: /dev/shm/${PREFIX}${name}`,
        );
      }
      const header = new Header(page);
      waitForLock(platform, fd, timeout_ms, () => {
        throw busy("destroy", showPool(name), header, timeout_ms);
      });
      if (platform.stat(fd).links === 0) {
        throw new NotFoundError("destroy", showPool(name), "it does not exist");
      }
      unlinkSegment(platform, name, header);
      platform.unlock(fd);
    } finally {
      mapping.close();
    }
    platform.close(fd);
  });
}
