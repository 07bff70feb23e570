/**
 * A generation that is open for reading: its manifest, its data files, and a line
 * for every entry that it has.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { CorruptError, NotFoundError } from "../errors.ts";
import { SNAPSHOT_VERSION_FIRST } from "../layout.ts";
import { DataReader } from "./data_reader.ts";
import { listCommand, showSnapshot } from "./directory.ts";
import {
  type Catalogue,
  findIncomplete,
  formerNumber,
  type Generation,
  newest,
  readCatalogue,
} from "./generations.ts";
import { isSane, type Line } from "./lines.ts";
import type { DataFile, Manifest } from "./manifest.ts";

/** Which generation to take. */
export interface SourceOptions {
  /** That one and no other; by default the newest that is whole. */
  readonly generation?: number | undefined;
  /** The newest even if its files are not whole: for what is whole of them. */
  readonly partial?: boolean | undefined;
}

/** What was chosen. */
interface Choice {
  readonly generation: Generation;
  /** Why newer ones were passed over, a sentence each. */
  readonly passedOver: readonly string[];
}

/**
 * Chooses the generation to read.
 *
 * @throws {NotFoundError} if there is no snapshot, or not that generation.
 * @throws {CorruptError} if none is whole.
 */
function chooseGeneration(
  catalogue: Catalogue,
  platform: Platform,
  directory: string,
  verb: string,
  options: SourceOptions,
): Choice {
  const wanted = options.generation === undefined
    ? catalogue.generations
    : [find(catalogue, directory, verb, options.generation)];
  const passedOver = catalogue.damaged.map((file) =>
    `${file} is damaged (checksum)`
  );
  if (options.partial) {
    const [generation = newest(catalogue, directory, verb)] = wanted;
    return { generation, passedOver };
  }
  let first: string | undefined;
  for (const generation of wanted) {
    const { manifest } = generation;
    const problem = findIncomplete(platform, directory, manifest);
    if (problem === undefined) return { generation, passedOver };
    first ??= problem;
    passedOver.push(`generation ${manifest.generation}: ${problem}`);
  }
  if (first === undefined) newest(catalogue, directory, verb); // throws
  throw new CorruptError(
    verb,
    showSnapshot(directory),
    first!,
    "Add --partial to restore what is whole of it",
  );
}

function find(
  catalogue: Catalogue,
  directory: string,
  verb: string,
  number: number,
): Generation {
  const found = catalogue.generations.find(({ manifest }) =>
    manifest.generation === number
  );
  if (found) return found;
  const what = `generation ${number} of ${showSnapshot(directory)}`;
  if (isDamaged(catalogue, number)) {
    throw new CorruptError(
      verb,
      what,
      "its manifest is damaged (checksum)",
      `Take another generation: ${listCommand(directory)}`,
    );
  }
  throw new NotFoundError(
    verb,
    what,
    "there is none",
    `See what there is: ${listCommand(directory)}`,
  );
}

/**
 * Whether that generation is one whose manifest is damaged. A former one's number
 * is in its name; the newest one's is behind all others, up to the files' last.
 */
function isDamaged(
  { generations, damaged, last }: Catalogue,
  number: number,
): boolean {
  const formers = damaged.map((file) => formerNumber(file) ?? 0);
  const others = generations.map(({ manifest }) => manifest.generation);
  const isNewest = formers.includes(0) && number <= last &&
    number > Math.max(0, ...formers, ...others);
  return formers.includes(number) || isNewest;
}

export class Source implements Disposable {
  readonly manifest: Manifest;
  /** Why newer generations were passed over, a sentence each. */
  readonly passedOver: readonly string[];
  /** By the number of the file; `undefined` for one that is missing. */
  readonly readers: readonly (DataReader | undefined)[];
  readonly lines: readonly Line[];
  /** Records that there should be, but of which nothing was found. */
  readonly lost: number;

  /**
   * Chooses a generation and opens every file of it, so that a save that goes on
   * may remove them.
   */
  static open(
    platform: Platform,
    directory: string,
    verb: string,
    options: SourceOptions = {},
  ): Source {
    for (let attempt = 1;; attempt++) {
      const catalogue = readCatalogue(platform, directory, verb);
      // A save or a prune may have come between, and taken away what there was.
      const mayLookAgain = () =>
        attempt < ATTEMPTS_MAX &&
        contentsOf(readCatalogue(platform, directory, verb)) !==
          contentsOf(catalogue);
      let source: Source | undefined;
      try {
        source = Source.#of(
          catalogue,
          platform,
          directory,
          verb,
          options,
        );
        if (!source.readers.includes(undefined) || !mayLookAgain()) {
          return source;
        }
        source.close();
      } catch (error) {
        source?.close();
        const isIncomplete = error instanceof NotFoundError ||
          error instanceof CorruptError;
        if (!isIncomplete || !mayLookAgain()) throw error;
      }
    }
  }

  static #of(
    catalogue: Catalogue,
    platform: Platform,
    directory: string,
    verb: string,
    options: SourceOptions,
  ): Source {
    const choice = chooseGeneration(
      catalogue,
      platform,
      directory,
      verb,
      options,
    );
    try {
      return new Source(platform, directory, verb, choice, options);
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error;
      throw new CorruptError(verb, showSnapshot(directory), error.message);
    }
  }

  private constructor(
    platform: Platform,
    directory: string,
    verb: string,
    { generation, passedOver }: Choice,
    options: SourceOptions,
  ) {
    const { manifest } = generation;
    const readers: (DataReader | undefined)[] = [];
    this.manifest = manifest;
    this.passedOver = passedOver;
    this.readers = readers;
    try {
      for (const file of manifest.files) {
        readers.push(openFile(platform, directory, file, verb, options));
      }
      const { lines, records } = manifest.version === SNAPSHOT_VERSION_FIRST
        ? scanFirst(readers[0], directory, verb, options)
        : { lines: manifest.lines, records: manifest.entries };
      if (!lines.every((line) => isSane(line, readers.length))) {
        throw new CorruptError(
          verb,
          showSnapshot(directory),
          "its index tells of entries that cannot be",
          "Take another copy of it",
        );
      }
      this.lines = lines;
      this.lost = Math.max(0, manifest.entries - records);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  close(): void {
    for (const reader of this.readers) reader?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Nobody saves so often that this many readings are all too late. */
const ATTEMPTS_MAX = 100;

/** What can be chosen from. */
function contentsOf({ generations, damaged }: Catalogue): string {
  const numbers = generations.map(({ manifest }) => manifest.generation);
  return [...numbers, ...damaged].join();
}

function openFile(
  platform: Platform,
  directory: string,
  file: DataFile,
  verb: string,
  { partial }: SourceOptions,
): DataReader | undefined {
  try {
    return new DataReader(platform, directory, file, verb);
  } catch (error) {
    if (partial && error instanceof NotFoundError) return undefined;
    throw error;
  }
}

/**
 * A file of version 1 has no index: its records are found by reading it. What was
 * replaced during the save is there twice: the younger counts.
 */
function scanFirst(
  reader: DataReader | undefined,
  directory: string,
  verb: string,
  { partial }: SourceOptions,
): { lines: Line[]; records: number } {
  if (!reader) return { lines: [], records: 0 };
  if (!reader.hasHead() && !partial) {
    throw new CorruptError(
      verb,
      showSnapshot(directory),
      `the head of ${reader.file.name} is damaged`,
      "Add --partial to restore what is whole of it",
    );
  }
  const youngest = new Map<string, Line>();
  let records = 0;
  for (const { line, key } of reader.scan()) {
    records++;
    const other = youngest.get(key);
    if (!other || other.sequence < line.sequence) youngest.set(key, line);
  }
  return { lines: [...youngest.values()], records };
}
