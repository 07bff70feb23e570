/**
 * Bytes as lower-case hexadecimal text.
 *
 * @module
 */

export function toHex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** The inverse of {@linkcode toHex}, for text that it made. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(
    text.match(/../g) ?? [],
    (pair) => Number.parseInt(pair, 16),
  );
}
