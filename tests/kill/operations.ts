/**
 * What a process is killed in the midst of, and what every key may hold then.
 *
 * @module
 */
import type { Pool } from "../../lib/pool.ts";
import { stampedValue } from "../multiprocess/stamped.ts";

export const SIZE_BYTES = 2 ** 20;
/** Keys that the pool has before. */
export const OLD_KEYS = Array.from({ length: 12 }, (_, i) => `old-${i}`);
/** What is put anew. */
export const NEW_KEY = "new";
/** What is put again. */
export const REPLACED_KEY = OLD_KEYS[3]!;
export const DELETED_KEY = OLD_KEYS[5]!;

/** Versions: 1 is what the pool has before, 2 what is put. */
export function valueOf(key: string, version: number): Uint8Array<ArrayBuffer> {
  return stampedValue(key, 1, version, 5000 + 1000 * version);
}

/** What an operation has to work with. */
export interface Means {
  open(): Pool;
  create(): Pool;
  destroy(): void;
  persist(pool: Pool): void;
  restore(): void;
  value(key: string, version: number): Uint8Array<ArrayBuffer>;
}

/** The pool is there before all but `create` and `restore`. */
export const OPERATIONS = {
  put: ({ open, value }) => {
    using pool = open();
    pool.put(NEW_KEY, value(NEW_KEY, 2));
  },
  replace: ({ open, value }) => {
    using pool = open();
    // Long text goes into the blocks.
    pool.put(REPLACED_KEY, value(REPLACED_KEY, 2), {
      meta: "m".repeat(600),
    });
  },
  /** A put that has to evict. */
  "put under pressure": ({ open }) => {
    using pool = open();
    using slot = pool.reserve(NEW_KEY, pool.status().data_bytes - 2 ** 16);
    slot.seal();
  },
  get: ({ open }) => {
    using pool = open();
    pool.get(OLD_KEYS[0]!)?.verify().release();
  },
  delete: ({ open }) => {
    using pool = open();
    pool.delete(DELETED_KEY);
  },
  evict: ({ open }) => {
    using pool = open();
    pool.evict({ percent: 50 });
  },
  check: ({ open }) => {
    using pool = open();
    pool.check({ values: true });
    pool.repair();
  },
  create: ({ create }) => create().close(),
  destroy: ({ destroy }) => destroy(),
  persist: ({ open, persist }) => {
    using pool = open();
    persist(pool);
  },
  restore: ({ restore }) => restore(),
} as const satisfies Record<string, (means: Means) => void>;

export type OperationName = keyof typeof OPERATIONS;
