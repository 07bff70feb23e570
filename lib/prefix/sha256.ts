/**
 * SHA-256 of one message after another, each a part of the next.
 *
 * @module
 */
import { hash } from "node:crypto";

export const DIGEST_BYTES = 32;

/**
 * The digest in lower-case hex. The one-shot call that gives text is several
 * times as fast as a hash object, and as one that gives bytes.
 */
export function sha256Hex(message: Uint8Array): string {
  return hash("sha256", message, "hex");
}

/** See `key.ts` for why. */
const { charCodeAt } = String.prototype;

/** Writes what hex says as bytes. */
export function putHex(hex: string, into: Uint8Array, at: number): void {
  for (let i = 0; i < hex.length; i += 2) {
    const high = charCodeAt.call(hex, i), low = charCodeAt.call(hex, i + 1);
    into[at++] = digit(high) << 4 | digit(low);
  }
}

/** Of `0` to `9` and `a` to `f`. */
function digit(code: number): number {
  return code < 0x3a ? code - 0x30 : code - 0x57;
}
