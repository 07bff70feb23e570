/**
 * The limit: memory that is shared as a pool's is, with nothing on it.
 *
 * @module
 */
import { hostPlatform } from "../ffi/mod.ts";

/** Lends views of a mapping of our own, every page of it touched. */
export async function withWarmViews<T>(
  name: string,
  count: number,
  size_bytes: number,
  use: (views: readonly Uint8Array[]) => Promise<T>,
): Promise<T> {
  const platform = hostPlatform();
  const fd = platform.createSegment(name, 0o600);
  platform.unlinkSegment(name);
  const total_bytes = count * size_bytes;
  platform.truncate(fd, total_bytes);
  platform.allocate(fd, 0, total_bytes);
  const mapping = platform.map(fd, total_bytes);
  try {
    mapping.populate(0, total_bytes);
    const views = Array.from(
      { length: count },
      (_, i) => new Uint8Array(mapping.window(i * size_bytes, size_bytes)),
    );
    return await use(views);
  } finally {
    mapping.close();
    platform.close(fd);
  }
}
