/**
 * Prefix chains as vLLM's `sha256_cbor` makes them: the key of a block is the
 * SHA-256 of the canonical CBOR of `[parent's digest, [token ids], extra keys or
 * null]`; the first block's parent is the SHA-256 of the canonical CBOR of the
 * seed, which vLLM takes from PYTHONHASHSEED.
 *
 * @module
 */
import { encode } from "cborg";
import { UsageError } from "../errors.ts";
import type { ChainOptions } from "./sglang.ts";
import { DIGEST_BYTES, putHex, sha256Hex } from "./sha256.ts";
import { checkBlockTokens, checkToken } from "./tokens.ts";

/** What tells apart prompts of the same tokens. */
export interface ExtraKeys {
  /** Name of the LoRA adapter: in every block. */
  readonly lora?: string | undefined;
  /** Keeps users apart: in the first block. */
  readonly salt?: string | undefined;
  /** Images and the like: in the blocks that they overlap. */
  readonly multimodal?: readonly MultimodalInput[] | undefined;
}

/** Where an input that is no text stands among the tokens. */
export interface MultimodalInput {
  readonly hash: string;
  /** First token of it. */
  readonly offset: number;
  /** Tokens that stand for it. */
  readonly length: number;
}

/** How {@linkcode vllmChain} hashes. */
export interface VllmOptions extends ChainOptions {
  /** PYTHONHASHSEED of the engine; `"0"` by default. */
  readonly seed?: string | undefined;
  /** Extra keys by their meaning, or a list that goes into every block as it is. */
  readonly extra?: ExtraKeys | readonly unknown[] | undefined;
}

export const DEFAULT_SEED = "0";
/** Array of three, then a byte string of 32. */
const HEAD = [0x83, 0x58, DIGEST_BYTES];
const ARRAY = 0x80, NULL = 0xf6;
/** The longest a head or a u32 is in CBOR. */
const NUMBER_MAX_BYTES = 5;

/**
 * The chain of keys of a prompt, one a full block, in lower-case hex.
 *
 * @throws {UsageError} if a token is not a u32, the block size no positive whole
 * number, or the extra keys are not like that.
 *
 * @example
 * ```ts
 * import { vllmChain } from "./vllm.ts";
 * import assert from "node:assert/strict";
 *
 * const options = { blockTokens: 2, seed: "0", extra: { lora: "sql" } };
 * assert.equal(vllmChain([1, 2, 3, 4, 5], options).length, 2);
 * ```
 */
export function vllmChain(
  tokens: ArrayLike<number>,
  options: VllmOptions,
): string[] {
  const blockTokens = checkBlockTokens(options.blockTokens);
  const extra = checkExtra(options.extra);
  const keys: string[] = [];
  if (blockTokens > tokens.length) return keys;
  let parent = sha256Hex(encode(options.seed ?? DEFAULT_SEED));
  let message = new Uint8Array();
  for (let first = 0; first + blockTokens <= tokens.length;) {
    const extraBytes = encodeExtra(extra, first, blockTokens);
    const room = HEAD.length + DIGEST_BYTES +
      NUMBER_MAX_BYTES * (1 + blockTokens) + extraBytes.length;
    if (room > message.length) message = new Uint8Array(room);
    message.set(HEAD);
    putHex(parent, message, HEAD.length);
    let at = HEAD.length + DIGEST_BYTES;
    at = putNumber(message, at, ARRAY, blockTokens);
    for (const end = first + blockTokens; first < end; first++) {
      at = putNumber(message, at, 0, checkToken(tokens[first]!));
    }
    message.set(extraBytes, at);
    parent = sha256Hex(message.subarray(0, at + extraBytes.length));
    keys.push(parent);
  }
  return keys;
}

/** A number in the fewest bytes, with its major type. */
function putNumber(
  into: Uint8Array,
  at: number,
  type: number,
  value: number,
): number {
  if (value < 24) {
    into[at++] = type | value;
  } else if (value < 0x100) {
    into[at++] = type | 24;
    into[at++] = value;
  } else if (value < 0x1_0000) {
    into[at++] = type | 25;
    into[at++] = value >>> 8;
    into[at++] = value;
  } else {
    into[at++] = type | 26;
    into[at++] = value >>> 24;
    into[at++] = value >>> 16;
    into[at++] = value >>> 8;
    into[at++] = value;
  }
  return at;
}

const NOTHING = Uint8Array.of(NULL);

/** The extra keys of the block that begins with token `first`, or null, in CBOR. */
function encodeExtra(
  extra: ExtraKeys | readonly unknown[] | undefined,
  first: number,
  blockTokens: number,
): Uint8Array {
  if (extra === undefined) return NOTHING;
  const keys = isList(extra) ? extra : extraKeys(extra, first, blockTokens);
  return keys.length === 0 ? NOTHING : encode(keys);
}

/** In vLLM's order: LoRA, multimodal, salt. */
function extraKeys(
  { lora, salt, multimodal = [] }: ExtraKeys,
  first: number,
  blockTokens: number,
): unknown[] {
  const keys: unknown[] = lora === undefined ? [] : [lora];
  for (const { hash, offset, length } of multimodal) {
    if (offset < first + blockTokens && offset + length > first) {
      keys.push([hash, offset - first]);
    }
  }
  if (salt !== undefined && first === 0) keys.push(salt);
  return keys;
}

function isList(extra: unknown): extra is readonly unknown[] {
  return Array.isArray(extra);
}

/**
 * Extra keys as JSON gives them.
 *
 * @throws {UsageError} if they are neither a list nor such an object.
 */
export function checkExtra(
  given: unknown,
): ExtraKeys | readonly unknown[] | undefined {
  if (given === undefined || given === null) return undefined;
  const refuse = (state: string) =>
    new UsageError(
      "hash with",
      "those extra keys",
      state,
      'Give a list, or {"lora": TEXT, "salt": TEXT, "multimodal": [{"hash": TEXT, "offset": N, "length": N}]}',
    );
  if (isDeeper(given, DEPTH_MAX)) throw refuse("they are nested too deeply");
  if (isList(given)) return given;
  if (typeof given !== "object") throw refuse("they are no list and no object");
  for (const [name, value] of Object.entries(given)) {
    if (name === "multimodal") {
      if (!isList(value) || !value.every(isMultimodal)) {
        throw refuse("multimodal is not a list of such inputs");
      }
    } else if (name !== "lora" && name !== "salt") {
      throw refuse(`there is no ${JSON.stringify(name)} among them`);
    } else if (value !== undefined && typeof value !== "string") {
      throw refuse(`${name} is not text`);
    }
  }
  return given as ExtraKeys;
}

function isMultimodal(given: unknown): given is MultimodalInput {
  if (typeof given !== "object" || given === null) return false;
  const { hash, offset, length } = given as Record<string, unknown>;
  return typeof hash === "string" && Number.isSafeInteger(offset) &&
    Number.isSafeInteger(length) && Number(length) > 0;
}

/** Deeper than anybody nests what tells prompts apart. */
const DEPTH_MAX = 32;

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return depth === 0 ||
    Object.values(value).some((part) => isDeeper(part, depth - 1));
}
