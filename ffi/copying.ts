/**
 * Copies, and checksums of what is copied.
 *
 * An ordinary copy reads each line of its target into the processor's cache before
 * it overwrites it, and drops something else for it; a sum by itself reads all of
 * it once more. Of many bytes, both are done in one pass that goes past the cache:
 * in two thirds of the time that the copy alone takes. Neither runtime nor libc
 * has a call for that, so it is machine code.
 *
 * @module
 */
import type { Libc } from "./libc.ts";
import {
  type ForeignFunction,
  MAP_PRIVATE_ANONYMOUS,
  PROT,
  type Region,
} from "./region.ts";
import { COPY_X64, FEATURES_X64, machineCode } from "./machine_code.ts";
import type { Platform } from "./platform.ts";

/** Below this, what was put is rather wanted in the cache, and the call costs more. */
export const STREAMED_MIN_BYTES = 64 * 1024;
/** What is summed while it is still in the cache, where there is no such pass. */
const PART_BYTES = 256 * 1024;

const PAGE_BYTES = 4096;

/** What a pass takes at once. */
const LINE_BYTES = 64, LINE_WORDS = LINE_BYTES / 4;
/** x^544 and x^480 modulo the polynomial of CRC-32, its bits in reverse. */
const FOLD_BY = [0x54442bd4, 1, 0xc6e41596, 1] as const;
/** From which the sum of a folded line goes on: a register of zeros. */
const NOTHING_SUMMED = 0xffff_ffff;

/** The copies of this host. What they need is made when it is first needed. */
export function copying(libc: Libc): Pick<Platform, "copy" | "copyAndSum"> {
  let pass: Pass | undefined;
  let isKnown = false;

  /** The pass that may copy these; else it is for `set`, and what `set` refuses. */
  function passFor(to: Uint8Array, from: Uint8Array | undefined) {
    if (!from || from.length > to.length || isShared(to)) return undefined;
    if (!isKnown) {
      isKnown = true;
      pass = Pass.make(libc);
    }
    return pass;
  }

  return {
    copy: (to, from) => {
      const source = manyBytes(from);
      if (!passFor(to, source)?.run(to, source!, 0)) to.set(from);
    },
    copyAndSum: (to, from, seed = 0) => {
      const source = manyBytes(from);
      const made = passFor(to, source);
      return made?.run(to, source!, seed)
        ? made.sum()
        : plainly(libc, to, from, seed);
    },
  };
}

/** What the language itself says of an array, whatever the array says. */
function truth<T>(name: string | symbol): (this: Uint8Array) => T {
  const arrays = Object.getPrototypeOf(Uint8Array.prototype);
  return Object.getOwnPropertyDescriptor(arrays, name)!.get!;
}
const kindOf = truth<string>(Symbol.toStringTag);
const bufferOf = truth<ArrayBuffer>("buffer");
const offsetOf = truth<number>("byteOffset");
const lengthOf = truth<number>("length");

/**
 * Bytes that may be copied past the cache, as an array of no other class: a
 * `length` that lies would have a foreign function read the memory of others.
 */
function manyBytes(from: Uint8Array): Uint8Array | undefined {
  if (from.length < STREAMED_MIN_BYTES) return undefined;
  if (kindOf.call(from) !== "Uint8Array") return undefined;
  const length = lengthOf.call(from);
  if (length < STREAMED_MIN_BYTES) return undefined;
  const plain = new Uint8Array(
    bufferOf.call(from),
    offsetOf.call(from),
    length,
  );
  return isShared(plain) ? undefined : plain;
}

/** Neither runtime gives the address of one to a foreign function. */
function isShared({ buffer }: Uint8Array): boolean {
  return buffer instanceof SharedArrayBuffer;
}

/** Sums what was copied: others may change the source meanwhile. */
function plainly(
  libc: Libc,
  to: Uint8Array,
  from: Uint8Array,
  seed: number,
): number {
  if (from.length <= PART_BYTES && from.length === to.length) {
    to.set(from);
    return libc.crc32(to, seed);
  }
  let crc = seed;
  for (let at = 0; at < from.length; at += PART_BYTES) {
    const part = from.subarray(at, at + PART_BYTES);
    to.set(part, at);
    crc = libc.crc32(to.subarray(at, at + part.length), crc);
  }
  return crc;
}

/** The machine code, and the memory behind it. */
class Pass {
  readonly #libc: Libc;
  readonly #call: ForeignFunction;
  readonly #words: Uint32Array;
  /** The folded line. */
  readonly #line: Uint8Array;
  /** What was less than a line, where it is now. */
  #rest: Uint8Array | undefined;

  private constructor(libc: Libc, region: Region) {
    this.#libc = libc;
    this.#call = region.asFunction(0);
    const memory = region.view(PAGE_BYTES, PAGE_BYTES);
    this.#words = new Uint32Array(memory);
    this.#words.set(FOLD_BY, LINE_WORDS);
    this.#line = new Uint8Array(memory, 0, LINE_BYTES);
  }

  /** `undefined` on a host that has not the instructions, or lets nobody make code. */
  static make(libc: Libc): Pass | undefined {
    if (libc.architecture !== "x64") return undefined;
    const region = libc.mmap(
      2 * PAGE_BYTES,
      PROT.READ | PROT.WRITE,
      MAP_PRIVATE_ANONYMOUS,
      -1,
    );
    if (!region) return undefined;
    const page = new Uint8Array(region.view(0, PAGE_BYTES));
    page.set(machineCode(COPY_X64));
    page.set(machineCode(FEATURES_X64), PAGE_BYTES / 2);
    // Never both writable and executable. It stays as long as the process.
    const isCode = region.mprotect(0, PAGE_BYTES, PROT.READ | PROT.EXEC) === 0;
    if (isCode && hasInstructions(region.asFunction(PAGE_BYTES / 2), page)) {
      return new Pass(libc, region);
    }
    region.munmap();
    return undefined;
  }

  /** Whether it copied them: not to where lines are not aligned. */
  run(to: Uint8Array, from: Uint8Array, seed: number): boolean {
    const done = from.length - from.length % LINE_BYTES;
    this.#words.fill(0, 0, LINE_WORDS);
    this.#words[0] = ~seed;
    if (this.#call(to, from, done) === 0) return false;
    this.#rest = undefined;
    if (done === from.length) return true;
    to.set(from.subarray(done), done);
    this.#rest = to.subarray(done, from.length);
    return true;
  }

  /** Of what the last run copied. */
  sum(): number {
    const crc = this.#libc.crc32(this.#line, NOTHING_SUMMED);
    return this.#rest ? this.#libc.crc32(this.#rest, crc) : crc;
  }
}

/** PCLMULQDQ; SSE2 is in all of them. */
function hasInstructions(features: ForeignFunction, any: Uint8Array): boolean {
  return (features(any, any, 0) & 2) !== 0;
}
