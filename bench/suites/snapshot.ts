/**
 * What saving and restoring costs, against the plain tools of the host: `dd`
 * with direct writes and an fsync, and `cat` into shared memory with a cold
 * cache. Only root can empty the page cache.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { persist, Pool, restore } from "../../lib/mod.ts";
import { parseSize } from "../../lib/units.ts";
import { cost, type Finding, rate } from "../finding.ts";
import { Samples, seconds } from "../measure.ts";
import { type Context, randomBytes, type Run, sizeLabel } from "../suite.ts";

const SIZE = { quick: "32M", usual: "1G", full: "4G" };
/** Each of them takes seconds: a few tell enough. */
const ROUNDS_MAX = 3;
const VALUE_BYTES = 2 << 20;
/** What a pool takes beside its values, at most. */
const SPARE_BYTES = 256 << 20;

function tool(command: string): void {
  const { status, stderr } = spawnSync("sh", ["-c", command], {
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(`${command}: ${stderr}`);
}

function emptyCache(): void {
  tool("sync");
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/** Bytes of memory of this process that are no mapping of the pool. */
function ownMemory(): number {
  const status = readFileSync("/proc/self/status", "utf8");
  const [, kib] = /RssAnon:\s+(\d+)/.exec(status) ?? [];
  return Number(kib) * 1024;
}

/** A pool of values that changes, is saved, lost and restored, round by round. */
class Trial {
  readonly samples = new Samples();
  readonly #name: string;
  readonly #bytes = randomBytes(VALUE_BYTES);
  readonly #size_bytes: number;
  readonly #count: number;
  readonly #snapshot: string;
  readonly #plain: string;
  readonly #copy: string;
  readonly #isCold: boolean;

  constructor(context: Context, isCold: boolean) {
    this.#name = context.poolName("snapshot");
    this.#size_bytes = parseSize(context.scaled(SIZE));
    this.#count = this.#size_bytes / VALUE_BYTES;
    this.#snapshot = context.onDisk("snapshot");
    this.#plain = context.onDisk("plain");
    this.#copy = context.inMemory("copy");
    this.#isCold = isCold;
  }

  run(rounds: number): void {
    try {
      this.#create();
      for (let round = 1; round <= rounds; round++) {
        this.#save(round);
        Pool.destroy(this.#name);
        this.#load();
      }
    } finally {
      rmSync(`/dev/shm/cortex.${this.#name}`, { force: true });
    }
  }

  #create(): void {
    using pool = Pool.create(this.#name, {
      size: this.#size_bytes + SPARE_BYTES,
      blockSize: "512K",
    });
    for (let i = 0; i < this.#count; i++) this.#put(pool, i, 0);
  }

  #put(pool: Pool, i: number, round: number): void {
    const stamp = new DataView(this.#bytes.buffer);
    stamp.setUint32(0, i + round * this.#count, true);
    pool.put(`key-${i}`, this.#bytes, { tokens: 16, meta: { layer: i } });
  }

  #save(round: number): void {
    using pool = Pool.open(this.#name);
    this.#time("dd", () =>
      tool(
        `dd if=/dev/shm/cortex.${this.#name} of=${this.#plain} bs=4M ` +
          `count=${this.#size_bytes} iflag=count_bytes oflag=direct conv=fsync`,
      ));
    rmSync(this.#snapshot, { recursive: true, force: true });
    this.#persist(pool, "persist");
    const changed = Math.ceil(this.#count / 100);
    for (let i = 0; i < changed; i++) {
      this.#put(pool, (i * 97) % this.#count, round);
    }
    this.#persist(pool, "persist after 1%");
  }

  #persist(pool: Pool, name: string): void {
    const path = this.#snapshot;
    let written_bytes = 0;
    this.#time(name, () => ({ written_bytes } = persist(pool, { path })));
    this.samples.add(`${name}, bytes`, written_bytes);
  }

  #load(): void {
    const path = this.#snapshot;
    if (this.#isCold) {
      emptyCache();
      this.#time("cat, cold", () => tool(`cat ${this.#plain} > ${this.#copy}`));
      rmSync(this.#copy);
      emptyCache();
    }
    this.#time("restore, cold", () => restore(this.#name, { path }));
    this.samples.add("memory of its own", ownMemory());
    this.samples.add("all values", this.#size_bytes);
    using pool = Pool.open(this.#name);
    if (pool.status().entries !== this.#count) {
      throw new Error("entries are missing");
    }
  }

  #time(name: string, run: () => void): void {
    this.samples.add(name, seconds(run));
  }
}

export const run: Run = (context) => {
  const isCold = process.getuid?.() === 0;
  if (!isCold) {
    context.leaveOut("restore, cold", "only root can empty the page cache");
  }
  const trial = new Trial(context, isCold);
  trial.run(Math.min(context.order.rounds, ROUNDS_MAX));
  const { samples } = trial;
  const at = sizeLabel(parseSize(context.scaled(SIZE))), unit = "s";
  const findings: Finding[] = [
    rate(samples, { what: "persist", at, unit, against: "dd" }),
    cost(samples, { what: "persist after 1%", at, unit, against: "persist" }),
    cost(samples, {
      what: "bytes after 1%",
      at,
      unit: "bytes",
      against: "persist",
      from: ["persist after 1%, bytes", "persist, bytes"],
    }),
    cost(samples, {
      what: "memory of its own",
      at,
      unit: "bytes",
      against: "all values",
    }),
  ];
  if (isCold) {
    findings.push(
      rate(samples, { what: "restore, cold", at, unit, against: "cat, cold" }),
    );
  }
  return Promise.resolve(findings);
};
