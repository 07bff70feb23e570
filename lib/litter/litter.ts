/**
 * Litter: what crashes leave.
 *
 * Only what is provably dead is taken away: its lock is to be had, no process has
 * a lock of any of its bytes, and its name still leads to it.
 *
 * @module
 */

/** Something that a crash left. */
export interface Litter {
  readonly kind:
    | "half-made segment"
    | "unusable segment"
    | "dead slots"
    | "temporary file";
  readonly path: string;
  /** What it is, and why it is dead. */
  readonly reason: string;
  /** Memory or disk that it takes up. */
  readonly size_bytes: number;
}

/** Something that looks like litter, and was left. */
export interface Left {
  readonly path: string;
  /** Why it was left. */
  readonly reason: string;
}

/** Where the sweepers say what they find. */
export interface Findings {
  removed(litter: Litter): void;
  left(left: Left): void;
}

/** What the sweepers are told. */
export interface Sweep extends Findings {
  /** Only say what would go. */
  readonly dryRun: boolean;
}
