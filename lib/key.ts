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
  /** The bytes as words, as far as they are whole: to be compared faster. */
  readonly words?: Uint32Array;
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
  readonly #words = new Uint32Array(KEY_MAX_BYTES / 4);
  readonly #bytes = new Uint8Array(this.#words.buffer);
  /** The first bytes, by how many: making a view costs more than all the rest. */
  readonly #views: Uint8Array<ArrayBuffer>[] = [];
  /** Not that of what was encoded: who looks that up may cause this meanwhile. */
  readonly #otherHash = new Uint32Array(4);
  readonly #encoded = {
    bytes: this.#bytes,
    hash: new Uint32Array(4),
    words: this.#words,
  };

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
    const bytes = this.#views[length] ??= this.#bytes.subarray(0, length);
    this.#encoded.bytes = bytes;
    this.#hash(length);
    return this.#encoded;
  }

  /** The hash of a key's bytes, whatever they are; holds until the next call. */
  hash(bytes: Uint8Array): Uint32Array {
    murmur3(bytes, this.#seed, this.#otherHash);
    return this.#otherHash;
  }

  /** Of the first bytes of ours. */
  #hash(length: number): void {
    if (length & 3) this.#bytes.fill(0, length, (length + 3) & ~3);
    murmur3Words(this.#words, length, this.#seed, this.#encoded.hash);
  }

  #fill(key: string, verb: string): number {
    if (typeof key !== "string" || key.length === 0) {
      throw new UsageError(
        verb,
        "a key",
        "it is empty",
        `Give 1 to ${KEY_MAX_BYTES} bytes`,
      );
    }
    // Nearly every key is ASCII, and then a loop beats the encoder.
    if (fillAscii(this.#words, key)) return key.length;
    if (!key.isWellFormed()) {
      throw new UsageError(verb, `key ${showKey(key)}`, "it is not Unicode");
    }
    const { read, written } = encoder.encodeInto(key, this.#bytes);
    if (read !== key.length) {
      throw new UsageError(
        verb,
        `key ${showKey(key)}`,
        `it is longer than ${KEY_MAX_BYTES} bytes`,
        "Give a shorter one, such as a hash of it",
      );
    }
    return written;
  }
}

/**
 * Called as a function of its own, and of this module's own: once anybody in the
 * process has made a class of strings (as `ioredis` does), V8 looks the method up
 * for every character, six times as slow.
 */
const { charCodeAt } = String.prototype;

/** Copies ASCII, four characters at once; whether it was all of that. */
function fillAscii(into: Uint32Array, text: string): boolean {
  const { length } = text;
  if (length > KEY_MAX_BYTES) return false;
  const whole = length & ~3;
  let seen = 0;
  for (let i = 0; i < whole; i += 4) {
    const a = charCodeAt.call(text, i), b = charCodeAt.call(text, i + 1);
    const c = charCodeAt.call(text, i + 2), d = charCodeAt.call(text, i + 3);
    seen |= a | b | c | d;
    into[i >> 2] = a | b << 8 | c << 16 | d << 24;
  }
  if (whole < length) {
    let last = 0;
    for (let i = length - 1; i >= whole; i--) {
      const code = charCodeAt.call(text, i);
      seen |= code;
      last = last << 8 | code;
    }
    into[whole >> 2] = last;
  }
  return seen <= 0x7f;
}

const rotate = (word: number, by: number) =>
  (word << by) | (word >>> (32 - by));

function finish(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85eb_ca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2_ae35);
  return hash ^ (hash >>> 16);
}

/** The hash of any bytes; see {@linkcode murmur3Words}. */
export function murmur3(
  bytes: Uint8Array,
  seed: number,
  into: Uint32Array,
): void {
  const words = new Uint32Array(Math.ceil(bytes.length / 4));
  new Uint8Array(words.buffer).set(bytes);
  murmur3Words(words, bytes.length, seed, into);
}

/**
 * MurmurHash3_x86_128 (Austin Appleby, public domain), into four words. It is
 * not a cryptographic hash and need not be: keys are compared whole.
 *
 * @param words little-endian, with zeros behind the last byte.
 * @param length in bytes.
 */
function murmur3Words(
  words: Uint32Array,
  length: number,
  seed: number,
  into: Uint32Array,
): void {
  const c1 = 0x239b_961b, c2 = 0xab0e_9789, c3 = 0x38b3_4ae5, c4 = 0xa1e3_8b93;
  let h1 = seed, h2 = seed, h3 = seed, h4 = seed;

  const end = (length & ~15) >> 2;
  for (let at = 0; at < end; at += 4) {
    h1 ^= Math.imul(rotate(Math.imul(words[at]!, c1), 15), c2);
    h1 = Math.imul(rotate(h1, 19) + h2, 5) + 0x561c_cd1b | 0;
    h2 ^= Math.imul(rotate(Math.imul(words[at + 1]!, c2), 16), c3);
    h2 = Math.imul(rotate(h2, 17) + h3, 5) + 0x0bca_a747 | 0;
    h3 ^= Math.imul(rotate(Math.imul(words[at + 2]!, c3), 17), c4);
    h3 = Math.imul(rotate(h3, 15) + h4, 5) + 0x96cd_1c35 | 0;
    h4 ^= Math.imul(rotate(Math.imul(words[at + 3]!, c4), 18), c1);
    h4 = Math.imul(rotate(h4, 13) + h1, 5) + 0x32ac_3b17 | 0;
  }

  // The tail: up to 15 bytes, as words with zeros behind the end.
  const last = (length + 3) >> 2;
  const tail = (at: number) => at < last ? words[at]! : 0;
  h4 ^= Math.imul(rotate(Math.imul(tail(end + 3), c4), 18), c1);
  h3 ^= Math.imul(rotate(Math.imul(tail(end + 2), c3), 17), c4);
  h2 ^= Math.imul(rotate(Math.imul(tail(end + 1), c2), 16), c3);
  h1 ^= Math.imul(rotate(Math.imul(tail(end), c1), 15), c2);

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
