/**
 * What a simulated process is told to do, and what it says came of it.
 *
 * @module
 */
import type { CreateOptions } from "../../lib/pool.ts";

export type Operation =
  | { readonly do: "create"; readonly options: CreateOptions }
  | { readonly do: "open" }
  | { readonly do: "close" }
  | { readonly do: "destroy" }
  | { readonly do: "put"; readonly value: Value }
  | { readonly do: "reserve"; readonly value: Value }
  | { readonly do: "seal" }
  | { readonly do: "abort" }
  | { readonly do: "get"; readonly key: string; readonly hold: boolean }
  | { readonly do: "release" }
  | { readonly do: "delete"; readonly key: string }
  | { readonly do: "evict"; readonly percent: number }
  | { readonly do: "check" }
  | { readonly do: "repair" }
  | { readonly do: "persist" }
  | { readonly do: "restore" };

/** A value to be put: its bytes follow from key, writer and version. */
export interface Value {
  readonly key: string;
  readonly version: number;
  readonly size_bytes: number;
  /** Makes its text too long for its record. */
  readonly longText: boolean;
}

/** What came of an operation. */
export interface Outcome {
  /**
   * `refused` is a typed error of cortex; `died` a process killed on the way;
   * `broken` whatever must never be.
   */
  readonly end: "done" | "refused" | "died" | "broken" | "idle";
  /** Of a refusal. */
  readonly code?: string;
  readonly message?: string;
  /** What a `get` found, or a `release` still held. */
  readonly found?: Found | undefined;
  /** A `get` that missed because whoever changes the index stands still. */
  readonly gaveUp?: boolean;
  /** What a `seal` published. */
  readonly value?: Value;
  /** Whether a `delete` found its key. */
  readonly deleted?: boolean;
  /** Reservations that the process has open. */
  readonly open?: number;
  /** Of a `persist` or `restore`. */
  readonly damaged?: number;
  /** Whether a `restore` made the pool: else what it had may have stayed. */
  readonly created?: boolean;
  readonly problems?: readonly string[];
}

/** Who wrote what was found. */
export interface Found {
  readonly key: string;
  readonly writer: number;
  readonly version: number;
}

/** What a thread is started with. */
export interface ProcessSetup {
  readonly shared: SharedArrayBuffer;
  readonly number: number;
  readonly mutant: string | undefined;
}

/** What the director sends a process: an operation, where. */
export interface Order {
  readonly pool: string;
  readonly root: string;
  readonly pid: number;
  readonly operation: Operation;
}
