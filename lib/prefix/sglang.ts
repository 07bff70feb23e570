/**
 * Prefix chains as SGLang's HiCache makes them: the key of a page is the SHA-256
 * of its parent's digest, if it has one, and its tokens as u32 little-endian. A
 * key so stands for all tokens up to its page's end.
 *
 * @module
 */
import { DIGEST_BYTES, putHex, sha256Hex } from "./sha256.ts";
import { checkBlockTokens, checkToken } from "./tokens.ts";

/** How {@linkcode sglangChain} cuts. */
export interface ChainOptions {
  /** Tokens a page; only full pages get a key. */
  readonly blockTokens: number;
}

/**
 * The chain of keys of a prompt, one a full page, in lower-case hex.
 *
 * @throws {UsageError} if a token is not a u32, or the page size no positive
 * whole number.
 *
 * @example
 * ```ts
 * import { sglangChain } from "./sglang.ts";
 * import assert from "node:assert/strict";
 *
 * const keys = sglangChain([1, 2, 3, 4, 5], { blockTokens: 2 });
 * assert.equal(keys.length, 2);
 * ```
 */
export function sglangChain(
  tokens: ArrayLike<number>,
  options: ChainOptions,
): string[] {
  const blockTokens = checkBlockTokens(options.blockTokens);
  const keys: string[] = [];
  if (blockTokens > tokens.length) return keys;
  const message = new Uint8Array(DIGEST_BYTES + 4 * blockTokens);
  const root = message.subarray(DIGEST_BYTES);
  for (let first = 0; first + blockTokens <= tokens.length;) {
    const parent = keys.at(-1);
    if (parent !== undefined) putHex(parent, message, 0);
    let at = DIGEST_BYTES;
    for (const end = first + blockTokens; first < end; first++) {
      const token = checkToken(tokens[first]!);
      message[at++] = token;
      message[at++] = token >>> 8;
      message[at++] = token >>> 16;
      message[at++] = token >>> 24;
    }
    keys.push(sha256Hex(parent === undefined ? root : message));
  }
  return keys;
}
