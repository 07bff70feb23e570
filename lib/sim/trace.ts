/**
 * Traces: what was asked of a cache, block by block. Three kinds are read: JSON
 * lines with `hash_ids` (Mooncake), CSV of key and size, and recordings of a pool
 * (see `cortex cache record`).
 *
 * @module
 */
import { CorruptError } from "../errors.ts";

/** A trace: requests, each a run of blocks that are touched head to tail. */
export interface Trace {
  /** Different keys; they are numbered from 0 on. */
  readonly keys: number;
  /** Key of each touch. */
  readonly touches: Int32Array;
  /** The key that each touch's block extends, or -1. */
  readonly parents: Int32Array;
  /** Bytes of each touch's block; 0 where the trace does not say. */
  readonly sizes: Float64Array;
  /** First touch of each request, and the end. */
  readonly starts: Uint32Array;
}

/** First line of a recording. */
export const RECORDING_VERSION = 1;

/**
 * Reads a trace from text, whichever kind it is.
 *
 * @throws {CorruptError} if a line is not one of a trace's.
 *
 * @example
 * ```ts
 * import { parseTrace } from "./trace.ts";
 * import assert from "node:assert/strict";
 *
 * const trace = parseTrace('{"hash_ids": [7, 8]}\n{"hash_ids": [7, 9]}', "a trace");
 * assert.deepEqual([...trace.touches], [0, 1, 0, 2]);
 * ```
 */
export function parseTrace(text: string, name: string): Trace {
  const lines = text.split("\n");
  const builder = new Builder();
  const first = lines.find((line) => line.trim() !== "") ?? "";
  const read = kindOf(first);
  lines.forEach((line, i) => {
    const trimmed = line.trim();
    if (trimmed === "" || read(trimmed, builder, trimmed === first.trim())) {
      return;
    }
    throw new CorruptError(
      "read",
      name,
      `line ${i + 1} is not one of a trace`,
      'A trace has lines like {"hash_ids": [1, 2]}, or KEY,SIZE',
    );
  });
  if (builder.isEmpty) {
    throw new CorruptError("read", name, "it is empty", "Give one with lines");
  }
  return builder.build();
}

/** Takes in one line; false if it cannot be right. */
type Reader = (line: string, builder: Builder, isFirst: boolean) => boolean;

function kindOf(first: string): Reader {
  if (!first.trimStart().startsWith("{")) return readCsv;
  return parseObject(first)?.["cortex_recording"] === RECORDING_VERSION
    ? readOperation
    : readRequest;
}

function parseObject(line: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(line);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

const readRequest: Reader = (line, builder) => {
  const ids = parseObject(line)?.["hash_ids"];
  if (!Array.isArray(ids)) return false;
  if (!ids.every((id) => Number.isSafeInteger(id) || typeof id === "string")) {
    return false;
  }
  builder.request();
  ids.forEach((id) => builder.touch(String(id), 0));
  return true;
};

const readCsv: Reader = (line, builder, isFirst) => {
  const at = line.lastIndexOf(",");
  const key = at === -1 ? line : line.slice(0, at).trim();
  const size = at === -1 ? 1 : Number(line.slice(at + 1).trim() || NaN);
  if (key === "") return false;
  // A head of titles is no touch.
  if (!(size >= 0 && size < 2 ** 53)) return isFirst;
  builder.request();
  builder.touch(key, size);
  return true;
};

const readOperation: Reader = (line, builder, isFirst) => {
  if (isFirst) return true;
  const operation = parseObject(line);
  const op = operation?.["op"], key = operation?.["key"];
  if (typeof key !== "string") return false;
  if (op === "miss") return true; // what is put then, is a touch
  if (op !== "hit" && op !== "put") return false;
  const { parent, size_bytes } = operation!;
  builder.extend(
    key,
    typeof parent === "string" ? parent : undefined,
    typeof size_bytes === "number" && size_bytes >= 0 ? size_bytes : 0,
  );
  return true;
};

/** Gathers touches. */
class Builder {
  readonly #numbers = new Map<string, number>();
  readonly #touches: number[] = [];
  readonly #parents: number[] = [];
  readonly #sizes: number[] = [];
  readonly #starts: number[] = [];

  get isEmpty(): boolean {
    return this.#touches.length === 0;
  }

  request(): void {
    this.#starts.push(this.#touches.length);
  }

  /** A block that extends the one before it in its request. */
  touch(key: string, size_bytes: number): void {
    const isHead = this.#starts.at(-1) === this.#touches.length;
    this.#add(key, isHead ? -1 : this.#touches.at(-1)!, size_bytes);
  }

  /** A block on its own: it goes on a request if it extends the last block. */
  extend(key: string, parent: string | undefined, size_bytes: number): void {
    const extended = parent === undefined ? -1 : this.#number(parent);
    if (extended === -1 || this.#touches.at(-1) !== extended) this.request();
    this.#add(key, extended, size_bytes);
  }

  build(): Trace {
    return {
      keys: this.#numbers.size,
      touches: Int32Array.from(this.#touches),
      parents: Int32Array.from(this.#parents),
      sizes: Float64Array.from(this.#sizes),
      starts: Uint32Array.from([...this.#starts, this.#touches.length]),
    };
  }

  #add(key: string, parent: number, size_bytes: number): void {
    this.#touches.push(this.#number(key));
    this.#parents.push(parent);
    this.#sizes.push(size_bytes);
  }

  #number(key: string): number {
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#numbers.set(key, this.#numbers.size);
    return this.#numbers.size - 1;
  }
}
