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

/** Copies `bytes` into the views, one behind the other. */
export function fillViews(
  views: readonly Uint8Array<ArrayBuffer>[],
  bytes: Uint8Array,
): void {
  let done = 0;
  for (const view of views) {
    view.set(bytes.subarray(done, done + view.length));
    done += view.length;
  }
}

/** Detaches the views. */
export function closeViews(
  mapping: Mapping,
  views: readonly Uint8Array<ArrayBuffer>[],
): void {
  for (const view of views) mapping.release(view.buffer);
}
