/**
 * What a save is told, and what it tells.
 *
 * @module
 */

/** How a save is made. */
export interface SaveOptions {
  /** Write all of it anew, whatever is on disk already. */
  readonly full?: boolean | undefined;
  /** Write nothing if the pool was not used since the last save. */
  readonly ifChanged?: boolean | undefined;
  /** Former generations to keep; 1 by default. */
  readonly keep?: number | undefined;
  /** A data file of which more is dead is written anew; 50 percent by default. */
  readonly dead_percent?: number | undefined;
  /** Store values as zstd where that makes them smaller. */
  readonly compress?: boolean | undefined;
  /** How long to wait for another save to end; not at all by default. */
  readonly lockTimeout_ms?: number | undefined;
}

/** What a save did. */
export interface PersistReport {
  readonly path: string;
  readonly generation: number;
  /** False if nothing had changed, and nothing was written. */
  readonly changed: boolean;
  /** In the snapshot now. */
  readonly entries: number;
  /** Of all their values. */
  readonly value_bytes: number;
  /** Entries that were written, and not on disk already. */
  readonly written_entries: number;
  /** All that was written: values, records and the manifest. */
  readonly written_bytes: number;
  /** Of the data file; 0 if none was needed. */
  readonly file_bytes: number;
  /** Entries of the former generation that are gone from the pool. */
  readonly dropped: number;
  /** Entries that came or went meanwhile. */
  readonly skipped: number;
  /** Entries left out because their value does not have its checksum. */
  readonly damaged: number;
}
