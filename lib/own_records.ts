/**
 * Where a handle's own entries lie, as it wrote them, in memory that nobody else
 * can reach: to give their blocks back, it need not sum a record to believe it.
 *
 * @module
 */
import type { Extent } from "./allocator.ts";
import type { EntryNumber, EntryTable } from "./entry_table.ts";

/** Words of a row. */
const GENERATION = 0, CRC = 1, START = 2, COUNT = 3, WORDS = 4;

export class OwnRecords {
  readonly #table: EntryTable;
  /** Made with the first entry: who only reads needs none. */
  #rows: Uint32Array | undefined;

  constructor(table: EntryTable) {
    this.#table = table;
  }

  /** Notes a run of blocks, once the entry's record is as it will stay. */
  note(entry: EntryNumber, { start, count }: Extent): void {
    const table = this.#table;
    const rows = this.#rows ??= new Uint32Array(WORDS * table.count);
    const at = WORDS * entry;
    rows[at + GENERATION] = table.generation(entry);
    rows[at + CRC] = table.word(entry, "crc");
    rows[at + START] = start;
    rows[at + COUNT] = count;
  }

  /**
   * First block of an entry that was doomed just now, if this handle noted it and
   * its record is still the one that was noted; else -1.
   */
  startOf(entry: EntryNumber): number {
    const rows = this.#rows, at = WORDS * entry;
    if (rows === undefined || rows[at + COUNT] === 0) return -1;
    const isSame =
      this.#table.generation(entry) === rows[at + GENERATION]! + 1 &&
      this.#table.word(entry, "crc") === rows[at + CRC];
    return isSame ? rows[at + START]! : -1;
  }

  countOf(entry: EntryNumber): number {
    return this.#rows?.[WORDS * entry + COUNT] ?? 0;
  }
}
