/**
 * The schemes by which engines make keys of prompts.
 *
 * @module
 */
import { type ChainOptions, sglangChain } from "./sglang.ts";
import { vllmChain, type VllmOptions } from "./vllm.ts";

/** How {@linkcode hashChain} hashes. */
export interface HashOptions extends VllmOptions {
  /** `"sglang"` by default. Only `"vllm"` has a seed and extra keys. */
  readonly scheme?: Scheme | undefined;
}

export const SCHEMES = {
  sglang: (tokens: ArrayLike<number>, options: ChainOptions): string[] =>
    sglangChain(tokens, options),
  vllm: (tokens: ArrayLike<number>, options: VllmOptions): string[] =>
    vllmChain(tokens, options),
} as const;

export type Scheme = keyof typeof SCHEMES;

export const DEFAULT_SCHEME: Scheme = "sglang";

export function isScheme(text: string): text is Scheme {
  return Object.hasOwn(SCHEMES, text);
}

/**
 * The chain of keys of a prompt: one a full block of tokens, each standing for
 * all tokens up to its block's end, in lower-case hex.
 *
 * @throws {UsageError} if no engine could hash that.
 *
 * @example
 * ```ts
 * import { hashChain } from "./chain.ts";
 * import assert from "node:assert/strict";
 *
 * const keys = hashChain([1, 2, 3], { scheme: "vllm", blockTokens: 1 });
 * assert.equal(keys.length, 3);
 * ```
 */
export function hashChain(
  tokens: ArrayLike<number>,
  options: HashOptions,
): string[] {
  return SCHEMES[options.scheme ?? DEFAULT_SCHEME](tokens, options);
}
