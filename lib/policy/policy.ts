/**
 * What an eviction policy is: an order of entries. It sees what is known of an
 * entry, never the pool.
 *
 * @module
 */

/** What a policy may know of an entry. */
export interface EntryFacts {
  /** Orders entries by their making. */
  readonly sequence: number;
  /** Orders entries by their last access. */
  readonly access_tick: number;
  /** Accesses, the making included. */
  readonly access_count: number;
  /** Higher stays longer. */
  readonly priority: number;
}

/** What a policy may know of the moment. */
export interface PolicyContext {
  /** The pool's count of accesses now. */
  readonly tick: number;
  /** Entries that can be chosen from. */
  readonly entries: number;
}

/** An order of entries. */
export interface Policy<Name extends string = string> {
  readonly name: Name;
  /** One line for people. */
  readonly summary: string;
  /**
   * A finite number: the entry with the lowest leaves first. Of equal ones the
   * least recently used leaves first.
   */
  rank(entry: EntryFacts, context: PolicyContext): number;
}
