/**
 * Mappings over a region of memory that a runtime has mapped.
 *
 * @module
 */
import type { Region } from "./region.ts";
import { type Mapping, OsError } from "./platform.ts";

const MADV_POPULATE_WRITE = 23, MS_SYNC = 4;

/** Shrinking to 0 in the move drops the memory without copying a byte of it. */
function detach(window: ArrayBuffer): void {
  // A caller may have transferred it away already.
  if (!window.detached) window.transfer(0);
}

/** {@linkcode Mapping} over a {@linkcode Region}. */
export class LibcMapping implements Mapping {
  readonly size_bytes: number;
  readonly windowLimit_bytes: number;
  readonly #region: Region;
  readonly #error: (syscall: string) => OsError;
  readonly #windows = new Set<ArrayBuffer>();
  #open = true;

  constructor(
    region: Region,
    size_bytes: number,
    windowLimit_bytes: number,
    error: (syscall: string) => OsError,
  ) {
    this.#region = region;
    this.size_bytes = size_bytes;
    this.windowLimit_bytes = windowLimit_bytes;
    this.#error = error;
  }

  window(offset: number, length: number): ArrayBuffer {
    if (!this.#open) throw new OsError("window", "EBADF");
    if (
      !(offset >= 0 && length > 0 && offset + length <= this.size_bytes) ||
      length > this.windowLimit_bytes
    ) {
      throw new OsError("window", "EFAULT");
    }
    const window = this.#region.view(offset, length);
    this.#windows.add(window);
    return window;
  }

  release(window: ArrayBuffer): void {
    if (this.#windows.delete(window)) detach(window);
  }

  populate(offset: number, length: number): void {
    if (this.#region.madvise(offset, length, MADV_POPULATE_WRITE) === 0) return;
    const error = this.#error("madvise");
    // Before Linux 5.14 there is no such advice: pages come by fault, as ever.
    if (error.code !== "EINVAL") throw error;
  }

  sync(): void {
    if (this.#region.msync(MS_SYNC) !== 0) throw this.#error("msync");
  }

  /** Of the first byte: for the adapter alone. */
  get address(): number {
    if (!this.#open) throw new OsError("window", "EBADF");
    return this.#region.address;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const window of this.#windows) detach(window);
    this.#windows.clear();
    this.#region.munmap();
  }
}
