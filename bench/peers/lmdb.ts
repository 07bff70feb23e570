/** lmdb-js over tmpfs, without syncs: its fastest. */
import { mkdirSync } from "node:fs";
import { type Peer, type PeerKind, requirePackage } from "./peer.ts";

/** What is used of the package. */
interface Database {
  putSync(key: string, value: Uint8Array): boolean;
  getBinaryFast(key: string): Uint8Array | undefined;
  doesExist(key: string): boolean;
  close(): Promise<void>;
}

interface Package {
  open(options: Readonly<Record<string, unknown>>): Database;
}

class Lmdb implements Peer {
  readonly depth = 1;
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  put(key: string, bytes: Uint8Array): void {
    this.#database.putSync(key, bytes);
  }

  get(key: string): Uint8Array {
    // Into one buffer of its own, of which the value is the beginning.
    const buffer = this.#database.getBinaryFast(key);
    return buffer?.subarray(0, buffer.length) ?? new Uint8Array(0);
  }

  count(keys: readonly string[]): number {
    return keys.filter((key) => this.#database.doesExist(key)).length;
  }

  close(): Promise<void> {
    return this.#database.close();
  }
}

export const lmdb: PeerKind = {
  name: "lmdb",
  open(directory) {
    const { open } = requirePackage("lmdb") as Package;
    mkdirSync(directory, { recursive: true });
    const database = open({
      path: directory,
      encoding: "binary",
      noSync: true,
      mapSize: 4 * 2 ** 30,
    });
    return Promise.resolve(new Lmdb(database));
  },
};
