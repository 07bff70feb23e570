/**
 * Making a segment: under another name, so that it becomes visible only when
 * whole, and nobody ever sees half a pool.
 *
 * @module
 */
import type { Fd, Mapping, Platform } from "../ffi/platform.ts";
import { Bitmap } from "./bitmap.ts";
import { Control } from "./control.ts";
import {
  BusyError,
  describeOsError,
  ExistsError,
  NoSpaceError,
} from "./errors.ts";
import { Header, type Identity, writeIdentity } from "./header.ts";
import { Links } from "./key_index.ts";
import { NONE, PAGE_BYTES, PoolState } from "./layout.ts";
import {
  type BuildingPlace,
  buildingPlace,
  findPlace,
  isTaken,
  removeByHand,
} from "./place.ts";
import { availableMemory } from "./proc.ts";
import type { Progress } from "./progress.ts";
import { checkName, isPool, type Segment, showPool } from "./segment.ts";
import { formatBytes } from "./units.ts";

const CREATE_ATTEMPTS = 8;
/** About 20 ms of taking memory. */
const POPULATE_STEP_BYTES = 64 << 20;

/** How {@linkcode createSegmentSteps} makes it. */
export interface CreateSegmentOptions {
  readonly mode: number;
  /** Back all of it with memory now. */
  readonly populate: boolean;
  /** It is going to be filled from a snapshot, and not to be saved before. */
  readonly loading?: boolean;
  /** The file of a pool on disk, and the host's run in which it is made. */
  readonly file?: string | undefined;
  readonly bootId?: string | undefined;
}

/**
 * Makes a segment and fills in an empty pool, step by step: each step backs some
 * of it with memory, if all of it is to be. Ended early it leaves nothing.
 *
 * @throws {ExistsError} if the name is taken.
 * @throws {NoSpaceError} if the host has no memory for its tables (or, with
 * `populate`, for all of it).
 */
export function* createSegmentSteps(
  platform: Platform,
  name: string,
  identity: Identity,
  options: CreateSegmentOptions,
): Generator<Progress, Segment> {
  checkName(name, "create");
  try {
    expectFree(platform, name);
    if (options.populate && options.file === undefined) {
      expectMemory(platform, name, identity.geometry.size_bytes);
    }
    return yield* make(platform, name, identity, options);
  } catch (error) {
    throw describeOsError(error, "create", showPool(name));
  }
}

function* make(
  platform: Platform,
  name: string,
  identity: Identity,
  options: CreateSegmentOptions,
): Generator<Progress, Segment> {
  const { building, fd } = beginSegment(platform, name, options);
  let mapping: Mapping | undefined, whole = false;
  try {
    mapping = yield* fill(platform, fd, identity, options);
    building.publish();
    whole = true;
    platform.unlock(fd);
    const place = findPlace(platform, name);
    return { name, fd, mapping, identity, place };
  } finally {
    if (!whole) {
      mapping?.close();
      building.abandon();
      platform.close(fd);
    }
  }
}

/**
 * A segment under a name for while it is made, with its lock: what a crash leaves
 * can be told by it. Whoever removes such has the lock, so that once we have it,
 * and the name, both stay ours.
 */
function beginSegment(
  platform: Platform,
  name: string,
  { mode, file }: CreateSegmentOptions,
): { building: BuildingPlace; fd: Fd } {
  for (let attempt = 0; attempt < CREATE_ATTEMPTS; attempt++) {
    const building = buildingPlace(platform, name, file);
    const fd = building.create(mode);
    let kept = false;
    try {
      kept = platform.tryLock(fd) && platform.stat(fd).links > 0;
      if (kept) return { building, fd };
    } catch (error) {
      building.abandon();
      throw error;
    } finally {
      if (!kept) platform.close(fd);
    }
  }
  throw new BusyError(
    "create",
    showPool(name),
    "its segments are removed while they are made",
    "Look for who removes files from /dev/shm",
  );
}

/** Fails early, before memory is taken; the renaming is what decides. */
function expectFree(platform: Platform, name: string): void {
  if (!isTaken(platform, name)) return;
  if (!isPool(platform, name)) {
    throw new ExistsError(
      "create",
      showPool(name),
      "something else has its name",
      `${removeByHand(platform, name)}, or choose another name`,
    );
  }
  throw new ExistsError(
    "create",
    showPool(name),
    "it exists already",
    `Destroy it first (cortex cache destroy ${name}), or choose another name`,
  );
}

function* fill(
  platform: Platform,
  fd: Fd,
  identity: Identity,
  options: CreateSegmentOptions,
): Generator<Progress, Mapping> {
  const { geometry } = identity;
  platform.setMode(fd, options.mode); // past the umask
  platform.truncate(fd, geometry.size_bytes);
  platform.allocate(fd, 0, geometry.control_bytes);
  const mapping = platform.map(fd, geometry.size_bytes);
  let whole = false;
  try {
    if (options.populate) {
      yield* populate(platform, fd, mapping, geometry.size_bytes);
    }
    const control = Control.of(mapping, geometry);
    writeIdentity(control, identity, platform);
    initialise(control, identity, options);
    mapping.release(control.u8.buffer as ArrayBuffer);
    whole = true;
    return mapping;
  } finally {
    if (!whole) mapping.close();
  }
}

/** A tmpfs gives more than there is, and then the kernel kills somebody. */
function expectMemory(
  platform: Platform,
  name: string,
  wanted_bytes: number,
): void {
  const left_bytes = availableMemory(platform);
  if (left_bytes === undefined || wanted_bytes <= left_bytes) return;
  throw new NoSpaceError(
    "create",
    showPool(name),
    `the host has ${formatBytes(left_bytes)} of memory left for its ${
      formatBytes(wanted_bytes)
    }`,
    "Make it smaller, or let it take memory as entries come (no --populate)",
  );
}

/** Takes the memory of all of it, a slice a step. */
function* populate(
  platform: Platform,
  fd: Fd,
  mapping: Mapping,
  total_bytes: number,
): Generator<Progress, void> {
  for (let done_bytes = 0; done_bytes < total_bytes;) {
    const length = Math.min(POPULATE_STEP_BYTES, total_bytes - done_bytes);
    platform.allocate(fd, done_bytes, length);
    mapping.populate(done_bytes, length);
    done_bytes += length;
    yield { done_bytes, total_bytes };
  }
}

/** An empty pool in zeroed memory. */
function initialise(
  control: Control,
  identity: Identity,
  options: CreateSegmentOptions,
): void {
  const { geometry } = identity;
  const page_bytes = geometry.free_list_pages * PAGE_BYTES;
  const freeList = control.words(PAGE_BYTES, page_bytes);
  const committed = control.words(geometry.commit_offset, page_bytes);
  const backed = options.populate ? geometry.blocks : geometry.system_blocks;
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
  header.publish("loading", options.loading ? 1 : 0);
  header.setBootId(options.bootId);
  header.publish("state", PoolState.LIVE);
}
