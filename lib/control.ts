/**
 * The control region: header, free list and system blocks, as one window seen
 * through typed arrays. Everything in it is addressed by byte offset, so that
 * offsets stay the ones of `layout.ts`.
 *
 * @module
 */
import type { Mapping } from "../ffi/platform.ts";
import type { Geometry } from "./geometry.ts";

/** Views over `[0, geometry.control_bytes)` of a segment. */
export class Control {
  readonly u8: Uint8Array;
  /** Index with `offset >> 2`. */
  readonly u32: Uint32Array;
  /** Index with `offset >> 3`. */
  readonly f64: Float64Array;

  constructor(buffer: ArrayBuffer) {
    this.u8 = new Uint8Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.f64 = new Float64Array(buffer);
  }

  static of(mapping: Mapping, geometry: Geometry): Control {
    return new Control(mapping.window(0, geometry.control_bytes));
  }

  getI32(offset: number): number {
    return this.u32[offset >> 2]! | 0;
  }

  /** A u64 that is exact up to 2^53; larger ones come out larger than any bound. */
  getU64(offset: number): number {
    const at = offset >> 2;
    return this.u32[at]! + this.u32[at + 1]! * 2 ** 32;
  }

  setU64(offset: number, value: number): void {
    const at = offset >> 2;
    this.u32[at] = value >>> 0;
    this.u32[at + 1] = Math.floor(value / 2 ** 32);
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.u8.subarray(offset, offset + length);
  }

  /** A range for {@linkcode Bitmap} and the like: whole words. */
  words(offset: number, length_bytes: number): Uint32Array {
    return this.u32.subarray(offset >> 2, (offset + length_bytes) >> 2);
  }
}
