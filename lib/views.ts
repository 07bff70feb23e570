/**
 * Views over pieces of a mapping.
 *
 * @module
 */
import type { Mapping, Platform } from "../ffi/platform.ts";
import { plainBytes } from "../ffi/bytes.ts";
import type { Piece } from "./contents.ts";
import { UsageError } from "./errors.ts";

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
 * The bytes of a value, as the language has them.
 *
 * @throws {UsageError} if it has none, or they were transferred away.
 */
export function expectBytes(
  value: unknown,
  verb: string,
  thing: () => string,
): Uint8Array {
  const bytes = plainBytes(value);
  if (bytes) return bytes;
  throw new UsageError(
    verb,
    thing(),
    value instanceof Uint8Array && ArrayBuffer.isView(value)
      ? "the value's bytes were transferred away"
      : "the value is not a Uint8Array",
  );
}

/** Copies `bytes` into the views, one behind the other. */
export function fillViews(
  platform: Platform,
  views: readonly Uint8Array<ArrayBuffer>[],
  bytes: Uint8Array,
): void {
  let done = 0;
  for (const view of views) {
    platform.copy(view, partOf(bytes, done, view.length));
    done += view.length;
  }
}

/** As `fillViews`; gives the checksum of what was copied. */
export function fillAndSum(
  platform: Platform,
  views: readonly Uint8Array<ArrayBuffer>[],
  bytes: Uint8Array,
): number {
  let crc = 0, done = 0;
  for (const view of views) {
    const part = partOf(bytes, done, view.length);
    crc = platform.copyAndSum(view, part, crc);
    done += view.length;
  }
  return crc;
}

/** Most values are in one piece: no view of a part need be made. */
function partOf(bytes: Uint8Array, from: number, length: number): Uint8Array {
  return bytes.length === length ? bytes : bytes.subarray(from, from + length);
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
