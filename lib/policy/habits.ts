import type { Habit } from "./segments.ts";

/**
 * The habits that are tried against each other: which of them fits depends on
 * the workload and on how much of it there is room for. From LRU to LFU, and one
 * that lets go of nothing for what comes round and round.
 */
export const HABITS: readonly Habit[] = [
  { probation: 0.6, fame: 0, remembers: true },
  { probation: 0.1, fame: 0, remembers: true },
  { probation: 0.1, fame: 1, remembers: true },
  { probation: 0, fame: 1, remembers: true },
  { probation: 0.03, fame: 8, remembers: true },
  { probation: 0, fame: 1000, remembers: true },
  { probation: 0.03, fame: 1000, remembers: false },
];

/** To begin with: close to LRU, which nothing is far better than in a large cache. */
export const FIRST_HABIT = 0;
