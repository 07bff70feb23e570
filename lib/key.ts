/**
 * Keys: text of 1 to 1,024 bytes of UTF-8, found by a 128-bit hash and always
 * compared whole, so that a collision is a miss and never a wrong hit.
 *
 * @module
 */
import { UsageError } from "./errors.ts";
import { KEY_MAX_BYTES } from "./layout.ts";

/** A key as the pool looks for it. */
export interface EncodedKey {
  /** UTF-8. */
  readonly bytes: Uint8Array;
  /** 128 bits in four words. */
  readonly hash: Uint32Array;
}

const encoder = new TextEncoder();

/** A key shortened for a message, with nothing that could steer a terminal. */
export function showKey(key: string): string {
  const short = key.length > 80 ? `${key.slice(0, 77)}...` : key;
  return JSON.stringify(short).replaceAll(
    /[\u007f-\u009f]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** Makes keys ready for one namespace. */
export class KeyEncoder {
  /** First 64 bits of the namespace's hash: 0 for none. */
  readonly namespaceHash: Uint32Array;
  readonly #seed: number;
  readonly #bytes = new Uint8Array(KEY_MAX_BYTES);
  readonly #hash = new Uint32Array(4);

  constructor(namespace: string) {
    const hash = new Uint32Array(4);
    if (namespace !== "") murmur3(encoder.encode(namespace), 0, hash);
    this.namespaceHash = hash.slice(0, 2);
    this.#seed = hash[0]!;
  }

  /**
   * The key's bytes and hash. The result is the encoder's own and holds until
   * the next call: a look-up allocates nothing but a view.
   *
   * @throws {UsageError} if no pool can have such a key.
   */
  encode(key: string, verb = "use"): EncodedKey {
    const length = this.#fill(key, verb);
    const bytes = this.#bytes.subarray(0, length);
    return { bytes, hash: this.hash(bytes) };
  }

  /** The hash of a key's bytes, whatever they are; holds until the next call. */
  hash(bytes: Uint8Array): Uint32Array {
    murmur3(bytes, this.#seed, this.#hash);
    return this.#hash;
  }

  /** As `encode`, to be kept. */
  encodeCopy(key: string, verb?: string): EncodedKey {
    const { bytes, hash } = this.encode(key, verb);
    return { bytes: bytes.slice(), hash: hash.slice() };
  }

  #fill(key: string, verb: string): number {
    if (typeof key !== "string" || key.length === 0) {
      throw new UsageError(verb, "a key", "it is empty");
    }
    // Nearly every key is ASCII, and then a loop beats the encoder.
    const ascii = fillAscii(this.#bytes, key);
    if (ascii === key.length) return ascii;
    if (!key.isWellFormed()) {
      throw new UsageError(verb, `key ${showKey(key)}`, "it is not Unicode");
    }
    const { read, written } = encoder.encodeInto(key, this.#bytes);
    if (read !== key.length) {
      throw new UsageError(
        verb,
        `key ${showKey(key)}`,
        `it is longer than ${KEY_MAX_BYTES} bytes`,
      );
    }
    return written;
  }
}

/** Copies ASCII; how far it came. */
function fillAscii(into: Uint8Array, text: string): number {
  const end = Math.min(text.length, into.length);
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return i;
    into[i] = code;
  }
  return end;
}

const rotate = (word: number, by: number) =>
  (word << by) | (word >>> (32 - by));

function finish(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}

/**
 * MurmurHash3_x86_128 (Austin Appleby, public domain), into four words. It is
 * not a cryptographic hash and need not be: keys are compared whole.
 */
export function murmur3(
  bytes: Uint8Array,
  seed: number,
  into: Uint32Array,
): void {
  const c1 = 0x239b_961b, c2 = 0xab0e_9789, c3 = 0x38b3_4ae5, c4 = 0xa1e3_8b93;
  const { length } = bytes;
  const word = (at: number) =>
    bytes[at]! | bytes[at + 1]! << 8 | bytes[at + 2]! << 16 |
    bytes[at + 3]! << 24;
  let h1 = seed, h2 = seed, h3 = seed, h4 = seed;

  const end = length & ~15;
  for (let at = 0; at < end; at += 16) {
    h1 ^= Math.imul(rotate(Math.imul(word(at), c1), 15), c2);
    h1 = Math.imul(rotate(h1, 19) + h2, 5) + 0x561c_cd1b | 0;
    h2 ^= Math.imul(rotate(Math.imul(word(at + 4), c2), 16), c3);
    h2 = Math.imul(rotate(h2, 17) + h3, 5) + 0x0bca_a747 | 0;
    h3 ^= Math.imul(rotate(Math.imul(word(at + 8), c3), 17), c4);
    h3 = Math.imul(rotate(h3, 15) + h4, 5) + 0x96cd_1c35 | 0;
    h4 ^= Math.imul(rotate(Math.imul(word(at + 12), c4), 18), c1);
    h4 = Math.imul(rotate(h4, 13) + h1, 5) + 0x32ac_3b17 | 0;
  }

  // The tail: up to 15 bytes, as words with zeros behind the end.
  const tail = (from: number) => {
    let value = 0;
    for (let i = Math.min(3, length - end - from - 1); i >= 0; i--) {
      value = value << 8 | bytes[end + from + i]!;
    }
    return value;
  };
  h4 ^= Math.imul(rotate(Math.imul(tail(12), c4), 18), c1);
  h3 ^= Math.imul(rotate(Math.imul(tail(8), c3), 17), c4);
  h2 ^= Math.imul(rotate(Math.imul(tail(4), c2), 16), c3);
  h1 ^= Math.imul(rotate(Math.imul(tail(0), c1), 15), c2);

  h1 ^= length, h2 ^= length, h3 ^= length, h4 ^= length;
  h1 = h1 + h2 + h3 + h4 | 0;
  h2 = h2 + h1 | 0, h3 = h3 + h1 | 0, h4 = h4 + h1 | 0;
  h1 = finish(h1), h2 = finish(h2), h3 = finish(h3), h4 = finish(h4);
  h1 = h1 + h2 + h3 + h4 | 0;
  into[0] = h1;
  into[1] = h2 + h1;
  into[2] = h3 + h1;
  into[3] = h4 + h1;
}
