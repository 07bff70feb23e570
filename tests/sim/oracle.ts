/**
 * Knows for every key which values it may have, from what was asked of the
 * simulated processes and when: a pool's keys are registers that several
 * processes write at once, and a read must fit into one order of all of it
 * (linearizability; Herlihy and Wing, 1990).
 *
 * A change that was refused, or whose maker died, may have come true or not.
 *
 * @module
 */
import type { Found } from "./operations.ts";

/** A span of the simulation, in its stamps. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

/** What a key may have. */
export interface May {
  readonly values: ReadonlySet<string>;
  nothing: boolean;
}

/** What a snapshot may have of each key. */
export type Contents = ReadonlyMap<string, May>;

/** Something that may have changed what a key has. */
export interface Change extends May {
  readonly key: string;
  readonly values: Set<string>;
  readonly start: number;
  end: number;
  /** Whether it surely came true. */
  sure: boolean;
}

const NOTHING: May = { values: new Set(), nothing: true };
/** Longer than any operation lasts. */
const KEPT_STAMPS = 200_000;

export const nameOf = ({ writer, version }: Omit<Found, "key">): string =>
  `${writer}/${version}`;

export class Oracle {
  readonly #changes: ReadonlyMap<string, Change[]>;
  readonly #keys: readonly string[];
  #evicted_at = -1;

  constructor(keys: readonly string[]) {
    this.#keys = keys;
    this.#changes = new Map(
      keys.map((key) => [key, [
        {
          key,
          values: new Set(),
          nothing: true,
          start: -1,
          end: -1,
          sure: true,
        },
      ]]),
    );
  }

  /** Somebody sets out to put a value. */
  put(key: string, value: string, start: number): Change[] {
    return [
      this.#begin(key, { values: new Set([value]), nothing: false }, start),
    ];
  }

  delete(key: string, start: number): Change[] {
    return [this.#begin(key, NOTHING, start)];
  }

  /** The pool goes away with all that is in it, or a new one comes. */
  empty(start: number): Change[] {
    return this.#keys.map((key) => this.#begin(key, NOTHING, start));
  }

  /** One of these snapshots is loaded. */
  restore(snapshots: readonly Contents[], start: number): Change[] {
    return this.#keys.map((key) => {
      const found = snapshots.map((contents) => contents.get(key) ?? NOTHING);
      return this.#begin(key, {
        values: new Set(found.flatMap(({ values }) => [...values])),
        nothing: found.some(({ nothing }) => nothing),
      }, start);
    });
  }

  /** What is being restored may be this snapshot, too. */
  widen(changes: readonly Change[], contents: Contents): void {
    for (const change of changes) {
      const { values, nothing } = contents.get(change.key) ?? NOTHING;
      for (const value of values) change.values.add(value);
      change.nothing ||= nothing;
    }
  }

  /** It is over, and surely or perhaps came true. */
  settle(changes: readonly Change[], end: number, sure: boolean): void {
    for (const change of changes) {
      change.end = end;
      change.sure = sure;
      this.#forget(change.key, end - KEPT_STAMPS);
    }
  }

  /** It surely did not come true. */
  drop(changes: readonly Change[]): void {
    for (const change of changes) {
      const all = this.#of(change.key);
      all.splice(all.indexOf(change), 1);
    }
  }

  /** Until this stamp, entries may have been evicted. */
  evicted(stamp: number): void {
    this.#evicted_at = Math.max(this.#evicted_at, stamp);
  }

  /** What a snapshot that was made in a span may have. */
  contents(span: Span): Contents {
    return new Map(this.#keys.map((key) => [key, this.#may(key, span)]));
  }

  /**
   * Holds what a process found under a key against what may be there.
   *
   * @returns what is wrong with it, or nothing.
   */
  judge(key: string, found: Found | undefined, span: Span): string | undefined {
    const { values, nothing } = this.#may(key, span);
    if (!found) {
      return nothing ? undefined : `${key} is missed, and nothing took it away`;
    }
    const value = nameOf(found);
    if (values.has(value)) return undefined;
    const wasThere = this.#of(key).some((change) => change.values.has(value));
    return `${key} has value ${value}, which ${
      wasThere ? "is gone by then" : "was never put, or long ago"
    }`;
  }

  #may(key: string, span: Span): May {
    const possible = this.#possible(key, span);
    return {
      values: new Set(possible.flatMap(({ values }) => [...values])),
      nothing: possible.some(({ nothing, start }) =>
        nothing || this.#evicted_at >= start
      ),
    };
  }

  /** Changes that may be the last one, at some moment of the span. */
  #possible(key: string, span: Span): Change[] {
    return this.#of(key).filter((change) =>
      change.start <= span.end && !this.#isOver(change, span.start)
    );
  }

  /** Whether a later change has surely taken its place before `at`. */
  #isOver(change: Change, at: number): boolean {
    return this.#of(change.key).some((later) =>
      later.sure && later.start > change.end && later.end < at
    );
  }

  #begin(key: string, may: May, start: number): Change {
    const change: Change = {
      key,
      values: new Set(may.values),
      nothing: may.nothing,
      start,
      end: Infinity,
      sure: false,
    };
    this.#of(key).push(change);
    return change;
  }

  /** What was over long ago is of no use to anybody. */
  #forget(key: string, before: number): void {
    const all = this.#of(key);
    if (all.length < 32) return;
    const kept = all.filter((change) => !this.#isOver(change, before));
    all.splice(0, all.length, ...kept);
  }

  #of(key: string): Change[] {
    return this.#changes.get(key)!;
  }
}
