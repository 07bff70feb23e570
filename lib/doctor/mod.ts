/**
 * The doctor: the host and its pools, as one who runs them needs to know them.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { atomicsFact } from "./atomics.ts";
import type { Fact } from "./fact.ts";
import {
  clockFact,
  hardeningFact,
  removeIpcFact,
  versionFacts,
} from "./host.ts";
import { memoryLimitFact, shmFacts } from "./memory.ts";
import {
  damagedSnapshotFacts,
  litterFact,
  poolFacts,
  snapshotFact,
} from "./pools.ts";

export { assist } from "./atomics.ts";
export type { Fact } from "./fact.ts";

/** Looks at all of it. `start` starts a process that calls `assist`. */
export function examine(
  platform: Platform,
  start: (segment: string) => { kill(): void },
): Fact[] {
  const litter = litterFact(platform); // attaching would free dead slots
  const pools = poolFacts(platform);
  const limit = memoryLimitFact(platform, pools.size_bytes);
  return [
    ...shmFacts(platform),
    ...(limit ? [limit] : []),
    removeIpcFact(platform),
    hardeningFact(platform),
    clockFact(platform),
    ...versionFacts(platform),
    atomicsFact(platform, start),
    snapshotFact(platform, pools.used_bytes),
    ...damagedSnapshotFacts(platform),
    ...pools.facts,
    litter,
  ];
}
