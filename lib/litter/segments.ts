/**
 * Segments that nobody can use any more.
 *
 * Their heads are read, not mapped: a mapping of a segment that its owner cuts
 * short would kill us.
 *
 * @module
 */
import {
  type Fd,
  type FileStat,
  OsError,
  type Platform,
} from "../../ffi/platform.ts";
import { Control } from "../control.ts";
import { CortexError } from "../errors.ts";
import { claimedVersion, Header, isWellMade, readIdentity } from "../header.ts";
import { PAGE_BYTES, PoolState, VERSION } from "../layout.ts";
import { isJustBegun } from "../place.ts";
import { futurePoolOf, poolOf, showPool } from "../segment.ts";
import type { Litter, Sweep } from "./litter.ts";

/** What is to become of a segment. */
type Verdict =
  | { readonly kind: Litter["kind"]; readonly reason: string }
  | { readonly left: string }
  | undefined;

/** Takes away what was half made, can be opened by nobody, or was half restored. */
export function sweepSegments(platform: Platform, sweep: Sweep): void {
  for (const segment of platform.listSegments()) {
    if (futurePoolOf(segment) !== undefined) {
      sweepOne(platform, segment, judgeHalfMade, sweep);
    } else if (poolOf(segment) !== undefined) {
      sweepOne(platform, segment, judgePool, sweep);
    }
  }
}

/** An open segment whose lock we have, if nobody else had it. */
interface Opened {
  readonly platform: Platform;
  readonly segment: string;
  readonly fd: Fd;
  readonly stat: FileStat;
  /** Whether no process builds, changes or is attached to it. */
  readonly isDead: boolean;
}

type Judge = (opened: Opened) => Verdict;

function sweepOne(
  platform: Platform,
  segment: string,
  judge: Judge,
  sweep: Sweep,
): void {
  const path = `/dev/shm/${segment}`;
  let fd: Fd | undefined;
  try {
    fd = platform.openSegment(segment);
    const stat = platform.stat(fd);
    const isOurs = stat.uid === platform.uid || platform.uid === 0;
    if (!stat.isRegular || !isOurs) return;
    const opened = { platform, segment, fd, stat };
    // What would not go even if it were dead is not kept from its users.
    if (judge({ ...opened, isDead: true }) === undefined) return;
    const verdict = judge({ ...opened, isDead: isUnused(platform, fd) });
    if (verdict === undefined || !leadsTo(platform, segment, stat)) return;
    if ("left" in verdict) return sweep.left({ path, reason: verdict.left });
    if (!sweep.dryRun) platform.unlinkSegment(segment);
    sweep.removed({ ...verdict, path, size_bytes: stat.allocated_bytes });
  } catch (error) {
    // Gone meanwhile, or another user's: nothing to us.
    if (!(error instanceof OsError)) throw error;
  } finally {
    if (fd !== undefined) platform.close(fd); // and with it, the lock
  }
}

/** Takes the lock, if it is to be had. */
function isUnused(platform: Platform, fd: Fd): boolean {
  return platform.tryLock(fd) && !platform.isByteLocked(fd, 0, 0);
}

/** Whether a name still leads to a file: another may have taken it meanwhile. */
function leadsTo(platform: Platform, segment: string, stat: FileStat): boolean {
  const fd = platform.openSegment(segment);
  try {
    return platform.stat(fd).inode === stat.inode;
  } finally {
    platform.close(fd);
  }
}

function judgeHalfMade({ platform, segment, stat, isDead }: Opened): Verdict {
  // If its maker comes still, it makes another.
  if (!isDead || isJustBegun(platform, stat)) return undefined;
  const pool = showPool(futurePoolOf(segment) ?? "");
  return {
    kind: "half-made segment",
    reason: `${pool} was being made; its maker is dead`,
  };
}

function judgePool(opened: Opened): Verdict {
  const { platform, stat, isDead } = opened;
  if (stat.size_bytes === 0) {
    return unusable(opened, "it is empty: somebody cut it short");
  }
  const page = readPage(opened);
  const version = claimedVersion(page);
  if (version === undefined) {
    const path = `/dev/shm/${opened.segment}`;
    return { left: `it is not a cortex pool; remove it by hand: rm ${path}` };
  }
  if (version !== VERSION) {
    return {
      left:
        `it has format version ${version}: for the cortex that made it, or destroy`,
    };
  }
  try {
    readIdentity(page, stat.size_bytes, platform, "");
  } catch (error) {
    if (!(error instanceof CortexError)) throw error;
    const state = error.message.replace(/^[^:]*: /, "");
    // Whole, but for another build: it is not for us to say that it is of no use.
    return isWellMade(page, stat.size_bytes, platform)
      ? { left: state }
      : unusable(opened, state);
  }
  const header = new Header(page);
  if (header.get("state") !== PoolState.LIVE) {
    return unusable(opened, "it was destroyed");
  }
  // Others may have put entries of their own into it, or had before.
  if (header.get("loading") === 0 || !isDead) return undefined;
  return {
    left:
      "its restore was killed: go on with it (cortex cache restore), or destroy it",
  };
}

function unusable({ isDead }: Opened, state: string): Verdict {
  return isDead
    ? { kind: "unusable segment", reason: `${state}; nobody can open it` }
    : { left: `${state}, but a process still has it` };
}

function readPage({ platform, fd }: Opened): Control {
  const page = new Uint8Array(PAGE_BYTES);
  platform.read(fd, page, 0);
  return new Control(page.buffer);
}
