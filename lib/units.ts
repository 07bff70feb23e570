/**
 * Sizes for people: binary multiples.
 *
 * @module
 */
import { UsageError } from "./errors.ts";

const UNITS = ["", "K", "M", "G", "T", "P"] as const;
const SIZE = /^(\d+(?:\.\d+)?)\s*([KMGTP]?)(?:i?B)?$/i;

/**
 * Bytes of a size such as `4096`, `512K`, `1.5G` or `16GiB`.
 *
 * @throws {UsageError} if it is not a positive whole number of bytes.
 *
 * @example
 * ```ts
 * import { parseSize } from "./units.ts";
 * import assert from "node:assert/strict";
 *
 * assert.equal(parseSize("1.5G"), 1610612736);
 * ```
 */
export function parseSize(text: string, what = "size"): number {
  const [, digits, unit] = SIZE.exec(text.trim()) ?? [];
  const power = UNITS.indexOf(
    (unit ?? "").toUpperCase() as typeof UNITS[number],
  );
  const bytes = Number(digits) * 1024 ** power;
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new UsageError(
    "use",
    `${what} ${JSON.stringify(text.slice(0, 40))}`,
    "it is not a positive whole number of bytes",
    "Write it as 4096, 512K, 1.5G or 16GiB",
  );
}

/** Such as `32M`: exact, in the largest unit of which it is a whole number. */
export function exactSize(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (power < UNITS.length - 1 && value >= 1024 && value % 1024 === 0) {
    value /= 1024;
    power++;
  }
  return `${value}${UNITS[power]}`;
}

/** Such as `16.0 GiB`. */
export function formatBytes(bytes: number): string {
  let power = 0;
  let value = bytes;
  // 1023.95 would be shown as 1024.0 of the smaller unit.
  while (power < UNITS.length - 1 && value >= 1023.95) {
    value /= 1024;
    power++;
  }
  return power === 0 ? `${bytes} B` : `${value.toFixed(1)} ${UNITS[power]}iB`;
}
