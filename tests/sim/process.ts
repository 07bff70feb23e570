/**
 * A simulated process: a thread that does what the director tells it, on a host
 * that may stop, refuse or kill it at any step.
 *
 * @module
 */
import { parentPort } from "node:worker_threads";
import { CortexError } from "../../lib/errors.ts";
import type { Hit } from "../../lib/hit.ts";
import { Pool } from "../../lib/pool.ts";
import type { Reservation } from "../../lib/reservation.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import { readStamp, stampedValue } from "../multiprocess/stamped.ts";
import { watchPlainStores } from "../stores.ts";
import { Disk } from "./disk.ts";
import { applyMutant } from "./mutants.ts";
import type {
  Found,
  Operation,
  Order,
  Outcome,
  ProcessSetup,
  Value,
} from "./operations.ts";
import { SimPlatform } from "./platform.ts";
import { DIRECTOR, Shared } from "./shared.ts";

const LOCK_TIMEOUT_MS = 5000;

/** One life of the process: what it has open dies with it. */
class Life {
  readonly pid: number;
  readonly platform: SimPlatform;
  readonly #writer: number;
  readonly #disk: Disk;
  #pool: Pool | undefined;
  readonly #hits: { readonly hit: Hit; readonly found: Found }[] = [];
  readonly #reservations: { slot: Reservation; value: Value }[] = [];

  constructor(shared: Shared, { root, pid }: Order) {
    this.pid = pid;
    this.#writer = shared.me;
    this.#disk = new Disk(root);
    this.platform = new SimPlatform(shared, this.#disk, pid);
  }

  do(name: string, operation: Operation): Partial<Outcome> {
    switch (operation.do) {
      case "create":
        return this.#create(name, operation.options);
      case "open":
        this.#opened(name);
        return {};
      case "close":
        return this.#close();
      case "destroy":
        Pool.destroy(name, this.#options);
        return {};
      case "put":
        return this.#put(this.#opened(name), operation.value);
      case "reserve":
        return this.#reserve(this.#opened(name), operation.value);
      case "seal":
        return this.#seal();
      case "abort":
        this.#reservations.shift()?.slot.abort();
        return {};
      case "get":
        return this.#get(this.#opened(name), operation.key, operation.hold);
      case "release":
        return this.#release();
      case "delete":
        return { deleted: this.#opened(name).delete(operation.key) };
      case "evict":
        this.#opened(name).evict({ percent: operation.percent });
        return {};
      case "check":
        return {
          problems: this.#opened(name).check({ values: true }).problems,
        };
      case "repair":
        this.#opened(name).repair();
        return {};
      case "persist":
        return {
          damaged: persist(this.#opened(name), { path: this.#disk.directory })
            .damaged,
        };
      case "restore":
        return this.#restore(name);
    }
  }

  get openReservations(): number {
    return this.#reservations.length;
  }

  get #options() {
    return { platform: this.platform, lockTimeout_ms: LOCK_TIMEOUT_MS };
  }

  #create(name: string, options: object): Partial<Outcome> {
    this.#close();
    const { size, ...rest } = options as { size: number };
    this.#pool = Pool.create(name, { size, ...rest, ...this.#options });
    return {};
  }

  /** The pool of that name, and not one that had it before. */
  #opened(name: string): Pool {
    const wanted = this.#pool;
    if (wanted?.name === name) {
      if (this.platform.isNamed(wanted.core.fd)) return wanted;
    }
    this.#close();
    return this.#pool = Pool.open(name, this.#options);
  }

  #close(): Partial<Outcome> {
    for (const { slot } of this.#reservations.splice(0)) slot.abort();
    for (const held of this.#hits.splice(0)) this.#verify(held);
    this.#pool?.close();
    this.#pool = undefined;
    return {};
  }

  #put(pool: Pool, value: Value): Partial<Outcome> {
    pool.put(value.key, this.#bytes(value), optionsOf(value));
    return {};
  }

  #reserve(pool: Pool, value: Value): Partial<Outcome> {
    const slot = pool.reserve(value.key, value.size_bytes, optionsOf(value));
    this.#reservations.push({ slot, value });
    slot.bytes.set(this.#bytes(value));
    return {};
  }

  #seal(): Partial<Outcome> {
    const open = this.#reservations.shift();
    if (!open) return { end: "idle" };
    open.slot.seal();
    return { value: open.value };
  }

  #get(pool: Pool, key: string, hold: boolean): Partial<Outcome> {
    const { core } = pool;
    const sequence = core.index.sequence();
    // Some have views that are never taken back.
    const view = sequence % 4 === 0 ? "borrowed" : "detachable";
    const hit = pool.get(key, { view });
    if (!hit) return { gaveUp: (core.stuckSequence ?? -1) >= sequence };
    const stamp = readStamp(key, hit.bytes);
    hit.verify();
    const found = { key, ...stamp };
    const said = hit.tokens;
    if (said !== stamp.version) {
      throw new Error(`${key}: metadata of version ${said}, not of its own`);
    }
    if (hold) this.#hits.push({ hit, found });
    else hit.release();
    return { found };
  }

  /** What was held is still what it was when it was found. */
  #release(): Partial<Outcome> {
    const held = this.#hits.shift();
    if (!held) return { end: "idle" };
    this.#verify(held);
    return {};
  }

  #verify({ hit, found }: { hit: Hit; found: Found }): void {
    const { writer, version } = readStamp(found.key, hit.bytes);
    if (writer !== found.writer || version !== found.version) {
      throw new Error(`${found.key} changed while it was held`);
    }
    hit.release();
  }

  #restore(name: string): Partial<Outcome> {
    this.#close();
    const { damaged, created } = restore(name, {
      path: this.#disk.directory,
      ...this.#options,
    });
    return { damaged, created };
  }

  #bytes({ key, version, size_bytes }: Value): Uint8Array<ArrayBuffer> {
    return stampedValue(key, this.#writer, version, size_bytes);
  }
}

function optionsOf({ version, longText }: Value) {
  return {
    tokens: version,
    parent: "root",
    checksum: version % 4 === 0 ? "persist" as const : "put" as const,
    meta: longText ? { text: "m".repeat(600) } : { version },
  };
}

/** Every access of shared memory that counts is a step of the process. */
function watchMemory(step: () => void): void {
  watchPlainStores(step);
  const table = Atomics as unknown as Record<
    string,
    (...args: unknown[]) => unknown
  >;
  for (
    const name of ["load", "store", "add", "and", "or", "compareExchange"]
  ) {
    const original = table[name]!;
    table[name] = (...args) => {
      step();
      return original(...args);
    };
  }
}

function outcomeOf(life: Life, run: () => Partial<Outcome>): Outcome {
  try {
    return { end: "done", ...run() };
  } catch (error) {
    if (life.platform.isDead) return { end: "died" };
    if (error instanceof CortexError) {
      return { end: "refused", code: error.code, message: error.message };
    }
    return { end: "broken", message: String((error as Error).stack) };
  }
}

function live({ shared: buffer, number, mutant }: ProcessSetup): void {
  const shared = new Shared(buffer, number);
  let life: Life | undefined;
  let working = false;
  if (mutant !== undefined) applyMutant(mutant);
  watchMemory(() => {
    if (working) life?.platform.touch();
  });
  for (;;) {
    shared.awaitTurn();
    const order = shared.read<Order>(number);
    if (life?.pid !== order.pid) {
      life?.platform.end();
      life = new Life(shared, order);
    }
    const current = life;
    working = true;
    const outcome = {
      ...outcomeOf(current, () => current.do(order.pool, order.operation)),
      open: current.openReservations,
    };
    working = false;
    if (outcome.end === "died") {
      life.platform.end();
      life = undefined;
    }
    shared.write(number, outcome);
    shared.setBusy(number, false);
    shared.pass(DIRECTOR);
  }
}

// Not before the thread that started us has heard that we are up.
parentPort!.on("message", (setup: ProcessSetup) => live(setup));
parentPort!.postMessage("up");
