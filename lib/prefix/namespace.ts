/**
 * What makes two caches incompatible, as the text that a pool has as its
 * namespace: a key of one namespace never matches in another.
 *
 * @module
 */
import { UsageError } from "../errors.ts";

/** What a cache is of. */
export interface CacheKind {
  /** Model id, such as `meta-llama/Llama-3.1-8B`. */
  readonly model?: string | undefined;
  /** Of the cache's numbers: `bf16`, `fp8`... */
  readonly dtype?: string | undefined;
  /** Order of the cache's dimensions, as the engine calls it. */
  readonly layout?: string | undefined;
  /** Which of the `tp_size` parts of a model that is split by tensor parallelism. */
  readonly tp_rank?: number | undefined;
  readonly tp_size?: number | undefined;
  /** Tokens a block. */
  readonly block_tokens?: number | undefined;
}

/**
 * One text for one kind of cache, whatever order it was told in.
 *
 * @throws {UsageError} if there is no such cache.
 *
 * @example
 * ```ts
 * import { namespaceOf, parseNamespace } from "./namespace.ts";
 * import assert from "node:assert/strict";
 *
 * const text = namespaceOf({ model: "llama", tp_rank: 0, tp_size: 2 });
 * assert.equal(text, "model=llama&tp=0/2");
 * assert.equal(parseNamespace(text).model, "llama");
 * ```
 */
export function namespaceOf(kind: CacheKind): string {
  const { model, dtype, layout, tp_rank, tp_size, block_tokens } = kind;
  const parts: string[] = [];
  for (const [name, value] of Object.entries({ model, dtype, layout })) {
    if (value) parts.push(`${name}=${encodeURIComponent(value)}`);
  }
  if (tp_rank !== undefined || tp_size !== undefined) {
    const rank = tp_rank ?? 0, size = tp_size ?? 1;
    if (!isCount(size, 1) || !isCount(rank, 0) || rank >= size) {
      throw new UsageError(
        "name",
        `part ${rank} of ${size}`,
        "ranks go from 0 to the size of the group, less one",
        "Give both --tp-rank and --tp-size, such as 0 and 2",
      );
    }
    parts.push(`tp=${rank}/${size}`);
  }
  if (block_tokens !== undefined) {
    if (!isCount(block_tokens, 1)) {
      throw new UsageError(
        "name",
        `blocks of ${block_tokens} tokens`,
        "it is not a positive whole number",
        "Give the block size of the engine, such as 16",
      );
    }
    parts.push(`block_tokens=${block_tokens}`);
  }
  return parts.join("&");
}

/** What a namespace says; empty for one that was not made by `namespaceOf`. */
export function parseNamespace(namespace: string): CacheKind {
  const found = new Map(
    namespace.split("&").map((part) => {
      const at = part.indexOf("=");
      return [part.slice(0, at), part.slice(at + 1)] as const;
    }),
  );
  const text = (name: string) => {
    const value = found.get(name);
    try {
      return value === undefined ? undefined : decodeURIComponent(value);
    } catch {
      return undefined;
    }
  };
  const tp = /^(\d+)\/(\d+)$/.exec(found.get("tp") ?? "");
  const block_tokens = Number(found.get("block_tokens"));
  return {
    model: text("model"),
    dtype: text("dtype"),
    layout: text("layout"),
    tp_rank: tp ? Number(tp[1]) : undefined,
    tp_size: tp ? Number(tp[2]) : undefined,
    block_tokens: isCount(block_tokens, 1) ? block_tokens : undefined,
  };
}

function isCount(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least;
}
