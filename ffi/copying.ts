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
import type { Libc, Region } from "./libc.ts";
import { COPY_X64, machineCode } from "./machine_code.ts";
import type { Platform } from "./platform.ts";

/** Below this, what was put is rather wanted in the cache, and the call costs more. */
export const STREAMED_MIN_BYTES = 64 * 1024;
/** What is summed while it is still in the cache, where there is no such pass. */
const PART_BYTES = 256 * 1024;

const PAGE_BYTES = 4096;
const PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4;
const MAP_PRIVATE = 2, MAP_ANONYMOUS = 32;

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

  /** Copies whole lines; gives how many bytes that were. */
  function stream(to: Uint8Array, from: Uint8Array, seed: number): number {
    if (from.length < STREAMED_MIN_BYTES || from.length > to.length) return 0;
    if (isShared(to) || isShared(from)) return 0;
    if (!isKnown) {
      isKnown = true;
      pass = Pass.make(libc);
    }
    return pass ? pass.run(to, from, seed) : 0;
  }

  return {
    copy: (to, from) => {
      const done = stream(to, from, 0);
      if (done === 0) to.set(from);
      else if (done < from.length) to.set(from.subarray(done), done);
    },
    copyAndSum: (to, from, seed = 0) => {
      const done = stream(to, from, seed);
      if (done === 0) return plainly(libc, to, from, seed);
      const crc = pass!.sum();
      if (done === from.length) return crc;
      const rest = from.subarray(done);
      to.set(rest, done);
      return libc.crc32(rest, crc);
    },
  };
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
  readonly #call: ReturnType<Region["asCopy"]>;
  readonly #words: Uint32Array;
  /** The folded line. */
  readonly #line: Uint8Array;

  private constructor(libc: Libc, region: Region) {
    this.#libc = libc;
    this.#call = region.asCopy();
    const memory = region.view(PAGE_BYTES, PAGE_BYTES);
    this.#words = new Uint32Array(memory);
    this.#words.set(FOLD_BY, LINE_WORDS);
    this.#line = new Uint8Array(memory, 0, LINE_BYTES);
  }

  /** `undefined` on a host that has not the instructions, or lets nobody make code. */
  static make(libc: Libc): Pass | undefined {
    if (!hasInstructions(libc)) return undefined;
    const region = libc.mmap(
      2 * PAGE_BYTES,
      PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS,
      -1,
    );
    if (!region) return undefined;
    new Uint8Array(region.view(0, PAGE_BYTES)).set(machineCode(COPY_X64));
    // Never both writable and executable. It stays as long as the process.
    if (region.mprotect(0, PAGE_BYTES, PROT_READ | PROT_EXEC) === 0) {
      return new Pass(libc, region);
    }
    region.munmap();
    return undefined;
  }

  /** Copies whole lines; gives how many bytes that were. */
  run(to: Uint8Array, from: Uint8Array, seed: number): number {
    const bytes = from.length - from.length % LINE_BYTES;
    this.#words.fill(0, 0, LINE_WORDS);
    this.#words[0] = ~seed;
    return this.#call(to, from, bytes) === 0 ? 0 : bytes;
  }

  /** Of what the last run copied. */
  sum(): number {
    return this.#libc.crc32(this.#line, NOTHING_SUMMED);
  }
}

function hasInstructions({ architecture }: Libc): boolean {
  if (architecture !== "x64") return false;
  try {
    const { readFileSync } = process.getBuiltinModule("node:fs");
    return /^flags\s*:.* pclmulqdq /m.test(
      readFileSync("/proc/cpuinfo", "utf8"),
    );
  } catch {
    return false; // then it is not known
  }
}
