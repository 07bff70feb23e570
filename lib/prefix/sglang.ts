/**
 * Prefix chains as SGLang's HiCache makes them: the key of a page is the SHA-256
 * of its parent's digest, if it has one, and its tokens as u32 little-endian. A
 * key so stands for all tokens up to its page's end.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { UsageError } from "../errors.ts";
import { toHex } from "../hex.ts";

/** How {@linkcode sglangChain} cuts. */
export interface ChainOptions {
  /** Tokens a page; only full pages get a key. */
  readonly blockTokens: number;
}

const TOKEN_MAX = 2 ** 32 - 1;

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
  const { blockTokens } = options;
  if (!Number.isSafeInteger(blockTokens) || blockTokens < 1) {
    throw new UsageError(
      "hash",
      `pages of ${blockTokens} tokens`,
      "it is not a positive whole number",
    );
  }
  const page = new DataView(new ArrayBuffer(4 * blockTokens));
  const keys: string[] = [];
  let parent: Uint8Array | undefined;
  for (let at = 0; at + blockTokens <= tokens.length; at += blockTokens) {
    for (let i = 0; i < blockTokens; i++) {
      page.setUint32(4 * i, checkToken(tokens[at + i]!), true);
    }
    const hash = createHash("sha256");
    if (parent) hash.update(parent);
    parent = hash.update(page).digest();
    keys.push(toHex(parent));
  }
  return keys;
}

function checkToken(token: number): number {
  if (Number.isInteger(token) && token >= 0 && token <= TOKEN_MAX) return token;
  throw new UsageError("hash", `token ${token}`, "it is not a u32");
}
