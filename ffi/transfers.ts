/**
 * Transfers between memory and files, several at once: the kernel's own
 * asynchronous I/O (`io_submit`), which needs no threads and is allowed where
 * `io_uring` is not, as in most containers. Where even that is refused, one
 * after the other.
 *
 * @module
 */
import type { Libc } from "./libc.ts";
import type { Region } from "./region.ts";
import {
  type Fd,
  type Mapping,
  OsError,
  type Transfer,
  type Transfers,
} from "./platform.ts";

/** Numbers of the calls. */
const CALLS = {
  x64: {
    io_setup: 206,
    io_destroy: 207,
    io_getevents: 208,
    io_submit: 209,
    pread64: 17,
    pwrite64: 18,
    fcntl: 72,
    O_DIRECT: 0o40000,
  },
  arm64: {
    io_setup: 0,
    io_destroy: 1,
    io_submit: 2,
    io_getevents: 4,
    pread64: 67,
    pwrite64: 68,
    fcntl: 25,
    O_DIRECT: 0o200000,
  },
} as const;

const F_GETFL = 3, F_SETFL = 4;
const EINTR = 4, EAGAIN = 11, EINVAL = 22, ETIMEDOUT = 110;
/** How often in a row what the runtime's own waiting left in `errno` is passed. */
const STRAYS_MAX = 3;
const OPCODES = { read: 0, write: 1 } as const;

// Memory that the kernel is told of: a context, then for each place in the queue
// a `struct iocb`, a pointer to it, and a `struct io_event`.
const CONTEXT_BYTES = 8, IOCB_BYTES = 64, POINTER_BYTES = 8, EVENT_BYTES = 32;

/** What the queue needs of its host. */
export interface TransferHost {
  readonly libc: Libc;
  allocate(size_bytes: number): Region;
  addressOf(mapping: Mapping): number;
  error(syscall: string, errno?: number): OsError;
}

/** A transfer under way: a part of it may be done already. */
interface Active {
  readonly transfer: Transfer;
  done: number;
}

/** {@linkcode Transfers} over the kernel's queue. */
export class KernelTransfers implements Transfers {
  readonly #host: TransferHost;
  readonly #memory: Region;
  readonly #view: DataView;
  readonly #depth: number;
  /** 0: the host has no queue for us, and each call is made at once. */
  readonly #context: number;
  readonly #active: (Active | undefined)[];
  readonly #finished: Transfer[] = [];
  #failure: OsError | undefined;
  #pending = 0;

  constructor(host: TransferHost, depth: number) {
    this.#host = host;
    this.#depth = depth;
    const bytes = CONTEXT_BYTES +
      depth * (IOCB_BYTES + POINTER_BYTES + EVENT_BYTES);
    this.#memory = host.allocate(bytes);
    this.#view = new DataView(this.#memory.view(0, bytes));
    this.#active = Array.from({ length: depth });
    const made = depth > 1 &&
      this.#call("io_setup", depth, this.#memory.address) === 0;
    this.#context = made ? Number(this.#view.getBigUint64(0, true)) : 0;
  }

  get pending(): number {
    return this.#pending + this.#finished.length;
  }

  start(transfer: Transfer): void {
    while (this.#pending === this.#depth) this.#reap();
    const place = this.#active.indexOf(undefined);
    this.#active[place] = { transfer, done: 0 };
    this.#pending++;
    this.#submit(place);
  }

  wait(): Transfer | undefined {
    while (this.#finished.length === 0 && this.#pending > 0) this.#reap();
    this.#throwFailure();
    return this.#finished.shift();
  }

  close(): void {
    // The kernel may be writing into memory of ours: not before it is done.
    while (this.#pending > 0) this.#reap();
    if (this.#context !== 0) this.#call("io_destroy", this.#context);
    this.#memory.munmap();
  }

  #throwFailure(): void {
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure) throw failure;
  }

  /** Has the kernel do what is left of the transfer at that place. */
  #submit(place: number): void {
    const { transfer, done } = this.#active[place]!;
    const { kind, fd, mapping, offset, length, position } = transfer;
    if (this.#context === 0) return this.#now(place);
    const view = this.#view;
    const iocb = CONTEXT_BYTES + place * IOCB_BYTES;
    const pointer = CONTEXT_BYTES + this.#depth * IOCB_BYTES +
      place * POINTER_BYTES;
    const u64 = (at: number, value: number) =>
      view.setBigUint64(at, BigInt(value), true);
    u64(iocb, place); // aio_data
    u64(iocb + 8, 0); // aio_key, aio_rw_flags
    view.setUint16(iocb + 16, OPCODES[kind], true);
    view.setInt16(iocb + 18, 0, true); // aio_reqprio
    view.setUint32(iocb + 20, fd, true);
    u64(iocb + 24, this.#host.addressOf(mapping) + offset + done);
    u64(iocb + 32, length - done);
    u64(iocb + 40, position + done);
    u64(iocb + 48, 0);
    u64(iocb + 56, 0); // flags, resfd
    u64(pointer, this.#memory.address + iocb);
    const { address } = this.#memory;
    const result = this.#call("io_submit", this.#context, 1, address + pointer);
    if (result === 1) return;
    // Refused by the queue, not by the file: do it here and now.
    this.#now(place);
  }

  /** Without the queue. */
  #now(place: number): void {
    const { transfer, done } = this.#active[place]!;
    const { kind, fd, mapping, offset, length, position } = transfer;
    const name = kind === "read" ? "pread64" : "pwrite64";
    const address = this.#host.addressOf(mapping) + offset + done;
    const result = this.#retry(() =>
      this.#call(name, fd, address, length - done, position + done)
    );
    this.#complete(place, result);
  }

  /** Waits for one or more transfers of the queue. */
  #reap(): void {
    const events = CONTEXT_BYTES +
      this.#depth * (IOCB_BYTES + POINTER_BYTES);
    const count = this.#retry(() =>
      this.#call(
        "io_getevents",
        this.#context,
        1,
        this.#depth,
        this.#memory.address + events,
        0,
      )
    );
    if (count < 0) throw this.#host.error("io_getevents", -count);
    const results = Array.from({ length: count }, (_, i) => {
      const at = events + i * EVENT_BYTES;
      return [
        Number(this.#view.getBigUint64(at, true)),
        Number(this.#view.getBigInt64(at + 16, true)),
      ] as const;
    });
    for (const [place, result] of results) this.#complete(place, result);
  }

  #complete(place: number, result: number): void {
    const active = this.#active[place]!;
    const { transfer } = active;
    if (result === -EINVAL && this.#makeBuffered(transfer.fd)) {
      return this.#submit(place);
    }
    if (result > 0) active.done += result;
    // A short write may go on; a short read has come to the end of the file.
    const short = active.done < transfer.length;
    if (result > 0 && short && transfer.kind === "write") {
      return this.#submit(place);
    }
    this.#active[place] = undefined;
    this.#pending--;
    transfer.done = active.done;
    if (result < 0) {
      this.#failure ??= this.#host.error(transfer.kind, -result);
    } else if (short && transfer.kind === "write") {
      this.#failure ??= new OsError("write", "EIO");
    }
    this.#finished.push(transfer);
  }

  /** The file refuses direct transfers like this one: through the page cache, then. */
  #makeBuffered(fd: Fd): boolean {
    const { O_DIRECT } = CALLS[this.#host.libc.architecture];
    const flags = this.#call("fcntl", fd, F_GETFL);
    if (flags < 0 || (flags & O_DIRECT) === 0) return false;
    return this.#call("fcntl", fd, F_SETFL, flags & ~O_DIRECT) === 0;
  }

  /**
   * Calls again when a signal came between; and a few times when `errno` may be
   * the runtime's own, for a disk's may be the same.
   */
  #retry(call: () => number): number {
    for (let strays = 0;;) {
      const result = call();
      if (result === -EINTR) continue;
      const isStray = result === -EAGAIN || result === -ETIMEDOUT;
      if (!isStray || ++strays > STRAYS_MAX) return result;
    }
  }

  /** What the kernel says: a result, or an error's number below 0. */
  #call(
    name: Exclude<keyof typeof CALLS.x64, "O_DIRECT">,
    ...args: [number, number?, number?, number?, number?]
  ): number {
    const { libc } = this.#host;
    const result = libc.syscall(CALLS[libc.architecture][name], ...args);
    return result === -1 ? -libc.errno() : result;
  }
}
