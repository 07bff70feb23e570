/**
 * What an adapter can do with a range of memory.
 *
 * @module
 */

/** What a program may do with memory, and memory of its own: equal on x86-64 and arm64. */
export const PROT = { READ: 1, WRITE: 2, EXEC: 4 } as const;
export const MAP_PRIVATE_ANONYMOUS = 2 | 32;

/**
 * An `int (const void *, const void *)`, with the addresses of two arrays. `bsearch`
 * calls it, as what compares a key with an element of a list of one: Deno calls a
 * function of a library fifty times as fast as one that it has but a pointer of.
 */
export type ForeignFunction = (first: Uint8Array, second: Uint8Array) => void;

/** A mapped range of memory; no address leaves the adapter. */
export interface Region {
  /** Of its first byte; only for what the kernel is told of it. */
  readonly address: number;
  view(offset: number, length: number): ArrayBuffer;
  madvise(offset: number, length: number, advice: number): number;
  msync(flags: number): number;
  mprotect(offset: number, length: number, prot: number): number;
  munmap(): number;
  /** The C function that begins there. */
  asFunction(offset: number): ForeignFunction;
}
