/**
 * What an eviction policy is: it hears of entries as they come, are used and
 * go, and names the next to go. It sees what is known of an entry, never the
 * pool, so the pool and the simulator run the same code.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

/** What a policy may ask about an entry that is present. */
export interface EntryFacts {
  /** Room that it takes, in whatever unit the host counts; above 0. */
  weight(entry: number): number;
  /** 64 bits of its key's hash. */
  keyLow(entry: number): number;
  keyHigh(entry: number): number;
}

/** An entry that has come. */
export interface Arrival {
  /** Below the policy's capacity. */
  readonly entry: number;
  /** Orders accesses. */
  readonly tick: number;
  /** Orders arrivals. */
  readonly order: number;
  /** 1; more for one that is put back with its history. */
  readonly uses: number;
  /** The entry that it extends, if it is present; else -1. */
  readonly parent: number;
}

/** One policy at work on up to `capacity` entries. */
export interface Policy {
  insert(arrival: Arrival): void;
  /** An entry was used, at `tick` for the last time, `uses` times. */
  use(entry: number, tick: number, uses: number): void;
  /** A batch of evictions begins: what is present now is all that fits. */
  pressed?(): void;
  /** The next to go of those that may, or -1; it stays until it is removed. */
  victim(mayGo: (entry: number) => boolean): number;
  /** Room that a present entry takes, if that is known without the facts. */
  weight?(entry: number): number;
  /** An entry has gone: evicted, or else deleted or replaced. */
  remove(entry: number, evicted: boolean): void;
  /**
   * Notes of evicted entries what should be known when they come back: after
   * `remove`, in its order, while the facts of them still hold. Many at once, so
   * that looks at memory that is in no cache overlap.
   */
  remember?(evicted: readonly number[]): void;
  /** What should outlive the entries: see `restore`. */
  save?(): Uint8Array;
  /** Takes what `save` gave; what cannot be right is left out. */
  restore?(saved: Uint8Array): void;
}

/** A policy, by name. */
export interface PolicyKind<Name extends string = string> {
  readonly name: Name;
  /** One line for people. */
  readonly summary: string;
  /** Whether it has to know of parents before it knows of their children. */
  readonly followsChains?: boolean;
  /** Sets it up over memory: empty if that is zeros, else as it was left. */
  create(memory: Memory, capacity: number, facts: EntryFacts): Policy;
}
