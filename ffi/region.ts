/**
 * What an adapter can do with a range of memory.
 *
 * @module
 */

/** `int (void *, const void *, size_t)` */
export type ForeignFunction = (
  to: Uint8Array,
  from: Uint8Array,
  bytes: number,
) => number;

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
