/**
 * What an entry takes in its blocks: the value, and its text if that does not fit
 * into the record.
 *
 * @module
 */
import { RECORD_TEXT_BYTES, SPILL_ALIGN_BYTES } from "./layout.ts";

/** Bytes that an entry takes in its blocks, and whether its text is among them. */
export function storedBytes(size_bytes: number, text_bytes: number) {
  if (text_bytes <= RECORD_TEXT_BYTES) {
    return { bytes: size_bytes, spilled: false };
  }
  return { bytes: spillOffset(size_bytes) + text_bytes, spilled: true };
}

/** Where spilled text begins, counted from the value's first byte. */
export function spillOffset(size_bytes: number): number {
  return Math.ceil(size_bytes / SPILL_ALIGN_BYTES) * SPILL_ALIGN_BYTES;
}
