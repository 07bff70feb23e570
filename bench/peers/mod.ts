/**
 * The peers that this machine has.
 *
 * @module
 */
import type { Context } from "../suite.ts";
import { files } from "./files.ts";
import { lmdb } from "./lmdb.ts";
import type { Peer, PeerKind } from "./peer.ts";
import { redis } from "./redis.ts";

export type { Peer } from "./peer.ts";

const KINDS: readonly PeerKind[] = [lmdb, redis, files];

/**
 * Lends what can be opened of the peers, by name; the others are left out, with
 * the reason.
 */
export async function withPeers<T>(
  context: Context,
  use: (peers: ReadonlyMap<string, Peer>) => Promise<T>,
  kinds: readonly PeerKind[] = KINDS,
): Promise<T> {
  const peers = new Map<string, Peer>();
  try {
    for (const { name, open } of kinds) {
      try {
        peers.set(name, await open(context.inMemory(name)));
      } catch (error) {
        context.leaveOut(name, (error as Error).message.split("\n")[0]!);
      }
    }
    return await use(peers);
  } finally {
    for (const peer of peers.values()) await peer.close();
  }
}
