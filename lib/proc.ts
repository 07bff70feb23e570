/**
 * What the kernel says of itself in files.
 *
 * @module
 */
import { OsError, type Platform } from "../ffi/platform.ts";

const TEXT_MAX_BYTES = 1 << 18;

/** A file of the host's, such as those of /proc; `undefined` if it cannot be read. */
export function readText(
  { files }: Platform,
  path: string,
): string | undefined {
  try {
    const fd = files.open(path, "user");
    try {
      const bytes = new Uint8Array(TEXT_MAX_BYTES);
      const length = files.read(fd, bytes, 0);
      return new TextDecoder().decode(bytes.subarray(0, length));
    } finally {
      files.close(fd);
    }
  } catch (error) {
    if (error instanceof OsError) return undefined;
    throw error;
  }
}

/** The same, of a file that holds one word or number. */
export function readWord(platform: Platform, path: string): string | undefined {
  return readText(platform, path)?.trim();
}

/** Memory that the host, or this container, has in all, in bytes. */
export function totalMemory(platform: Platform): number | undefined {
  const ofHost = memoryInfo(platform, "MemTotal");
  if (ofHost === undefined) return undefined;
  const ofContainer = Number(readWord(platform, "/sys/fs/cgroup/memory.max"));
  return ofContainer > 0 ? Math.min(ofHost, ofContainer) : ofHost;
}

/**
 * Memory that the host, or this container, has left, in bytes; `undefined` if it
 * does not say.
 */
export function availableMemory(platform: Platform): number | undefined {
  const ofHost = memoryInfo(platform, "MemAvailable");
  if (ofHost === undefined) return undefined;
  const limit = Number(readWord(platform, "/sys/fs/cgroup/memory.max"));
  const used = Number(readWord(platform, "/sys/fs/cgroup/memory.current"));
  const ofContainer = limit - used;
  return ofContainer >= 0 ? Math.min(ofHost, ofContainer) : ofHost;
}

/** A line of /proc/meminfo, in bytes. */
function memoryInfo(
  platform: Platform,
  line: "MemTotal" | "MemAvailable",
): number | undefined {
  const meminfo = readText(platform, "/proc/meminfo") ?? "";
  const [, kib] = new RegExp(`^${line}:\\s+(\\d+) kB$`, "m").exec(meminfo) ??
    [];
  return kib === undefined ? undefined : Number(kib) * 1024;
}
