/**
 * Views over pieces of a mapping.
 *
 * @module
 */
import type { Mapping } from "../ffi/platform.ts";
import type { Piece } from "./contents.ts";

/** Views in order, none longer than the runtime can make. */
export function openViews(
  mapping: Mapping,
  list: readonly Piece[],
): Uint8Array<ArrayBuffer>[] {
  const views: Uint8Array<ArrayBuffer>[] = [];
  for (const { offset, length } of list) {
    for (let done = 0; done < length;) {
      const size = Math.min(length - done, mapping.windowLimit_bytes);
      views.push(new Uint8Array(mapping.window(offset + done, size)));
      done += size;
    }
  }
  return views;
}

/**
 * What is copied at once: little enough to be still in the processor's cache when
 * it is summed, and faster than all at once even if it is not.
 */
const PART_BYTES = 256 * 1024;

/**
 * Copies `bytes` into the views, one behind the other.
 *
 * @param sum is told of each part once it is there.
 */
export function fillViews(
  views: readonly Uint8Array<ArrayBuffer>[],
  bytes: Uint8Array,
  sum: (part: Uint8Array) => void = () => {},
): void {
  let done = 0;
  for (const view of views) {
    // Many values are one part: no views of parts need be made.
    if (view.length <= PART_BYTES && view.length === bytes.length) {
      view.set(bytes);
      return sum(view);
    }
    for (let at = 0; at < view.length; at += PART_BYTES) {
      const part = view.subarray(at, at + PART_BYTES);
      part.set(bytes.subarray(done, done + part.length));
      sum(part);
      done += part.length;
    }
  }
}

/** Detaches the views. */
export function closeViews(
  mapping: Mapping,
  views: readonly Uint8Array<ArrayBuffer>[],
): void {
  for (const view of views) mapping.release(view.buffer);
}

/** Each lasting window begins so far behind the one before, and is twice as long. */
const STRIDE_BYTES = 2 ** 30;

/**
 * Windows that stay open as long as their mapping, made when they are first asked
 * for: a view on one costs next to nothing, but is not taken back by itself.
 */
export class LastingWindows {
  readonly #mapping: Mapping;
  readonly #windows: ArrayBuffer[] = [];

  constructor(mapping: Mapping) {
    this.#mapping = mapping;
  }

  /** A view, or `undefined` if no window holds all of it. */
  view(offset: number, length: number): Uint8Array<ArrayBuffer> | undefined {
    const number = Math.floor(offset / STRIDE_BYTES);
    const from = offset - number * STRIDE_BYTES;
    const window = this.#windows[number] ??= this.#open(number);
    // Not `subarray`: that takes half as long again.
    return from + length <= window.byteLength
      ? new Uint8Array(window, from, length)
      : undefined;
  }

  #open(number: number): ArrayBuffer {
    const start = number * STRIDE_BYTES;
    const { size_bytes } = this.#mapping;
    const length = Math.min(2 * STRIDE_BYTES, size_bytes - start);
    return this.#mapping.window(start, length);
  }
}
