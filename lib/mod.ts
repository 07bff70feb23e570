/**
 * cortex: the KV caches of LLM inference as a resource of the host.
 *
 * @module
 */
export { Pool } from "./pool.ts";
export type {
  CreateOptions,
  EvictOptions,
  EvictReport,
  HandleOptions,
  OpenOptions,
} from "./pool.ts";
export type { CheckOptions, CheckReport } from "./check.ts";
export type { EntryInfo, PoolStatus } from "./describe.ts";
export type { Hit } from "./hit.ts";
export type { PutOptions } from "./plan.ts";
export type { Reservation } from "./reservation.ts";
export { POLICIES, type Policy, type PolicyName } from "./policy/mod.ts";
export { type ChainOptions, sglangChain } from "./prefix/sglang.ts";
export {
  BusyError,
  ClosedError,
  CorruptError,
  CortexError,
  type ErrorCode,
  ExistsError,
  FailedError,
  NoSpaceError,
  NotFoundError,
  UsageError,
} from "./errors.ts";
export {
  type PathOptions,
  persist,
  type PersistReport,
  type Progress,
  restore,
  type RestoreReport,
} from "./snapshot/mod.ts";
