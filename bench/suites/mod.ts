/**
 * The suites, each loaded only by the process that runs it.
 *
 * @module
 */
import type { Run } from "../suite.ts";

type Loader = () => Promise<{ readonly run: Run }>;

const SUITES = {
  pool: () => import("./pool.ts"),
  reserve: () => import("./reserve.ts"),
  match: () => import("./match.ts"),
  pressure: () => import("./pressure.ts"),
  flat: () => import("./flat.ts"),
  attach: () => import("./attach.ts"),
  first_hit: () => import("./first_hit.ts"),
  readers: () => import("./readers.ts"),
  snapshot: () => import("./snapshot.ts"),
  cli: () => import("./cli.ts"),
} as const satisfies Record<string, Loader>;

export type SuiteName = keyof typeof SUITES;

export const SUITE_NAMES = Object.keys(SUITES) as SuiteName[];

export function isSuiteName(name: string): name is SuiteName {
  return Object.hasOwn(SUITES, name);
}

/** Whether each runtime has figures of its own: the program has its one in it. */
export function isPerRuntime(name: SuiteName): boolean {
  return name !== "cli";
}

export async function loadSuite(name: SuiteName): Promise<Run> {
  return (await SUITES[name]()).run;
}
