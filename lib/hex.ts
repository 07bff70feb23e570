/**
 * Bytes as lower-case hexadecimal text.
 *
 * @module
 */

export function toHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    text += (byte >> 4).toString(16) + (byte & 15).toString(16);
  }
  return text;
}

/** The inverse of {@linkcode toHex}, for text that it made. */
export function fromHex(text: string): Uint8Array {
  return Uint8Array.from(
    text.match(/../g) ?? [],
    (pair) => Number.parseInt(pair, 16),
  );
}
