/**
 * What a disk keeps through a power loss: of a file what was synced, of a
 * directory the names that were synced. Of the rest, any part may be there.
 *
 * What is durable is kept beside the directory itself, so that every thread of a
 * simulation sees it: contents by inode, and a list of names.
 *
 * @module
 */
import {
  closeSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

/** How a disk writes: each such piece is there whole, or not at all. */
const SECTOR_BYTES = 512;

type Names = Record<string, number>;

/** Of chance, what a disk needs. */
interface Dice {
  oneIn(count: number): boolean;
  random(below: number): number;
  pick<T>(from: readonly T[]): T;
}

/** One directory of a simulated disk; `root` holds it and what is durable of it. */
export class Disk {
  /** The directory that a snapshot is kept in. */
  readonly directory: string;
  readonly #durable: string;

  constructor(root: string) {
    this.directory = join(root, "files");
    this.#durable = join(root, "durable");
    mkdirSync(this.#durable, { recursive: true });
  }

  /** fsync of a file, or of the directory. */
  sync(fd: number): void {
    const stat = fstatSync(fd);
    if (stat.isDirectory()) {
      writeFileSync(this.#namesFile, JSON.stringify(this.#names()));
    } else {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      writeFileSync(this.#contents(stat.ino), readFileSync(path));
    }
  }

  /** The power fails. What was not synced is there, or not, or in part. */
  losePower(dice: Dice): void {
    const now = this.#names();
    const durable = this.#durableNames();
    const files = new Map<string, Uint8Array>();
    for (
      const name of new Set([...Object.keys(now), ...Object.keys(durable)])
    ) {
      const inode = dice.oneIn(2) ? now[name] : durable[name];
      if (inode === undefined) continue;
      files.set(name, this.#after(inode, this.#current(now, inode), dice));
    }
    this.wipe();
    if (files.size === 0) return;
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    const names: Names = {};
    for (const [name, bytes] of files) {
      const path = join(this.directory, name);
      writeFileSync(path, bytes, { mode: 0o600 });
      names[name] = statSync(path).ino;
      writeFileSync(this.#contents(names[name]), bytes);
    }
    writeFileSync(this.#namesFile, JSON.stringify(names));
  }

  /** A bit of what is kept turns over, as bits of disks do. */
  rot(dice: Dice): void {
    const names = Object.keys(this.#names());
    if (names.length === 0) return;
    const path = join(this.directory, dice.pick(names));
    const bytes = readFileSync(path);
    if (bytes.length === 0) return;
    const at = dice.random(bytes.length);
    bytes[at]! ^= 1 << dice.random(8);
    const fd = openSync(path, "r+");
    writeSync(fd, bytes, at, 1, at);
    this.sync(fd);
    closeSync(fd);
  }

  /** A new disk in place of it. */
  wipe(): void {
    rmSync(this.directory, { recursive: true, force: true });
    rmSync(this.#durable, { recursive: true });
    mkdirSync(this.#durable);
  }

  get #namesFile(): string {
    return join(this.#durable, "names.json");
  }

  #contents(inode: number): string {
    return join(this.#durable, String(inode));
  }

  #names(): Names {
    const names: Names = {};
    if (!existsSync(this.directory)) return names;
    for (const name of readdirSync(this.directory).sort()) {
      names[name] = statSync(join(this.directory, name)).ino;
    }
    return names;
  }

  #durableNames(): Names {
    if (!existsSync(this.#namesFile)) return {};
    return JSON.parse(readFileSync(this.#namesFile, "utf8")) as Names;
  }

  /** What the file has now, if any name leads to it. */
  #current(now: Names, inode: number): Uint8Array | undefined {
    const name = Object.keys(now).find((name) => now[name] === inode);
    return name === undefined
      ? undefined
      : readFileSync(join(this.directory, name));
  }

  /** Sector by sector, what was synced or what was written since. */
  #after(inode: number, current: Uint8Array | undefined, dice: Dice) {
    const path = this.#contents(inode);
    const synced = existsSync(path) ? readFileSync(path) : new Uint8Array();
    if (!current) return synced;
    const bytes = new Uint8Array(
      dice.oneIn(2) ? current.length : synced.length,
    );
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      const from = dice.oneIn(2) ? current : synced;
      bytes.set(
        from.subarray(at, Math.min(at + SECTOR_BYTES, bytes.length)),
        at,
      );
    }
    return bytes;
  }
}
