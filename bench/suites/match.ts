/**
 * How many leading keys of a long chain are there, against asking the peers, and
 * against a map of this process alone.
 *
 * @module
 */
import { type Pool, sglangChain } from "../../lib/mod.ts";
import { rate } from "../finding.ts";
import { type Contender, each, inTurn, overlapped } from "../measure.ts";
import { type Peer, withPeers } from "../peers/mod.ts";
import { countLabel, poolOfBlocks, randomBytes, type Run } from "../suite.ts";

const KEYS = { quick: 256, usual: 8192, full: 8192 };
const CHAINS = { quick: 2, usual: 10, full: 40 };
const BLOCK_TOKENS = 16;

function expectAll(keys: readonly string[], found: number): void {
  if (found !== keys.length) throw new Error(`${found} keys of ${keys.length}`);
}

function leading(
  keys: readonly string[],
  map: ReadonlyMap<string, boolean>,
): number {
  let count = 0;
  while (count < keys.length && map.has(keys[count]!)) count++;
  return count;
}

async function fill(
  keys: readonly string[],
  pool: Pool,
  peers: Iterable<Peer>,
): Promise<void> {
  const value = randomBytes(64);
  keys.forEach((key, i) => pool.put(key, value, { parent: keys[i - 1] }));
  for (const peer of peers) {
    for (const key of keys) await peer.put(key, value);
  }
}

function asking(
  name: string,
  peer: Peer,
  keys: readonly string[],
  count: number,
): Contender {
  const run = peer.depth === 1
    ? each(() => expectAll(keys, peer.count(keys) as number))
    : overlapped(1, async () => expectAll(keys, await peer.count(keys)));
  return { name, count, run };
}

export const run: Run = (context) =>
  withPeers(context, (peers) =>
    context.withPool(
      "match",
      poolOfBlocks(2 * context.scaled(KEYS)),
      async (pool) => {
        const count = context.scaled(CHAINS);
        const tokens = new Uint32Array(
          randomBytes(4 * BLOCK_TOKENS * context.scaled(KEYS)).buffer,
        ).map((token) => token >>> 15);
        const keys = sglangChain(tokens, { blockTokens: BLOCK_TOKENS });
        await fill(keys, pool, peers.values());
        const map = new Map(keys.map((key) => [key, true]));
        const samples = await inTurn([
          {
            name: "match",
            count,
            run: each(() => expectAll(keys, pool.match(keys))),
          },
          {
            name: "Map.has",
            count,
            run: each(() => expectAll(keys, leading(keys, map))),
          },
          ...[...peers].map(([name, peer]) => asking(name, peer, keys, count)),
        ], context.order.rounds);
        const at = countLabel(keys.length, "keys");
        return ["Map.has", ...peers.keys()].map((against) =>
          rate(samples, { what: "match", at, against })
        );
      },
    ));
