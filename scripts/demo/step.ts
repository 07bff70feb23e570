/**
 * One step of the demo, in a process of its own: reads a prompt, cold or from
 * what the pool has of it, and goes on greedily. Prints one JSON object.
 *
 *   step.ts MODEL POOL (cold-put | cold | shared)
 *
 * @module
 */
import { createHash } from "node:crypto";
import { Pool, sglangChain } from "../../lib/mod.ts";
import { type Engine, openEngine } from "./engine.ts";
import { prompt } from "./prompt.ts";

/** What a step tells. Times are in milliseconds. */
export interface StepReport {
  readonly prompt_tokens: number;
  /** Tokens that came from the pool. */
  readonly reused_tokens: number;
  /** Until the first token could be chosen: look-up, load and evaluation. */
  readonly first_token_ms: number;
  /** Look-up, pin and check of the state in the pool. */
  readonly get_ms?: number;
  /** Into the pool. */
  readonly put_ms?: number;
  readonly state_bytes?: number;
  readonly state_sha256?: string;
  /** The greedy continuation. */
  readonly continuation: readonly number[];
}

const CHUNK_TOKENS = 128;
const SHORT_TOKENS = 2000;
const LONG_TOKENS = 2300;
const CONTINUATION_TOKENS = 32;
const ENGINE = { contextTokens: 4096, threads: 2, chunkTokens: CHUNK_TOKENS };

const chain = (tokens: readonly number[]) =>
  sglangChain(tokens, { blockTokens: CHUNK_TOKENS });
const sha256 = (bytes: Uint8Array) =>
  createHash("sha256").update(bytes).digest("hex");

/** Reads the short prompt cold; puts its state up to the last full chunk in. */
async function coldPut(engine: Engine, poolName: string): Promise<StepReport> {
  const tokens = engine.tokenize(prompt(SHORT_TOKENS));
  const keys = chain(tokens);
  const covered = keys.length * CHUNK_TOKENS;
  const begun = performance.now();
  await engine.evaluate(tokens.slice(0, covered));
  const evaluated_ms = performance.now() - begun;

  const state = await engine.saveState();
  using pool = Pool.open(poolName);
  const putBegun = performance.now();
  pool.put(keys.at(-1)!, state, {
    parent: keys.at(-2),
    tokens: covered,
    meta: { engine: "llama.cpp", chunk_tokens: CHUNK_TOKENS },
  });
  const put_ms = performance.now() - putBegun;

  const rest_ms = await engine.evaluate(tokens.slice(covered));
  return {
    prompt_tokens: tokens.length,
    reused_tokens: 0,
    first_token_ms: evaluated_ms + rest_ms,
    put_ms,
    state_bytes: state.length,
    state_sha256: sha256(state),
    continuation: await engine.greedy(CONTINUATION_TOKENS),
  };
}

/** Reads the long prompt cold: what the others are held against. */
async function cold(engine: Engine): Promise<StepReport> {
  const tokens = engine.tokenize(prompt(LONG_TOKENS));
  return {
    prompt_tokens: tokens.length,
    reused_tokens: 0,
    first_token_ms: await engine.evaluate(tokens),
    continuation: await engine.greedy(CONTINUATION_TOKENS),
  };
}

/** Loads the deepest state of the long prompt that the pool has; reads the rest. */
async function shared(engine: Engine, poolName: string): Promise<StepReport> {
  const tokens = engine.tokenize(prompt(LONG_TOKENS));
  using pool = Pool.open(poolName);
  const begun = performance.now();
  const key = pool.deepest(chain(tokens));
  if (key === undefined) throw new Error("the pool has nothing of the prompt");
  using hit = pool.get(key);
  if (!hit) throw new Error("the entry went away");
  const state = hit.verify().bytes;
  const get_ms = performance.now() - begun;
  await engine.loadState(state);
  const reused_tokens = engine.position;
  await engine.evaluate(tokens.slice(reused_tokens));
  return {
    prompt_tokens: tokens.length,
    reused_tokens,
    first_token_ms: performance.now() - begun,
    get_ms,
    state_bytes: state.length,
    state_sha256: sha256(state),
    continuation: await engine.greedy(CONTINUATION_TOKENS),
  };
}

async function main(model: string, pool: string, kind: string) {
  const engine = await openEngine(model, ENGINE);
  const report = kind === "cold-put"
    ? await coldPut(engine, pool)
    : kind === "cold"
    ? await cold(engine)
    : await shared(engine, pool);
  console.log(JSON.stringify(report));
  await engine.dispose();
}

if (import.meta.main) {
  const [model = "", pool = "", kind = ""] = process.argv.slice(2);
  await main(model, pool, kind);
}
