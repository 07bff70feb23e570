/**
 * Putting values in by copy, and hits without one, against a plain copy into a
 * warm mapping and against the peers.
 *
 * @module
 */
import type { GetOptions, Pool, PutOptions } from "../../lib/mod.ts";
import { type Finding, rate } from "../finding.ts";
import { type Contender, each, inTurn, overlapped } from "../measure.ts";
import { type Peer, withPeers } from "../peers/mod.ts";
import {
  type Context,
  randomValues,
  ringLength,
  type Run,
  sizeLabel,
} from "../suite.ts";
import { withWarmViews } from "../warm.ts";

const SIZES = [4 << 10, 64 << 10, 512 << 10, 2 << 20, 32 << 20];
/** The largest of them. */
const SIZE_MAX = { quick: 64 << 10, usual: 32 << 20, full: 32 << 20 };
/** Bytes that a copying contender moves in a round, about. */
const ROUND_BYTES = { quick: 1 << 20, usual: 256 << 20, full: 256 << 20 };
const COPIES_MAX = { quick: 100, usual: 4096, full: 4096 };
const HITS = { quick: 200, usual: 4000, full: 16_000 };
const POOL_SIZE = { quick: "8M", usual: "1G", full: "1G" };

const UNSUMMED = "put, checksum by persist", BORROWED = "hit, borrowed";

/** What is done at one size, by us and by the others, to the same keys in turn. */
class Round {
  readonly #pool: Pool;
  readonly #keys: readonly string[];
  /** Of the keys, in turn. */
  readonly #values: readonly Uint8Array[];
  readonly #size_bytes: number;
  readonly #copies: number;
  readonly #hits: number;

  constructor(context: Context, pool: Pool, size_bytes: number) {
    this.#pool = pool;
    this.#size_bytes = size_bytes;
    this.#copies = Math.max(
      4,
      Math.min(
        context.scaled(ROUND_BYTES) / size_bytes,
        context.scaled(COPIES_MAX),
      ),
    );
    const count = ringLength(size_bytes, this.#copies);
    this.#values = randomValues(size_bytes, count);
    this.#keys = Array.from(
      { length: count },
      (_, i) => `value-${size_bytes}-${i}`,
    );
    this.#hits = context.scaled(HITS);
  }

  get keys(): readonly string[] {
    return this.#keys;
  }

  copy(views: readonly Uint8Array[]): Contender {
    return {
      name: "plain copy",
      count: this.#copies,
      run: each((i) => views[i % views.length]!.set(this.#value(i))),
    };
  }

  put(name: string, options: PutOptions): Contender {
    const put = (i: number) =>
      this.#pool.put(this.#key(i), this.#value(i), options);
    return { name, count: this.#copies, run: each(put) };
  }

  hit(name: string, options: GetOptions): Contender {
    // Not by `using`: under Deno that takes 0.3 us by itself.
    const hit = (i: number) => {
      const hit = this.#pool.get(this.#key(i), options);
      this.#expectWhole(hit?.bytes);
      hit?.release();
    };
    return { name, count: this.#hits, run: each(hit) };
  }

  peer(name: string, peer: Peer): Contender[] {
    const put = (i: number) => peer.put(this.#key(i), this.#value(i));
    const get = (i: number) => peer.get(this.#key(i));
    const check = (bytes: Uint8Array) => this.#expectWhole(bytes);
    const [putting, getting] = peer.depth === 1
      ? [each((i) => void put(i)), each((i) => check(get(i) as Uint8Array))]
      : [
        overlapped(peer.depth, async (i) => await put(i)),
        overlapped(peer.depth, async (i) => check(await get(i))),
      ];
    return [
      { name: `${name} put`, count: this.#copies, run: putting },
      { name: `${name} get`, count: this.#copies, run: getting },
    ];
  }

  /** Whoever was fast by not doing it is found out. */
  async verify(peers: Iterable<Peer>): Promise<void> {
    const key = this.#key(0);
    using hit = this.#pool.get(key);
    this.#expectSame(hit?.bytes);
    for (const peer of peers) this.#expectSame(await peer.get(key));
  }

  #key(i: number): string {
    return this.#keys[i % this.#keys.length]!;
  }

  #value(i: number): Uint8Array {
    return this.#values[i % this.#keys.length % this.#values.length]!;
  }

  #expectWhole(bytes: Uint8Array | undefined): void {
    if (bytes?.length !== this.#size_bytes) throw new Error("a miss");
  }

  #expectSame(bytes: Uint8Array | undefined): void {
    if (!bytes || Buffer.compare(bytes, this.#value(0)) !== 0) {
      throw new Error("other bytes than were put in");
    }
  }
}

async function measure(
  context: Context,
  pool: Pool,
  peers: ReadonlyMap<string, Peer>,
  size_bytes: number,
): Promise<Finding[]> {
  const round = new Round(context, pool, size_bytes);
  const samples = await withWarmViews(
    context.poolName("copy"),
    round.keys.length,
    size_bytes,
    (views) =>
      inTurn([
        // First, and last in the rounds that go backwards: the garbage that some
        // of them leave is collected at the cost of who comes next.
        ...[...peers].flatMap(([name, peer]) => round.peer(name, peer)),
        round.copy(views),
        round.put("put", {}),
        round.put(UNSUMMED, { checksum: "persist" }),
        round.hit("hit", {}),
        round.hit(BORROWED, { view: "borrowed" }),
      ], context.order.rounds),
  );
  await round.verify(peers.values());
  for (const key of round.keys) pool.delete(key);
  const at = sizeLabel(size_bytes);
  const toCopy = (what: string) =>
    rate(samples, { what, at, against: "plain copy" });
  const toPeers = (what: string, verb: string) =>
    [...peers.keys()].map((against) =>
      rate(samples, { what, at, against, from: [what, `${against} ${verb}`] })
    );
  return [
    toCopy("put"),
    toCopy(UNSUMMED),
    ...toPeers("put", "put"),
    toCopy("hit"),
    toCopy(BORROWED),
    ...toPeers("hit", "get"),
  ];
}

export const run: Run = (context) =>
  withPeers(
    context,
    (peers) =>
      context.withPool(
        "pool",
        { size: context.scaled(POOL_SIZE), populate: true },
        async (pool) => {
          const findings: Finding[] = [];
          for (const size_bytes of SIZES) {
            if (size_bytes > context.scaled(SIZE_MAX)) break;
            findings.push(...await measure(context, pool, peers, size_bytes));
          }
          return findings;
        },
      ),
  );
