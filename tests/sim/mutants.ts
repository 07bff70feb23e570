/**
 * Defects, to be built into the library on purpose: a simulation that does not
 * find each of them proves nothing.
 *
 * @module
 */
import { Bitmap } from "../../lib/bitmap.ts";
import { Header } from "../../lib/header.ts";
import { KeyIndex } from "../../lib/key_index.ts";
import { PoolLock } from "../../lib/lock.ts";
import { OwnPins, Slots } from "../../lib/slots.ts";
import { Disk } from "./disk.ts";
import { SimPlatform } from "./platform.ts";

/** Each builds one defect into this thread's library. */
export const MUTANTS: Readonly<Record<string, () => void>> = {
  /** An evictor that does not look at the pins. */
  "pins are not looked at": () => {
    Slots.prototype.isPinned = () => false;
  },

  /** A reader that uses what it has found without pinning it. */
  "a hit is not pinned": () => {
    OwnPins.prototype.pin = () => {};
  },

  /** Stores in the wrong order: doomed before readers can tell that something moves. */
  "doomed before readers are warned": () => {
    const { remove } = KeyIndex.prototype;
    KeyIndex.prototype.remove = function (entry, hash, first = () => {}) {
      first();
      return remove.call(this, entry, hash);
    };
  },

  /** A change that is not marked, so that nobody mends what its maker leaves. */
  "dirty is not set": () => {
    const { publish } = Header.prototype;
    Header.prototype.publish = function (name, value) {
      publish.call(this, name, name === "dirty" ? 0 : value);
    };
  },

  /** The last block of every entry is never given back. */
  "a block leaks": () => {
    const { clear } = Bitmap.prototype;
    Bitmap.prototype.clear = function (start, count) {
      clear.call(this, start, Math.max(0, count - 1));
    };
  },

  /** Two writers at once. */
  "the lock is not taken": () => {
    PoolLock.prototype.acquire = () => {};
    PoolLock.prototype.release = () => {};
  },

  /** A checksum that is never compared. */
  "every checksum is right": () => {
    SimPlatform.prototype.crc32 = () => 0;
  },

  /** A snapshot that counts before it is on the disk. */
  "nothing is synced": () => {
    Disk.prototype.sync = () => {};
  },
};

/** @throws {Error} if there is no such mutant. */
export function applyMutant(name: string): void {
  const mutate = MUTANTS[name];
  if (!mutate) throw new Error(`there is no mutant ${name}`);
  mutate();
}
