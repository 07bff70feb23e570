/**
 * Doubly linked queues of small numbers that share their links: an entry is in
 * at most one of them. Newest at the head, the next to go at the tail.
 *
 * @module
 */
import type { Memory } from "./memory.ts";

/** Nowhere; links hold a number plus one, so that zeros are an empty queue. */
const END = 0;

/** The links that several queues share. */
export class QueueLinks {
  /** Towards the tail. */
  readonly older: Uint32Array;
  /** Towards the head. */
  readonly newer: Uint32Array;
  /** Which queue an entry is in: its number, or 0. */
  readonly where: Uint32Array;

  constructor(memory: Memory, capacity: number) {
    this.older = memory.u32(capacity);
    this.newer = memory.u32(capacity);
    this.where = memory.u32(capacity);
  }
}

export class Queue {
  readonly #links: QueueLinks;
  readonly #number: number;
  /** Head and tail, plus one. */
  readonly #ends: Uint32Array;
  /** Sum of the weights in it. */
  readonly #weight: Float64Array;

  /** @param number tells this queue from others of the same links: from 1 on. */
  constructor(memory: Memory, links: QueueLinks, number: number) {
    this.#links = links;
    this.#number = number;
    this.#ends = memory.u32(2);
    this.#weight = memory.f64(1);
  }

  get weight(): number {
    return this.#weight[0]!;
  }

  has(entry: number): boolean {
    return this.#links.where[entry] === this.#number;
  }

  /** The oldest, or -1. */
  tail(): number {
    return this.#ends[1]! - 1;
  }

  /** The next one towards the head, or -1. */
  newer(entry: number): number {
    return this.#links.newer[entry]! - 1;
  }

  /** The oldest that may go, or -1. */
  oldest(mayGo: (entry: number) => boolean): number {
    let at = this.tail();
    for (let steps = this.#links.where.length; steps > 0; steps--) {
      if (at === -1 || mayGo(at)) return at;
      at = this.newer(at);
    }
    return -1;
  }

  push(entry: number, weight: number): void {
    const { older, newer, where } = this.#links;
    const head = this.#ends[0]!;
    older[entry] = head;
    newer[entry] = END;
    where[entry] = this.#number;
    if (head === END) this.#ends[1] = entry + 1;
    else newer[head - 1] = entry + 1;
    this.#ends[0] = entry + 1;
    this.#weight[0]! += weight;
  }

  remove(entry: number, weight: number): void {
    const { older, newer, where } = this.#links;
    const before = newer[entry]!, behind = older[entry]!;
    if (before === END) this.#ends[0] = behind;
    else older[before - 1] = behind;
    if (behind === END) this.#ends[1] = before;
    else newer[behind - 1] = before;
    where[entry] = 0;
    this.#weight[0]! -= weight;
  }
}
