/** Plain files in /dev/shm. */
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { Peer, PeerKind } from "./peer.ts";

class Files implements Peer {
  readonly depth = 1;
  readonly #directory: string;
  #memory = new Uint8Array(0);

  constructor(directory: string) {
    this.#directory = directory;
  }

  put(key: string, bytes: Uint8Array): void {
    const fd = openSync(this.#path(key), "w");
    for (let at = 0; at < bytes.length;) {
      at += writeSync(fd, bytes, at, bytes.length - at);
    }
    closeSync(fd);
  }

  get(key: string): Uint8Array {
    const fd = openSync(this.#path(key), "r");
    const { size } = fstatSync(fd);
    if (this.#memory.length < size) this.#memory = new Uint8Array(size);
    for (let at = 0; at < size;) {
      at += readSync(fd, this.#memory, at, size - at, at);
    }
    closeSync(fd);
    return this.#memory.subarray(0, size);
  }

  count(keys: readonly string[]): number {
    return keys.filter((key) => existsSync(this.#path(key))).length;
  }

  close(): void {}

  #path(key: string): string {
    return join(this.#directory, key);
  }
}

export const files: PeerKind = {
  name: "files",
  open(directory) {
    mkdirSync(directory, { recursive: true });
    return Promise.resolve(new Files(directory));
  },
};
