/**
 * The directory of a snapshot: made for its owner alone, and refused if others
 * could put something into it.
 *
 * @module
 */
import {
  type Fd,
  type FileStat,
  OsError,
  type Platform,
} from "../../ffi/platform.ts";
import type { Core } from "../core.ts";
import {
  CorruptError,
  FailedError,
  isOsError,
  NotFoundError,
  onHost,
} from "../errors.ts";
import { showPool } from "../segment.ts";
import { shellWord } from "../shell.ts";

/** How messages call a snapshot. */
export function showSnapshot(directory: string): string {
  return `snapshot ${JSON.stringify(directory)}`;
}

/** The command that lists a snapshot's generations. */
export function listCommand(directory: string): string {
  const name = poolName(directory);
  return name === undefined
    ? `cortex cache snapshot list NAME --path ${shellWord(directory)}`
    : `cortex cache snapshot list ${name}`;
}

/** The name of the pool whose snapshot is there, if it is at a default place. */
function poolName(directory: string): string | undefined {
  return /\/snapshots\/([^/]+)$/.exec(directory)?.[1];
}

/** There is no snapshot. */
export function none(directory: string, verb: string): NotFoundError {
  const name = poolName(directory);
  return new NotFoundError(
    verb,
    showSnapshot(directory),
    "there is none",
    name === undefined
      ? `Make one: cortex cache persist NAME --path ${shellWord(directory)}`
      : `Make one: cortex cache persist ${name} (on tier disk, with --path)`,
  );
}

function missing(directory: string, verb: string, error: unknown): unknown {
  if (isOsError(error, "ENOENT")) return none(directory, verb);
  if (!isOsError(error, "ENOTDIR")) return error;
  return new CorruptError(
    verb,
    showSnapshot(directory),
    "it is not a snapshot: those are directories",
    "Give the path of the directory",
  );
}

/**
 * Opens a snapshot's directory, to be locked and synced.
 *
 * @param make if given, it is made where it is missing, with that mode.
 * @throws {NotFoundError} if there is none.
 * @throws {CorruptError} if it is a symbolic link, or no directory.
 * @throws {FailedError} if users who are not trusted can write to it.
 */
export function openSnapshotDirectory(
  platform: Platform,
  directory: string,
  verb: string,
  make?: number,
): Fd {
  const { files } = platform;
  const what = showSnapshot(directory);
  return onHost(verb, what, () => {
    if (make !== undefined) files.makeDirectory(directory, make);
    const fd = open(platform, directory, verb);
    try {
      expectTrusted(platform, platform.stat(fd), directory, verb);
      expectParents(platform, directory, verb);
      return fd;
    } catch (error) {
      files.close(fd);
      throw error;
    }
  });
}

function open({ files }: Platform, directory: string, verb: string): Fd {
  try {
    return files.openDirectory(directory);
  } catch (error) {
    if (!isOsError(error, "ENOTDIR") || !files.stat(directory)?.isDirectory) {
      throw missing(directory, verb, error);
    }
    throw new CorruptError(
      verb,
      showSnapshot(directory),
      "it is a symbolic link",
      "Give the directory that it leads to",
    );
  }
}

/** Removes what is not to be: where the host refuses, it is litter for the next. */
export function discardFile({ files }: Platform, path: string): void {
  try {
    files.remove(path);
  } catch (error) {
    if (!(error instanceof OsError)) throw error;
  }
}

/** Whom the pool is shared with, its snapshot is, too. */
export function fileMode({ platform, fd, name }: Core): number {
  const stat = onHost("persist", showPool(name), () => platform.stat(fd));
  return 0o600 | stat.mode & 0o060;
}

/** The same for the directory. */
export function directoryMode(core: Core): number {
  return fileMode(core) & 0o020 ? 0o770 : 0o700;
}

/** As for pools: who may write is trusted, so those must be few. */
function expectTrusted(
  platform: Platform,
  stat: Pick<FileStat, "mode" | "uid" | "gid">,
  directory: string,
  verb: string,
): void {
  const refuse = (state: string, hint: string) => {
    throw new FailedError(verb, showSnapshot(directory), state, hint);
  };
  if (stat.uid !== platform.uid && stat.uid !== 0) {
    refuse(
      `it belongs to user ${stat.uid}, who could replace what is in it`,
      "Run as that user, or choose another directory",
    );
  }
  if (stat.mode & 0o002) {
    refuse(
      "any user can write to it",
      `Choose another directory, or: chmod o-w ${directory}`,
    );
  }
  if (stat.mode & 0o020 && !platform.groups().includes(stat.gid)) {
    refuse(
      `group ${stat.gid}, which is not yours, can write to it`,
      `Choose another directory, or: chmod g-w ${directory}`,
    );
  }
}

/** Who may write above it could put another in its place, unless it is sticky. */
function expectParents(
  { files }: Platform,
  directory: string,
  verb: string,
): void {
  let path = files.realPath(directory);
  while (path !== "/") {
    path = path.replace(/\/[^/]*$/, "") || "/";
    const mode = files.stat(path)?.mode ?? 0;
    if (!(mode & 0o002) || mode & 0o1000) continue;
    throw new FailedError(
      verb,
      showSnapshot(directory),
      `any user can replace it, because any can write to ${path}`,
      `Choose another directory, or: chmod o-w ${path}`,
    );
  }
}
