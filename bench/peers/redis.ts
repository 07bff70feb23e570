/** Redis over a unix socket, with as many clients as serve it best. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  installedFile,
  type Peer,
  type PeerKind,
  requirePackage,
} from "./peer.ts";

/** What is used of the package. */
interface Client {
  set(key: string, value: Buffer): Promise<string>;
  getBuffer(key: string): Promise<Uint8Array | null>;
  exists(...keys: string[]): Promise<number>;
  disconnect(): void;
}

interface Package {
  readonly Redis: new (options: Readonly<Record<string, unknown>>) => Client;
}

const CLIENTS = 4;
const START_MS = 5000;

/** Ends with us, however we end: what it waits for is the end of our pipe. */
const LEASH = '"$@" >/dev/null & pid=$!; cat >/dev/null; kill $pid; wait $pid';

class Redis implements Peer {
  readonly depth = CLIENTS;
  readonly #clients: readonly Client[];
  readonly #stop: () => Promise<void>;
  #turn = 0;

  constructor(clients: readonly Client[], stop: () => Promise<void>) {
    this.#clients = clients;
    this.#stop = stop;
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    // Any other array would be sent as text.
    const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    await this.#next().set(key, value);
  }

  async get(key: string): Promise<Uint8Array> {
    return await this.#next().getBuffer(key) ?? new Uint8Array(0);
  }

  count(keys: readonly string[]): Promise<number> {
    return this.#next().exists(...keys);
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.disconnect();
    await this.#stop();
  }

  #next(): Client {
    return this.#clients[this.#turn++ % CLIENTS]!;
  }
}

/** @returns how to stop it. */
async function startServer(socket: string): Promise<() => Promise<void>> {
  const server = installedFile("bin/redis-server");
  const settings = ["--port", "0", "--unixsocket", socket, "--save", ""];
  const child = spawn(
    "sh",
    ["-c", LEASH, "leash", server, ...settings, "--appendonly", "no"],
    { stdio: ["pipe", "ignore", "inherit"] },
  );
  const ended = new Promise<void>((resolve) =>
    child.on("close", () => resolve())
  );
  const stop = () => {
    child.stdin.end();
    return ended;
  };
  const deadline = performance.now() + START_MS;
  while (!existsSync(socket)) {
    if (performance.now() > deadline) {
      await stop();
      throw new Error("redis-server did not start");
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return stop;
}

export const redis: PeerKind = {
  name: "redis",
  async open(directory) {
    const { Redis: Client } = requirePackage("ioredis") as Package;
    mkdirSync(directory, { recursive: true });
    const path = join(directory, "redis.sock");
    const stop = await startServer(path);
    const clients = Array.from({ length: CLIENTS }, () => new Client({ path }));
    return new Redis(clients, stop);
  },
};
