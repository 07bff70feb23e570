/**
 * A file that a command writes: whole or not at all.
 *
 * @module
 */
import { type Fd, OsError, type Platform } from "../../ffi/platform.ts";
import { toHex } from "../hex.ts";
import type { Progress } from "../progress.ts";
import { discardFile } from "../snapshot/directory.ts";
import { onUserFile } from "./files.ts";

const STEP_BYTES = 64 << 20;

/** A file being written, and how it ends. */
interface Target {
  readonly fd: Fd;
  /** All of it is there. */
  keep(): void;
  /** It is not to be. */
  discard(): void;
}

/**
 * Writes a file step by step, in place of what may be there. If it fails or is
 * ended early, what was there is as it was. A pipe or device is written to as it
 * is.
 *
 * @throws {NoSpaceError} if the disk is full.
 */
export function* writeFileSteps(
  platform: Platform,
  path: string,
  parts: readonly Uint8Array[],
): Generator<Progress, void> {
  const total_bytes = parts.reduce((sum, part) => sum + part.length, 0);
  try {
    const target = openTarget(platform, path);
    let whole = false, done_bytes = 0;
    try {
      for (const slice of slices(parts)) {
        platform.files.write(target.fd, slice, done_bytes);
        done_bytes += slice.length;
        yield { done_bytes, total_bytes };
      }
      whole = true;
    } finally {
      platform.files.close(target.fd);
      if (!whole) target.discard();
    }
    target.keep();
  } catch (error) {
    onUserFile("write", `file ${JSON.stringify(path)}`, () => {
      throw error;
    });
  }
}

function* slices(parts: readonly Uint8Array[]): Generator<Uint8Array> {
  for (const part of parts) {
    for (let at = 0; at < part.length; at += STEP_BYTES) {
      yield part.subarray(at, at + STEP_BYTES);
    }
  }
}

function openTarget(platform: Platform, path: string): Target {
  const { files } = platform;
  const before = files.stat(path);
  // Others' files stay theirs, and what is no file cannot be replaced.
  const inPlace = before && (!before.isRegular || before.uid !== platform.uid);
  if (inPlace) return openInPlace(platform, path);
  try {
    return openBeside(platform, path, before?.mode);
  } catch (error) {
    const isBarred = error instanceof OsError &&
      ["EACCES", "EPERM", "EROFS"].includes(error.code);
    if (before === undefined || !isBarred) throw error;
    return openInPlace(platform, path);
  }
}

function openInPlace({ files }: Platform, path: string): Target {
  const fd = files.open(path, "replace");
  return { fd, keep: () => {}, discard: () => {} };
}

/** Under another name in the same directory, to be renamed when it is whole. */
function openBeside(
  platform: Platform,
  path: string,
  mode: number | undefined,
): Target {
  const { files } = platform;
  const target = mode === undefined ? path : files.realPath(path);
  const directory = /^.*\//.exec(target)?.[0] ?? "";
  const random = toHex(platform.randomBytes(8));
  const temporary = `${directory}.cortex-get.${random}.tmp`;
  const fd = files.open(temporary, "w", mode ?? 0o600);
  return {
    fd,
    keep: () => {
      try {
        files.rename(temporary, target);
      } catch (error) {
        discardFile(platform, temporary);
        throw error;
      }
    },
    discard: () => discardFile(platform, temporary),
  };
}
