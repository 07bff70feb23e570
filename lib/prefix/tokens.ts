/**
 * Token ids: what they may be, and files of them.
 *
 * @module
 */
import { UsageError } from "../errors.ts";

/** Largest token id: a u32, as SGLang writes them. */
export const TOKEN_MAX = 2 ** 32 - 1;

const NO_TOKEN = "it is not a whole number from 0 to 4,294,967,295";
const TOKEN_HINT = "Give the ids that the tokenizer made of the prompt";

/** @throws {UsageError} if it is no token id. */
export function checkToken(token: number): number {
  if (Number.isInteger(token) && token >= 0 && token <= TOKEN_MAX) return token;
  throw new UsageError("hash", `token ${token}`, NO_TOKEN, TOKEN_HINT);
}

/** @throws {UsageError} if blocks cannot be of that many tokens. */
export function checkBlockTokens(blockTokens: number): number {
  if (Number.isSafeInteger(blockTokens) && blockTokens >= 1) return blockTokens;
  throw new UsageError(
    "hash",
    `blocks of ${blockTokens} tokens`,
    "it is not a positive whole number",
    "Give the block size of the engine, such as 16",
  );
}

/**
 * Token ids of a text: whole numbers apart by white space or commas, and, as a
 * JSON array has them, in square brackets.
 *
 * @throws {UsageError} if there is something else.
 *
 * @example
 * ```ts
 * import { parseTokens } from "./tokens.ts";
 * import assert from "node:assert/strict";
 *
 * assert.deepEqual([...parseTokens("1, 2\n3")], [1, 2, 3]);
 * ```
 */
export function parseTokens(text: string): Uint32Array {
  const bare = text.trim().replace(/^\[([^[\]]*)\]$/, "$1").trim();
  if (bare === "") return new Uint32Array();
  const words = bare.split(/\s*,\s*|\s+/);
  return Uint32Array.from(words, (word) => {
    if (/^\d{1,15}$/.test(word)) return checkToken(Number(word));
    throw new UsageError(
      "hash",
      `token ${JSON.stringify(word.slice(0, 40))}`,
      NO_TOKEN,
      TOKEN_HINT,
    );
  });
}
