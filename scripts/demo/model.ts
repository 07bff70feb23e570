/**
 * The model of the demo: a small llama with random weights.
 *
 * Nothing can be downloaded, so the demo writes its own. Its words are
 * nonsense, but its KV cache, its timings and its determinism are real.
 */

import { closeSync, mkdirSync, openSync, readSync, statSync } from "node:fs";
import { dirname } from "node:path";
import * as gguf from "./gguf.ts";
import { Random } from "./random.ts";
import {
  BEGIN_TOKEN,
  END_TOKEN,
  FIRST_PIECE,
  UNKNOWN_TOKEN,
  vocabulary,
} from "./vocabulary.ts";

/** The shape of the model. */
export const MODEL = {
  layers: 8,
  width: 512,
  heads: 8,
  kvHeads: 4,
  feedForward: 1408,
  contextTokens: 8192,
  seed: 42,
} as const;

const HEAD_WIDTH = MODEL.width / MODEL.heads;
const KV_WIDTH = MODEL.kvHeads * HEAD_WIDTH;

/** Of the KV cache: keys and values, in f16, in every layer. */
export const KV_BYTES_PER_TOKEN = MODEL.layers * 2 * KV_WIDTH * 2;

/**
 * Queries and keys are made larger than the rest, so that attention picks few
 * tokens instead of averaging over all: the continuation then depends on what
 * the cache holds, and a wrong cache cannot go unnoticed.
 */
const ATTENTION_GAIN = 2;

/** Whether {@link writeModel} had to write the file, and its size. */
export interface WrittenModel {
  readonly written: boolean;
  readonly bytes: number;
}

/** Writes the model to `path`, unless it is there already. */
export function writeModel(path: string): WrittenModel {
  const contents = modelContents();
  const header = gguf.encodeHeader(contents);
  const bytes = header.length + gguf.dataSize(contents.tensors);
  if (isWritten(path, header, bytes)) return { written: false, bytes };
  mkdirSync(dirname(path), { recursive: true });
  gguf.writeGguf(path, contents);
  return { written: true, bytes };
}

/** A file of another shape or seed has another size or another header. */
function isWritten(path: string, header: Uint8Array, bytes: number): boolean {
  if (statSync(path, { throwIfNoEntry: false })?.size !== bytes) return false;
  const found = new Uint8Array(header.length);
  const file = openSync(path, "r");
  try {
    readSync(file, found, 0, found.length, 0);
  } finally {
    closeSync(file);
  }
  return found.every((byte, index) => byte === header[index]);
}

function modelContents(): gguf.GgufContents {
  const tokens = vocabulary();
  const random = new Random(MODEL.seed);
  const tensors = [
    weights(random, "token_embd", MODEL.width, tokens.length, 1),
    ...Array.from({ length: MODEL.layers }, (_, i) => layer(random, i)).flat(),
    norm("output_norm"),
    output(random, tokens.length),
  ];
  return { metadata: { ...hyperparameters(), ...tokenizer(tokens) }, tensors };
}

function layer(random: Random, index: number): gguf.GgufTensor[] {
  const { width, feedForward } = MODEL;
  const matrix = (name: string, from: number, to: number, gain = 1) =>
    weights(random, `blk.${index}.${name}`, from, to, gain / Math.sqrt(from));
  return [
    norm(`blk.${index}.attn_norm`),
    matrix("attn_q", width, width, ATTENTION_GAIN),
    matrix("attn_k", width, KV_WIDTH, ATTENTION_GAIN),
    matrix("attn_v", width, KV_WIDTH),
    matrix("attn_output", width, width),
    norm(`blk.${index}.ffn_norm`),
    matrix("ffn_gate", width, feedForward),
    matrix("ffn_up", width, feedForward),
    matrix("ffn_down", feedForward, width),
  ];
}

function weights(
  random: Random,
  name: string,
  from: number,
  to: number,
  deviation: number,
): gguf.GgufTensor {
  return {
    name: `${name}.weight`,
    shape: [from, to],
    fill: (out) => random.fill(out, deviation),
  };
}

function norm(name: string): gguf.GgufTensor {
  return {
    name: `${name}.weight`,
    shape: [MODEL.width],
    fill: (out) => void out.fill(1),
  };
}

/**
 * The last matrix. The rows of special tokens and raw bytes stay zero: their
 * logits are never the greatest, so that the model speaks in syllables and
 * does not end its text.
 */
function output(random: Random, tokens: number): gguf.GgufTensor {
  const { width } = MODEL;
  const spoken = FIRST_PIECE * width;
  return {
    name: "output.weight",
    shape: [width, tokens],
    fill: (out) => random.fill(out.subarray(spoken), 1 / Math.sqrt(width)),
  };
}

function hyperparameters(): Record<string, gguf.GgufValue> {
  return {
    "general.architecture": gguf.string("llama"),
    "general.name": gguf.string("cortex demo"),
    "general.description": gguf.string(`random, seed ${MODEL.seed}`),
    "general.file_type": gguf.u32(0), // all tensors f32
    "llama.block_count": gguf.u32(MODEL.layers),
    "llama.context_length": gguf.u32(MODEL.contextTokens),
    "llama.embedding_length": gguf.u32(MODEL.width),
    "llama.feed_forward_length": gguf.u32(MODEL.feedForward),
    "llama.attention.head_count": gguf.u32(MODEL.heads),
    "llama.attention.head_count_kv": gguf.u32(MODEL.kvHeads),
    "llama.attention.layer_norm_rms_epsilon": gguf.f32(1e-5),
    "llama.rope.dimension_count": gguf.u32(HEAD_WIDTH),
  };
}

function tokenizer(
  tokens: ReturnType<typeof vocabulary>,
): Record<string, gguf.GgufValue> {
  const texts = tokens.map((token) => gguf.string(token.text));
  const scores = tokens.map((token) => gguf.f32(token.score));
  const types = tokens.map((token) => gguf.i32(token.type));
  return {
    "llama.vocab_size": gguf.u32(tokens.length),
    "tokenizer.ggml.model": gguf.string("llama"),
    "tokenizer.ggml.tokens": gguf.array(texts),
    "tokenizer.ggml.scores": gguf.array(scores),
    "tokenizer.ggml.token_type": gguf.array(types),
    "tokenizer.ggml.unknown_token_id": gguf.u32(UNKNOWN_TOKEN),
    "tokenizer.ggml.bos_token_id": gguf.u32(BEGIN_TOKEN),
    "tokenizer.ggml.eos_token_id": gguf.u32(END_TOKEN),
    "tokenizer.ggml.add_bos_token": gguf.bool(true),
    "tokenizer.ggml.add_space_prefix": gguf.bool(false),
  };
}
