/**
 * What an eviction policy has learned, as bytes that only it understands: kept in
 * a snapshot, and given back on a restore.
 *
 * @module
 */
import type { Core } from "../core.ts";
import { CortexError } from "../errors.ts";
import { exportPolicyState, importPolicyState } from "../replacing.ts";

/**
 * What the pool's policy has learned; empty for nothing, and for a pool that was
 * destroyed meanwhile or is busy: a snapshot is worth having without it.
 */
export function takePolicyState(core: Core): Uint8Array {
  try {
    return core.change("persist", () => exportPolicyState(core));
  } catch (error) {
    if (error instanceof CortexError) return new Uint8Array();
    throw error;
  }
}

/**
 * Gives it back. What does not hold is dropped, and is never an error. Runs inside
 * `Core.change`.
 */
export function givePolicyState(core: Core, state: Uint8Array): void {
  importPolicyState(core, state);
}
