/**
 * A peer: what a user would keep values in instead.
 *
 * @module
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** A store of values by key, with nothing of a store's other virtues asked. */
export interface Peer {
  /** Operations to have under way at once, for the most that it can do. */
  readonly depth: number;
  put(key: string, bytes: Uint8Array): void | Promise<void>;
  /** Reads a value into memory of this process. */
  get(key: string): Uint8Array | Promise<Uint8Array>;
  /** How many of the keys are there. */
  count(keys: readonly string[]): number | Promise<number>;
  close(): void | Promise<void>;
}

/** A kind of peer that this machine may have. */
export interface PeerKind {
  readonly name: string;
  /**
   * Opens an empty one in a directory.
   *
   * @throws {NotInstalled} if it is not there.
   */
  open(directory: string): Promise<Peer>;
}

export class NotInstalled extends Error {
  override readonly name = "NotInstalled";

  constructor() {
    super("not installed: scripts/bench_peers.sh");
  }
}

const FOLDER = fileURLToPath(new URL("../../.tools/peers/", import.meta.url));

/** A file that scripts/bench_peers.sh brings. */
export function installedFile(path: string): string {
  if (!existsSync(FOLDER + path)) throw new NotInstalled();
  return FOLDER + path;
}

/** A package that scripts/bench_peers.sh brings: no part of what cortex needs. */
export function requirePackage(name: string): unknown {
  installedFile(`node_modules/${name}/package.json`);
  return createRequire(FOLDER)(name);
}
