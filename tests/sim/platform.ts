/**
 * The host of a simulated process. Locks, clock, chance, faults and what a disk
 * keeps through a power loss are the simulation's own; memory is a real mapping,
 * because views of it must detach as real ones do.
 *
 * @module
 */
import { hostPlatform } from "../../ffi/mod.ts";
import {
  type Fd,
  type FileAccess,
  type Files,
  type FileStat,
  type Mapping,
  OsError,
  type Platform,
  type Transfer,
  type Transfers,
} from "../../ffi/platform.ts";
import type { Disk } from "./disk.ts";
import type { Shared } from "./shared.ts";

/** Thrown at a process that dies, at every step that it still tries. */
export class Killed extends Error {
  override readonly name = "Killed";
}

/** What each call may be refused with, beside what it is refused with anyway. */
const FAULTS: Readonly<Record<string, readonly string[]>> = {
  createSegment: ["EMFILE", "ENOSPC"],
  openSegment: ["EMFILE", "ENFILE"],
  renameSegment: ["ENOSPC"],
  unlinkSegment: ["EACCES"],
  listSegments: ["EMFILE"],
  stat: ["EIO"],
  setMode: ["EPERM"],
  truncate: ["ENOSPC"],
  allocate: ["ENOSPC", "ENOSPC", "EDQUOT"],
  map: ["ENOMEM"],
  tryLock: ["ENOLCK"],
  tryLockByte: ["ENOLCK"],
  isByteLocked: ["ENOLCK"],
  open: ["EMFILE", "EACCES", "EIO"],
  read: ["EIO"],
  write: ["ENOSPC", "EIO"],
  size: ["EIO"],
  sync: ["EIO", "ENOSPC"],
  rename: ["EIO"],
  remove: ["EIO"],
  makeDirectory: ["ENOSPC"],
  openDirectory: ["EMFILE"],
  list: ["EIO"],
};

const STOP_LONGEST_MS = 60_000;
const UNLOCK_LONGEST_MS = 220;

export class SimPlatform implements Platform {
  readonly runtime = "simulation";
  readonly pid: number;
  readonly uid: number;
  readonly files: Files;
  readonly #host = hostPlatform();
  readonly #shared: Shared;
  readonly #fds = new Map<Fd, "segment" | "file">();
  readonly #inodes = new Map<Fd, number>();
  readonly #mappings = new Set<Mapping>();
  #dead = false;

  constructor(shared: Shared, disk: Disk, pid: number) {
    this.#shared = shared;
    this.pid = pid;
    this.uid = this.#host.uid;
    this.files = this.#filesOf(disk);
  }

  groups(): number[] {
    return this.#host.groups();
  }

  // --------------------------------------------------------------- segments

  createSegment(name: string, mode: number): Fd {
    this.step("createSegment");
    return this.#opened(this.#host.createSegment(name, mode), "segment");
  }

  openSegment(name: string): Fd {
    this.step("openSegment");
    return this.#opened(this.#host.openSegment(name), "segment");
  }

  renameSegment(from: string, to: string): void {
    this.step("renameSegment");
    this.#host.renameSegment(from, to);
  }

  unlinkSegment(name: string): void {
    this.step("unlinkSegment");
    this.#host.unlinkSegment(name);
  }

  listSegments(): string[] {
    this.step("listSegments");
    return this.#host.listSegments().sort();
  }

  createFile(path: string, mode: number): Fd {
    this.step("open");
    return this.#opened(this.#host.createFile(path, mode), "segment");
  }

  openFile(path: string): Fd {
    this.step("open");
    return this.#opened(this.#host.openFile(path), "segment");
  }

  renameFile(from: string, to: string): void {
    this.step("rename");
    this.#host.renameFile(from, to);
  }

  close(fd: Fd): void {
    this.step();
    this.#close(fd);
  }

  stat(fd: Fd): FileStat {
    this.step("stat");
    return this.#host.stat(fd);
  }

  setMode(fd: Fd, mode: number): void {
    this.step("setMode");
    this.#host.setMode(fd, mode);
  }

  read(fd: Fd, into: Uint8Array, offset: number): number {
    this.step("read");
    return this.#host.read(fd, into, offset);
  }

  truncate(fd: Fd, size_bytes: number): void {
    this.step("truncate");
    this.#host.truncate(fd, size_bytes);
  }

  allocate(fd: Fd, offset: number, length: number): void {
    this.step("allocate");
    this.#host.allocate(fd, offset, length);
  }

  map(fd: Fd, size_bytes: number): Mapping {
    this.step("map");
    const mapping = this.#host.map(fd, size_bytes);
    this.#mappings.add(mapping);
    return mapping;
  }

  allocateMemory(size_bytes: number): Mapping {
    this.step("map");
    const mapping = this.#host.allocateMemory(size_bytes);
    this.#mappings.add(mapping);
    return mapping;
  }

  openTransfers(): Transfers {
    this.step("map");
    return new SimTransfers(this, this.#shared);
  }

  // ------------------------------------------------------------------ locks

  tryLock(fd: Fd): boolean {
    this.step("tryLock");
    return this.#shared.tryLock(this.#inode(fd), -1, fd);
  }

  unlock(fd: Fd): void {
    this.step();
    this.#shared.unlock(fd, -1);
  }

  tryLockByte(fd: Fd, offset: number): boolean {
    this.step("tryLockByte");
    return this.#shared.tryLock(this.#inode(fd), offset, fd);
  }

  unlockByte(fd: Fd, offset: number): void {
    this.step();
    this.#shared.unlock(fd, offset);
  }

  isByteLocked(fd: Fd, offset: number, length = 1): boolean {
    this.step("isByteLocked");
    return this.#shared.isLockedElsewhere(
      this.#inode(fd),
      offset,
      fd,
      length,
    );
  }

  // -------------------------------------------------------- clock and chance

  copy(to: Uint8Array, from: Uint8Array): void {
    this.step();
    this.#host.copy(to, from);
  }

  copyAndSum(to: Uint8Array, from: Uint8Array, seed?: number): number {
    this.step();
    return this.#host.copyAndSum(to, from, seed);
  }

  crc32(bytes: Uint8Array, seed?: number): number {
    return this.#host.crc32(bytes, seed);
  }

  now(): number {
    return Math.floor(1_700_000_000_000 + this.monotonic());
  }

  monotonic(): number {
    this.#shared.clock += 0.001;
    return this.#shared.clock;
  }

  sleep(milliseconds: number): void {
    this.#shared.clock += milliseconds;
    this.step();
    this.#yield();
  }

  randomBytes(count: number): Uint8Array {
    return Uint8Array.from({ length: count }, () => this.#shared.random(256));
  }

  testedRuntime(): undefined {
    return undefined;
  }

  libcVersion(): string {
    return this.#host.libcVersion();
  }

  compress(bytes: Uint8Array): Uint8Array {
    return this.#host.compress(bytes);
  }

  decompress(bytes: Uint8Array, size_bytes: number): Uint8Array {
    return this.#host.decompress(bytes, size_bytes);
  }

  bootId(): string {
    return "00000000-0000-0000-0000-000000000000";
  }

  homeDirectory(): undefined {
    return undefined;
  }

  environment(): undefined {
    return undefined;
  }

  // ------------------------------------------------------------------ steps

  /** One step of this process: others may come before it, or it dies, or fails. */
  step(call?: string): void {
    if (this.#dead) throw new Killed();
    const shared = this.#shared;
    if (shared.yieldsNow()) this.#yield();
    const { dieOneIn, faultOneIn } = shared.wildness;
    if (shared.oneIn(dieOneIn)) this.die();
    const codes = call === undefined ? undefined : FAULTS[call];
    if (codes && shared.oneIn(faultOneIn)) {
      shared.countFault();
      throw new OsError(call!, shared.pick(codes));
    }
  }

  /** A step between two accesses of shared memory. */
  touch(): void {
    if (this.#dead) throw new Killed();
    if (!this.#shared.yieldsNow()) return;
    this.#yield();
    if (this.#shared.oneIn(this.#shared.wildness.dieOneIn)) this.die();
  }

  /** From here on this process does nothing more, whatever tidies up. */
  die(): never {
    this.#dead = true;
    this.#shared.releaseAll(this.#shared.random(UNLOCK_LONGEST_MS));
    throw new Killed();
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** What the kernel takes back when a process ends. */
  end(): void {
    this.#dead = true;
    for (const mapping of this.#mappings) mapping.close();
    for (const fd of [...this.#fds.keys()]) this.#close(fd);
    this.#mappings.clear();
  }

  /** Whether a name still leads to the segment; no step of the process. */
  isNamed(fd: Fd): boolean {
    return this.#host.stat(fd).links > 0;
  }

  #yield(): void {
    const shared = this.#shared;
    shared.step();
    if (shared.oneIn(shared.wildness.stopOneIn)) {
      shared.stop(shared.me, shared.clock + shared.random(STOP_LONGEST_MS));
    }
    const next = shared.runnable();
    shared.pass(next.length > 0 ? shared.pick(next) : shared.wakeOne()!);
  }

  #opened(fd: Fd, kind: "segment" | "file"): Fd {
    this.#fds.set(fd, kind);
    return fd;
  }

  #close(fd: Fd): void {
    const kind = this.#fds.get(fd);
    if (kind === undefined) throw new Error(`${fd} is closed already`);
    this.#fds.delete(fd);
    this.#inodes.delete(fd);
    this.#shared.unlock(fd);
    if (kind === "segment") this.#host.close(fd);
    else this.#host.files.close(fd);
  }

  #inode(fd: Fd): number {
    const known = this.#inodes.get(fd);
    if (known !== undefined) return known;
    const { inode } = this.#host.stat(fd);
    this.#inodes.set(fd, inode);
    return inode;
  }

  // ------------------------------------------------------------------ files

  #filesOf(disk: Disk): Files {
    const host = this.#host.files;
    const step = (call: string) => this.step(call);
    return {
      open: (path, access, mode) => {
        step("open");
        // Past the page cache or not is all one to this disk.
        const plain = access.replace("direct ", "") as FileAccess;
        return this.#opened(host.open(path, plain, mode), "file");
      },
      close: (fd) => {
        this.step();
        this.#close(fd);
      },
      read: (fd, into, position) => {
        step("read");
        return host.read(fd, into, position);
      },
      write: (fd, bytes, position) => {
        // Who dies or fails in a write may have written some of it.
        const before = this.#shared.random(bytes.length + 1);
        try {
          step("write");
        } catch (error) {
          host.write(fd, bytes.subarray(0, before), position);
          throw error;
        }
        host.write(fd, bytes, position);
      },
      size: (fd) => {
        step("size");
        return host.size(fd);
      },
      sync: (fd) => {
        step("sync");
        disk.sync(fd);
      },
      rename: (from, to) => {
        step("rename");
        host.rename(from, to);
      },
      remove: (path) => {
        step("remove");
        host.remove(path);
      },
      makeDirectory: (path, mode) => {
        step("makeDirectory");
        host.makeDirectory(path, mode);
      },
      openDirectory: (path) => {
        step("openDirectory");
        return this.#opened(host.openDirectory(path), "file");
      },
      list: (path) => {
        step("list");
        return host.list(path).sort();
      },
      exists: (path) => {
        step("exists");
        return host.exists(path);
      },
      absolute: (path) => host.absolute(path),
      link: (target, path) => {
        step("link");
        host.link(target, path);
      },
      linkTarget: (path) => {
        step("linkTarget");
        return host.linkTarget(path);
      },
      stat: (path) => {
        step("stat");
        return host.stat(path);
      },
      realPath: (path) => {
        step("stat");
        return host.realPath(path);
      },
      space: (path) => host.space(path),
    };
  }
}

/** Transfers of which any may be over first, or none when their process dies. */
class SimTransfers implements Transfers {
  readonly #platform: SimPlatform;
  readonly #shared: Shared;
  readonly #underWay: Transfer[] = [];

  constructor(platform: SimPlatform, shared: Shared) {
    this.#platform = platform;
    this.#shared = shared;
  }

  get pending(): number {
    return this.#underWay.length;
  }

  start(transfer: Transfer): void {
    this.#platform.step();
    this.#underWay.push(transfer);
  }

  wait(): Transfer | undefined {
    if (this.#underWay.length === 0) return undefined;
    const at = this.#shared.random(this.#underWay.length);
    const [transfer] = this.#underWay.splice(at, 1);
    this.#move(transfer!);
    return transfer;
  }

  close(): void {
    while (this.#underWay.length > 0) this.#move(this.#underWay.pop()!);
  }

  #move(transfer: Transfer): void {
    const { kind, fd, mapping, offset, length, position } = transfer;
    const { files } = this.#platform;
    const window = mapping.window(offset, length);
    const bytes = new Uint8Array(window);
    try {
      if (kind === "write") files.write(fd, bytes, position);
      transfer.done = kind === "write"
        ? length
        : files.read(fd, bytes, position);
    } finally {
      mapping.release(window);
    }
  }
}
