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
import { plainBytes } from "./bytes.ts";
import type { Libc } from "./libc.ts";
import { type ForeignFunction, MAP_PRIVATE_ANONYMOUS, PROT } from "./region.ts";
import {
  COPY_AVX512,
  COPY_SSE,
  FEATURES,
  machineCode,
} from "./machine_code.ts";
import type { Platform } from "./platform.ts";

/** Below this there is little to gain, and what was put is rather wanted in the cache. */
export const STREAMED_MIN_BYTES = 16 * 1024;
/** What is summed while it is still in the cache, where there is no such pass. */
const PART_BYTES = 256 * 1024;

const PAGE_BYTES = 4096;

/** What a pass takes at once. */
const LINE_BYTES = 64, LINE_WORDS = LINE_BYTES / 4;
/** Words of the state behind the line. */
const FOLD_BY_AT = 16, COUNT_LOW = 20, COUNT_HIGH = 21;
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

/** Bytes that may be copied past the cache. */
function manyBytes(from: Uint8Array): Uint8Array | undefined {
  if (from.length < STREAMED_MIN_BYTES) return undefined;
  const plain = plainBytes(from);
  const isMany = plain && plain.length >= STREAMED_MIN_BYTES;
  return isMany && !isShared(plain) ? plain : undefined;
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
  const bytes = plainBytes(from) ?? from;
  let crc = seed;
  for (let at = 0; at < bytes.length; at += PART_BYTES) {
    const part = bytes.subarray(at, at + PART_BYTES);
    to.set(part, at);
    crc = libc.crc32(to.subarray(at, at + part.length), crc);
  }
  return crc;
}

/** The machine code, and its state. */
class Pass {
  readonly #libc: Libc;
  readonly #call: ForeignFunction;
  readonly #words: Uint32Array;
  /** The folded line. */
  readonly #line: Uint8Array;
  /** What was less than a line, where it is now. */
  #rest: Uint8Array | undefined;

  private constructor(
    libc: Libc,
    call: ForeignFunction,
    words: Uint32Array<ArrayBuffer>,
  ) {
    this.#libc = libc;
    this.#call = call;
    this.#words = words;
    this.#words.set(FOLD_BY, FOLD_BY_AT);
    this.#line = new Uint8Array(words.buffer, 0, LINE_BYTES);
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
    for (const { offset, listing } of [COPY_SSE, COPY_AVX512, FEATURES]) {
      page.set(machineCode(listing), offset);
    }
    // Never both writable and executable. It stays as long as the process.
    if (region.mprotect(0, PAGE_BYTES, PROT.READ | PROT.EXEC) === 0) {
      const state = new Uint32Array(region.view(PAGE_BYTES, PAGE_BYTES));
      region.asFunction(FEATURES.offset)(page, page);
      const copy = copyFor(state);
      if (copy) return new Pass(libc, region.asFunction(copy.offset), state);
    }
    region.munmap();
    return undefined;
  }

  /** Whether it copied them: not to where lines are not aligned. */
  run(to: Uint8Array, from: Uint8Array, seed: number): boolean {
    const words = this.#words;
    const done = from.length - from.length % LINE_BYTES;
    words.fill(0, 0, LINE_WORDS);
    words[0] = ~seed;
    words[COUNT_LOW] = done;
    words[COUNT_HIGH] = Math.floor(done / 2 ** 32);
    this.#call(to, from);
    if (words[COUNT_LOW] !== 0 || words[COUNT_HIGH] !== 0) return false;
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

/** Bits of what a processor has, and of what a kernel saves of it. */
const PCLMULQDQ = 1 << 1, AVX512F = 1 << 16, VPCLMULQDQ = 1 << 10;
const ZMM = 0b1110_0110;

/** The copy for a processor, from what {@linkcode FEATURES} found. */
export function copyFor([leaf1_ecx, xcr0, leaf7_ebx, leaf7_ecx]: Uint32Array) {
  if ((leaf1_ecx! & PCLMULQDQ) === 0) return undefined;
  const isWide = (xcr0! & ZMM) === ZMM && (leaf7_ebx! & AVX512F) !== 0 &&
    (leaf7_ecx! & VPCLMULQDQ) !== 0;
  return isWide ? COPY_AVX512 : COPY_SSE;
}
