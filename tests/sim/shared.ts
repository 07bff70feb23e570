/**
 * What the threads of a simulation share. Each simulated process is a thread of
 * its own, so that it can be stopped between any two of its steps; only the one
 * whose turn it is runs, and who is next is thrown with shared dice. So a seed
 * decides everything, and the same seed does everything again.
 *
 * @module
 */

/** Simulated processes are numbered from 1; the director has number 0. */
export type ProcessNumber = number;
export const DIRECTOR: ProcessNumber = 0;
const PROCESSES_MAX = 8;

// Words of the shared memory.
const GO = 0; // one a participant: 1 = it is its turn
const DICE = 16, STAMP = 17, BUSY = 18, YIELD_ONE_IN = 19;
const DIE_ONE_IN = 20, FAULT_ONE_IN = 21, STOP_ONE_IN = 22, FAULTS = 23;
const CLOCK = 16; // as a double: bytes 128 on
const STOPPED_UNTIL = 17; // doubles, one a participant
const LOCKS_AT_BYTES = 512;
const LOCK_BYTES = 24;
const LOCKS_MAX = 256;
const LETTERS_AT_BYTES = LOCKS_AT_BYTES + LOCKS_MAX * LOCK_BYTES;
const LETTER_MAX_BYTES = 1 << 16;

export const SHARED_BYTES = LETTERS_AT_BYTES +
  PROCESSES_MAX * LETTER_MAX_BYTES;

/** How wild an episode is: one in so many; 0 for never. */
export interface Wildness {
  readonly yieldOneIn: number;
  readonly dieOneIn: number;
  readonly faultOneIn: number;
  readonly stopOneIn: number;
}

// The threads' own waiting must not be a step of what they simulate.
const { load, store, wait, notify } = Atomics;

/** One thread's hold on what is shared. */
export class Shared {
  readonly me: ProcessNumber;
  readonly #words: Int32Array;
  readonly #doubles: Float64Array;
  readonly #bytes: Uint8Array;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();

  constructor(buffer: SharedArrayBuffer, me: ProcessNumber) {
    this.me = me;
    this.#words = new Int32Array(buffer, 0, LETTERS_AT_BYTES >> 2);
    this.#doubles = new Float64Array(buffer, 0, LETTERS_AT_BYTES >> 3);
    this.#bytes = new Uint8Array(buffer);
  }

  // ------------------------------------------------------------------ turns

  /** Hands the turn to another, and waits until it comes back. */
  pass(to: ProcessNumber): void {
    if (to === this.me) return;
    store(this.#words, GO + this.me, 0);
    store(this.#words, GO + to, 1);
    notify(this.#words, GO + to, 1);
    this.awaitTurn();
  }

  awaitTurn(): void {
    while (load(this.#words, GO + this.me) === 0) {
      wait(this.#words, GO + this.me, 0);
    }
  }

  /** Marks a process as in the midst of an operation, or not. */
  setBusy(process: ProcessNumber, busy: boolean): void {
    const bit = 1 << process;
    this.#words[BUSY] = busy
      ? this.#words[BUSY]! | bit
      : this.#words[BUSY]! & ~bit;
  }

  isBusy(process: ProcessNumber): boolean {
    return (this.#words[BUSY]! & (1 << process)) !== 0;
  }

  /** Who is in the midst of an operation, and not stopped. */
  runnable(): ProcessNumber[] {
    const found: ProcessNumber[] = [];
    for (let process = 1; process < PROCESSES_MAX; process++) {
      const isBusy = (this.#words[BUSY]! & (1 << process)) !== 0;
      const stopped_until = this.#doubles[STOPPED_UNTIL + process]!;
      if (isBusy && stopped_until <= this.clock) found.push(process);
    }
    return found;
  }

  /** If all are stopped, time passes until one is not. */
  wakeOne(): ProcessNumber | undefined {
    let first: ProcessNumber | undefined;
    for (let process = 1; process < PROCESSES_MAX; process++) {
      if ((this.#words[BUSY]! & (1 << process)) === 0) continue;
      if (
        first === undefined ||
        this.#doubles[STOPPED_UNTIL + process]! <
          this.#doubles[STOPPED_UNTIL + first]!
      ) first = process;
    }
    if (first !== undefined) {
      this.clock = Math.max(this.clock, this.#doubles[STOPPED_UNTIL + first]!);
    }
    return first;
  }

  stop(process: ProcessNumber, until_ms: number): void {
    this.#doubles[STOPPED_UNTIL + process] = until_ms;
  }

  // --------------------------------------------------------- dice and clock

  seed(seed: number): void {
    this.#words[DICE] = Math.imul(seed + 1, 0x9e37_79b9) | 1;
  }

  /** A number from 0 up to, not including, `below`. */
  random(below: number): number {
    let dice = this.#words[DICE]!;
    dice ^= dice << 13, dice ^= dice >>> 17, dice ^= dice << 5;
    this.#words[DICE] = dice;
    return Math.floor((dice >>> 0) / 2 ** 32 * below);
  }

  oneIn(count: number): boolean {
    return count > 0 && this.random(count) === 0;
  }

  pick<T>(from: readonly T[]): T {
    return from[this.random(from.length)]!;
  }

  /** Simulated milliseconds. */
  get clock(): number {
    return this.#doubles[CLOCK]!;
  }

  set clock(value: number) {
    this.#doubles[CLOCK] = value;
  }

  /** Orders what happens: goes up at every turn. */
  get stamp(): number {
    return this.#words[STAMP]!;
  }

  step(): void {
    this.#words[STAMP]!++;
  }

  get wildness(): Wildness {
    return {
      yieldOneIn: this.#words[YIELD_ONE_IN]!,
      dieOneIn: this.#words[DIE_ONE_IN]!,
      faultOneIn: this.#words[FAULT_ONE_IN]!,
      stopOneIn: this.#words[STOP_ONE_IN]!,
    };
  }

  set wildness(wildness: Wildness) {
    this.#words[YIELD_ONE_IN] = wildness.yieldOneIn;
    this.#words[DIE_ONE_IN] = wildness.dieOneIn;
    this.#words[FAULT_ONE_IN] = wildness.faultOneIn;
    this.#words[STOP_ONE_IN] = wildness.stopOneIn;
  }

  yieldsNow(): boolean {
    return this.oneIn(this.#words[YIELD_ONE_IN]!);
  }

  /** Faults injected so far, in all processes. */
  get faults(): number {
    return this.#words[FAULTS]!;
  }

  countFault(): void {
    this.#words[FAULTS]!++;
  }

  // ------------------------------------------------------------------ locks

  /**
   * Takes a lock of a file as a descriptor's own: of one byte, or the whole
   * file's (`offset` -1). A dead holder's is free once `released_at` has come.
   */
  tryLock(inode: number, offset: number, fd: number): boolean {
    let free = -1;
    for (let row = 0; row < LOCKS_MAX; row++) {
      const at = this.#lock(row);
      if (this.#isFree(at)) {
        if (free === -1) free = at;
        continue;
      }
      if (this.#words[at] !== inode || this.#words[at + 1] !== offset) continue;
      return this.#words[at + 2] === this.me && this.#words[at + 3] === fd;
    }
    if (free === -1) throw new Error("the simulation has too many locks");
    this.#words[free] = inode;
    this.#words[free + 1] = offset;
    this.#words[free + 2] = this.me;
    this.#words[free + 3] = fd;
    this.#doubles[(free + 4) >> 1] = Infinity;
    return true;
  }

  /** Lets go of one lock of a descriptor, or of all if `offset` is not given. */
  unlock(fd: number, offset?: number): void {
    for (let row = 0; row < LOCKS_MAX; row++) {
      const at = this.#lock(row);
      if (this.#words[at + 2] !== this.me || this.#words[at + 3] !== fd) {
        continue;
      }
      if (offset === undefined || this.#words[at + 1] === offset) {
        this.#words[at + 2] = 0;
      }
    }
  }

  /** Whether another than `fd` holds the whole file (-1), or a byte of the range. */
  isLockedElsewhere(
    inode: number,
    offset: number,
    fd: number,
    length = 1,
  ): boolean {
    const end = length === 0 ? Infinity : offset + length;
    for (let row = 0; row < LOCKS_MAX; row++) {
      const at = this.#lock(row);
      const byte = this.#words[at + 1]!;
      if (this.#isFree(at) || this.#words[at] !== inode) continue;
      if (byte < offset || byte >= end) continue;
      if (this.#words[at + 2] !== this.me || this.#words[at + 3] !== fd) {
        return true;
      }
    }
    return false;
  }

  isLocked(inode: number): boolean {
    return this.isLockedElsewhere(inode, -1, -1);
  }

  /** The kernel takes a while to free what a dead process held. */
  releaseAll(delay_ms: number): void {
    for (let row = 0; row < LOCKS_MAX; row++) {
      const at = this.#lock(row);
      if (this.#words[at + 2] !== this.me) continue;
      this.#words[at + 2] = -1;
      this.#doubles[(at + 4) >> 1] = this.clock + delay_ms;
    }
  }

  #lock(row: number): number {
    return (LOCKS_AT_BYTES + row * LOCK_BYTES) >> 2;
  }

  #isFree(at: number): boolean {
    const owner = this.#words[at + 2]!;
    return owner === 0 ||
      (owner === -1 && this.#doubles[(at + 4) >> 1]! <= this.clock);
  }

  // ---------------------------------------------------------------- letters

  /** What a process and the director have to tell each other. */
  write(process: ProcessNumber, letter: unknown): void {
    const bytes = this.#encoder.encode(JSON.stringify(letter));
    if (bytes.length + 4 > LETTER_MAX_BYTES) throw new Error("too long");
    const at = LETTERS_AT_BYTES + process * LETTER_MAX_BYTES;
    new DataView(this.#bytes.buffer).setUint32(at, bytes.length);
    this.#bytes.set(bytes, at + 4);
  }

  read<T>(process: ProcessNumber): T {
    const at = LETTERS_AT_BYTES + process * LETTER_MAX_BYTES;
    const length = new DataView(this.#bytes.buffer).getUint32(at);
    const copy = this.#bytes.slice(at + 4, at + 4 + length);
    return JSON.parse(this.#decoder.decode(copy)) as T;
  }
}
