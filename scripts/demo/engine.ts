/**
 * The engine of the demo: llama.cpp, by way of node-llama-cpp.
 *
 * Two ways to the same state must end in the same bits: reading a prompt in
 * one go, and loading the state of its beginning and reading the rest. Sums of
 * floating-point numbers depend on how many tokens are computed together, so
 * the engine always cuts at the same positions, multiples of `chunkTokens`
 * from the start of the sequence, whatever the caller hands it at once.
 *
 * Under Deno the process needs `--node-modules-dir=manual`: the package
 * imports its dependencies by bare name from `.tools/llama/node_modules`.
 */

import { randomUUID } from "node:crypto";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { ENGINE_MODULE } from "./install.ts";
import { BEGIN_TOKEN } from "./vocabulary.ts";

/** Asks for the likeliest token after the one it goes with. */
const GREEDY = {
  generateNext: { token: true, options: { temperature: 0 } },
} as const;

/** How an engine is opened. */
export interface EngineOptions {
  /** The most tokens that the sequence can hold, generated ones included. */
  readonly contextTokens: number;
  readonly threads: number;
  /** The tokens computed together, at most. */
  readonly chunkTokens: number;
}

/** Loads a model and makes room for one sequence. */
export async function openEngine(
  modelPath: string,
  options: EngineOptions,
): Promise<Engine> {
  const { getLlama } = await importPackage();
  const llama = await getLlama({
    gpu: false,
    build: "never",
    skipDownload: true,
    progressLogs: false,
    logLevel: "error",
    maxThreads: options.threads,
  });
  const model = await llama.loadModel({ modelPath });
  const context = await model.createContext({
    contextSize: options.contextTokens,
    batchSize: options.chunkTokens,
    threads: { ideal: options.threads, min: options.threads },
    sequences: 1,
  });
  return new Engine(llama, model, context.getSequence(), options);
}

/** A model with one sequence of tokens, which it reads and continues. */
export class Engine {
  readonly #llama: Llama;
  readonly #model: Model;
  readonly #sequence: Sequence;
  readonly #options: EngineOptions;
  /** The greedy choice after the last token read, known once it is read. */
  #next: number | undefined;

  /** @ignore Use {@link openEngine}. */
  constructor(
    llama: Llama,
    model: Model,
    sequence: Sequence,
    options: EngineOptions,
  ) {
    this.#llama = llama;
    this.#model = model;
    this.#sequence = sequence;
    this.#options = options;
  }

  /** How many tokens the sequence holds: where the next one goes. */
  get position(): number {
    return this.#sequence.nextTokenIndex;
  }

  /** The tokens of a text, after the one that begins every sequence. */
  tokenize(text: string): number[] {
    return [BEGIN_TOKEN, ...this.#model.tokenize(text)];
  }

  /** The text of tokens. */
  detokenize(tokens: readonly number[]): string {
    return this.#model.detokenize(tokens);
  }

  /**
   * Reads tokens at the end of the sequence. The time it takes, in
   * milliseconds, is the time to the first token of the continuation.
   */
  async evaluate(tokens: readonly number[]): Promise<number> {
    const start = performance.now();
    const end = this.position + tokens.length;
    // Past its room the package would silently drop the oldest tokens.
    if (end > this.#options.contextTokens) {
      throw new Error(`Cannot evaluate: ${end} tokens exceed the context`);
    }
    const { chunkTokens } = this.#options;
    let from = 0;
    while (from < tokens.length) {
      const length = chunkTokens - this.position % chunkTokens;
      await this.#evaluateChunk(tokens.slice(from, from + length));
      from += length;
    }
    return performance.now() - start;
  }

  /** Continues the text by `count` tokens, always taking the likeliest. */
  async greedy(count: number): Promise<number[]> {
    const tokens: number[] = [];
    while (tokens.length < count) {
      if (this.#next === undefined) {
        throw new Error("Cannot continue: no token was evaluated");
      }
      tokens.push(this.#next);
      // The last one has no successor to be computed.
      if (tokens.length < count) await this.evaluate([this.#next]);
    }
    return tokens;
  }

  /** The tokens of the sequence and their keys and values, as bytes. */
  saveState(): Promise<Uint8Array> {
    // The file exists beforehand so that it has our mode, not the umask's.
    return withStateFile(new Uint8Array(0), async (path) => {
      await this.#sequence.saveStateToFile(path);
      const { buffer, byteOffset, byteLength } = readFileSync(path);
      return new Uint8Array(buffer, byteOffset, byteLength);
    });
  }

  /**
   * Replaces the sequence by a saved one. The bytes must come from
   * {@link saveState} of the same model: llama.cpp believes them.
   */
  loadState(bytes: Uint8Array): Promise<void> {
    this.#next = undefined;
    return withStateFile(
      bytes,
      (path) => this.#sequence.loadStateFromFile(path, { acceptRisk: true }),
    );
  }

  /** Frees the model and the sequence. */
  async dispose(): Promise<void> {
    await this.#llama.dispose();
  }

  async #evaluateChunk(tokens: readonly number[]): Promise<void> {
    const last = tokens.length - 1;
    const input = tokens.map((token, index) =>
      index === last ? [token, GREEDY] as const : token
    );
    const results = await this.#sequence.controlledEvaluate(input);
    this.#next = results[last]?.next.token ?? undefined;
  }
}

/**
 * The package saves and loads states by files only; one in shared memory
 * never touches a disk, and its mode keeps others from reading the prompt.
 */
async function withStateFile<Result>(
  bytes: Uint8Array,
  use: (path: string) => Promise<Result>,
): Promise<Result> {
  const path = `/dev/shm/llama-state-${randomUUID()}`;
  try {
    writeFileSync(path, bytes, { mode: 0o600, flag: "wx" });
    return await use(path);
  } finally {
    rmSync(path, { force: true });
  }
}

// What the demo uses of the package. Types of our own, so that `deno check`
// passes where the package is not installed.

interface LlamaPackage {
  getLlama(options: {
    gpu: false;
    build: "never";
    skipDownload: boolean;
    progressLogs: boolean;
    logLevel: string;
    maxThreads: number;
  }): Promise<Llama>;
}

interface Llama {
  loadModel(options: { modelPath: string }): Promise<Model>;
  dispose(): Promise<void>;
}

interface Model {
  tokenize(text: string): number[];
  detokenize(tokens: readonly number[]): string;
  createContext(options: {
    contextSize: number;
    batchSize: number;
    threads: { ideal: number; min: number };
    sequences: number;
  }): Promise<{ getSequence(): Sequence }>;
}

interface Sequence {
  readonly nextTokenIndex: number;
  controlledEvaluate(
    input: readonly (number | readonly [number, typeof GREEDY])[],
  ): Promise<({ next: { token?: number | null } } | undefined)[]>;
  saveStateToFile(path: string): Promise<unknown>;
  loadStateFromFile(path: string, risk: { acceptRisk: true }): Promise<void>;
}

async function importPackage(): Promise<LlamaPackage> {
  try {
    return await import(ENGINE_MODULE);
  } catch (cause) {
    throw new Error(
      "Cannot load the engine: is it installed, and is Deno run with " +
        "--node-modules-dir=manual?",
      { cause },
    );
  }
}
