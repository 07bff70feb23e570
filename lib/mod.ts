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
export type { Dropped } from "./repair.ts";
export type { EntryInfo, PoolStatus } from "./describe.ts";
export type { GetOptions, Hit } from "./hit.ts";
export type { PutOptions } from "./plan.ts";
export type { Reservation } from "./reservation.ts";
export { POLICIES, type PolicyKind, type PolicyName } from "./policy/mod.ts";
// What needs a package is in ./prefix/mod.ts: this needs none.
export { type ChainOptions, sglangChain } from "./prefix/sglang.ts";
export {
  type CacheKind,
  namespaceOf,
  parseNamespace,
} from "./prefix/namespace.ts";
export {
  parseTrace,
  type SimOptions,
  type SimResult,
  simulate,
  type Trace,
} from "./sim/mod.ts";
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
  listSnapshots,
  type PathOptions,
  persist,
  type PersistOptions,
  type PersistReport,
  type Progress,
  type PruneReport,
  pruneSnapshot,
  restore,
  type RestoreReport,
  type SnapshotInfo,
  snapshotInfo,
  type VerifyReport,
  verifySnapshot,
} from "./snapshot/mod.ts";
