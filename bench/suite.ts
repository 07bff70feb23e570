/**
 * What a suite is, and what it is told.
 *
 * @module
 */
import { join } from "node:path";
import { type CreateOptions, Pool } from "../lib/mod.ts";
import { exactSize } from "../lib/units.ts";
import type { Finding } from "./finding.ts";

/** The smallest block there is. */
export const BLOCK_BYTES = 4096;

/** How much a run takes on: a test's glance, minutes, or as long as it takes. */
export type Scale = "quick" | "usual" | "full";

/** What the driver tells the process that runs a suite. */
export interface Order {
  readonly suite: string;
  readonly scale: Scale;
  readonly rounds: number;
  /** Begins the name of everything that is left in shared memory. */
  readonly prefix: string;
  /** A directory in shared memory, and one on disk, which the driver removes. */
  readonly memory_dir: string;
  readonly disk_dir: string;
}

/** Something that was not measured, and why. */
export interface LeftOut {
  readonly name: string;
  readonly reason: string;
}

/** What that process answers. */
export interface Answer {
  readonly runtime: string;
  readonly findings: readonly Finding[];
  readonly left_out: readonly LeftOut[];
}

/** A suite's way to the driver's order. */
export class Context {
  readonly order: Order;
  readonly left_out: LeftOut[] = [];

  constructor(order: Order) {
    this.order = order;
  }

  /** One of three, by scale. */
  scaled<T>(choice: Readonly<Record<Scale, T>>): T {
    return choice[this.order.scale];
  }

  leaveOut(name: string, reason: string): void {
    this.left_out.push({ name, reason });
  }

  poolName(what: string): string {
    return `${this.order.prefix}-${what}`;
  }

  inMemory(name: string): string {
    return join(this.order.memory_dir, name);
  }

  onDisk(name: string): string {
    return join(this.order.disk_dir, name);
  }

  /** Lends a new pool, and destroys it whatever happens. */
  async withPool<T>(
    what: string,
    options: CreateOptions,
    use: (pool: Pool) => T | Promise<T>,
  ): Promise<T> {
    const name = this.poolName(what);
    const pool = Pool.create(name, options);
    try {
      return await use(pool);
    } finally {
      pool.close();
      Pool.destroy(name);
    }
  }
}

/** One subject of the bench. */
export type Run = (context: Context) => Promise<Finding[]>;

/** Memory that an entry takes beside its blocks, rounded up, and a pool beside its entries. */
const ENTRY_BYTES = 1200, SPARE_BYTES = 8 << 20;

/** A warm pool for so many entries of one small block each. */
export function poolOfBlocks(entries: number): CreateOptions {
  const size_bytes = entries * (BLOCK_BYTES + ENTRY_BYTES) + SPARE_BYTES;
  return {
    size: Math.ceil(size_bytes / BLOCK_BYTES) * BLOCK_BYTES,
    blockSize: BLOCK_BYTES,
    maxEntries: entries,
    populate: true,
  };
}

/**
 * Bytes of all values of a size: as in a pool of gigabytes, none that is written
 * is still in a cache from the last time.
 */
const RING_BYTES = 256 << 20;

/** How many values of a size are taken in turn, `most` at most. */
export function ringLength(size_bytes: number, most: number): number {
  return Math.max(4, Math.min(RING_BYTES / size_bytes, 4096, most));
}

/** What is put, in turn: an engine's values are not in a cache, either. */
export function randomValues(size_bytes: number, most: number): Uint8Array[] {
  const count = Math.max(2, Math.min((64 << 20) / size_bytes, most));
  const bytes = randomBytes(count * size_bytes);
  return Array.from(
    { length: count },
    (_, i) => bytes.subarray(i * size_bytes, (i + 1) * size_bytes),
  );
}

/** Bytes that no zero page and no compressor is a match for. */
export function randomBytes(size_bytes: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size_bytes);
  for (let at = 0; at < size_bytes; at += 65536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65536));
  }
  return bytes;
}

/** Such as "64 KiB". */
export function sizeLabel(bytes: number): string {
  return exactSize(bytes).replace(/([KMGT])$/, " $1iB");
}

/** Such as "8,192 keys". */
export function countLabel(count: number, nouns: string): string {
  return `${count.toLocaleString("en-US")} ${nouns}`;
}
