/**
 * The geometry of a new pool: the policy says what room its state takes.
 *
 * @module
 */
import { type Geometry, layOut, type LayoutOptions } from "./geometry.ts";
import { DEFAULT_POLICY, type PolicyName } from "./policy/mod.ts";
import { Replacement } from "./policy/replacement.ts";

/** What a caller may choose. */
export interface GeometryOptions extends Omit<LayoutOptions, "policyBytes"> {
  /** `prefix` by default. */
  readonly policy?: PolicyName | undefined;
}

/**
 * Works out the geometry of a pool of that policy.
 *
 * @throws {UsageError} if no pool can have these numbers.
 *
 * @example
 * ```ts
 * import { planGeometry } from "./pool_geometry.ts";
 * import assert from "node:assert/strict";
 *
 * const geometry = planGeometry({ size_bytes: 16 * 2 ** 30 });
 * assert.equal(geometry.block_bytes, 512 * 1024);
 * assert.equal(geometry.blocks, 32767);
 * ```
 */
export function planGeometry(options: GeometryOptions): Geometry {
  const { policy = DEFAULT_POLICY, ...asked } = options;
  return layOut({
    ...asked,
    policyBytes: (entries) => Replacement.bytes(policy, entries),
  });
}
