/**
 * Arrays as the language has them, whatever they say of themselves.
 *
 * @module
 */

/** What the language itself says of an array. */
function truth<T>(name: string | symbol): (this: unknown) => T {
  const arrays = Object.getPrototypeOf(Uint8Array.prototype);
  return Object.getOwnPropertyDescriptor(arrays, name)!.get!;
}
const kindOf = truth<string | undefined>(Symbol.toStringTag);
const bufferOf = truth<ArrayBuffer>("buffer");
const offsetOf = truth<number>("byteOffset");
const lengthOf = truth<number>("length");

/**
 * The bytes of a `Uint8Array`, or of one of a subclass, as an array of no other
 * class: a `length` that lies would have others' memory read, or what was there
 * before be taken for a value. `undefined` of anything else, and of one whose
 * buffer was transferred away.
 */
export function plainBytes(value: unknown): Uint8Array | undefined {
  if (kindOf.call(value) !== "Uint8Array") return undefined;
  const length = lengthOf.call(value), buffer = bufferOf.call(value);
  if (length === 0) return buffer.detached ? undefined : new Uint8Array();
  return new Uint8Array(buffer, offsetOf.call(value), length);
}
