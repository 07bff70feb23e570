/** Signals come between any two instructions, and a system moves fewer bytes than asked. */
import { test } from "node:test";
import assert from "node:assert/strict";
import fs, { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { bindBun } from "../../ffi/bun.ts";
import { bindDeno } from "../../ffi/deno.ts";
import { type Libc, LibcPlatform } from "../../ffi/libc.ts";
import { persist, restore } from "../../lib/snapshot/mod.ts";
import {
  assertBytes,
  assertWhole,
  bytesOf,
  Pool,
  tempName,
  tempPool,
  valueOf,
} from "../helpers.ts";
import { TempSnapshot } from "../snapshots.ts";
import { OWN_RUNTIME } from "../processes.ts";

const EINTR = 4, EAGAIN = 11;
/** Calls that the kernel never interrupts, or that must not be made again. */
const UNINTERRUPTED = new Set([
  ...["crc32", "errno", "close", "mmap", "getpid", "geteuid", "getegid"],
]);

/** `io_setup` and `io_submit`: who cannot have a queue does without. */
const QUEUEING = process.arch === "arm64" ? [0, 2] : [206, 209];

/**
 * libc on a host where every call is interrupted twice before it comes true; what
 * the runtime did meanwhile hides that the second time, in calls by number.
 */
function interruptedLibc() {
  const libc = OWN_RUNTIME === "deno" ? bindDeno() : bindBun();
  let errno: number | undefined, interruptions = 0;
  const counts = new Map<string, number>();
  const wrapped = new Proxy(libc, {
    get(_, name) {
      const value: unknown = Reflect.get(libc, name, libc);
      if (typeof value !== "function") return value;
      if (name === "errno") return () => errno ?? libc.errno();
      if (UNINTERRUPTED.has(String(name))) return value.bind(libc);
      return (...args: unknown[]) => {
        const isNumbered = name === "syscall";
        const call = isNumbered ? `${name} ${args[0]}` : String(name);
        const count = (counts.get(call) ?? 0) + 1;
        counts.set(call, count);
        const isSpared = isNumbered && QUEUEING.includes(Number(args[0]));
        errno = isSpared || count % 3 === 0
          ? undefined
          : isNumbered && count % 3 === 2
          ? EAGAIN
          : EINTR;
        if (errno !== undefined) interruptions++;
        return errno !== undefined ? -1 : value.apply(libc, args);
      };
    },
  });
  return { libc: wrapped as Libc, interruptions: () => interruptions };
}

test("what a disk says again and again is an error, not the runtime's", () => {
  const libc = OWN_RUNTIME === "deno" ? bindDeno() : bindBun();
  for (const [said, number] of [["ETIMEDOUT", 110], ["EAGAIN", EAGAIN]]) {
    let isRefused = false;
    const wrapped = new Proxy(libc, {
      get(_, name) {
        const value: unknown = Reflect.get(libc, name, libc);
        if (name === "errno") return () => isRefused ? number : libc.errno();
        if (name !== "syscall") {
          return typeof value === "function" ? value.bind(libc) : value;
        }
        // No queue, and every transfer is refused.
        return () => {
          isRefused = true;
          return -1;
        };
      },
    });
    const platform = new LibcPlatform(wrapped as Libc);
    using temp = tempPool({ size: "1M", platform });
    using snapshot = new TempSnapshot();
    temp.pool.put("k", bytesOf("k", 9000));
    assert.throws(
      () => persist(temp.pool, { path: snapshot.path }),
      new RegExp(`write said ${said}`),
    );
    isRefused = false;
    temp.pool.close();
  }
});

/** A pool's whole life. */
function live(platform?: LibcPlatform): void {
  const directory = mkdtempSync(join(tmpdir(), "cortex-interrupted-"));
  using temp = tempName();
  try {
    {
      using pool = Pool.create(temp.name, { size: "1M", platform });
      using other = Pool.open(temp.name, { platform });
      for (let i = 0; i < 20; i++) pool.put(`k${i}`, bytesOf(i, 9000 + i));
      other.delete("k1");
      other.evict({ percent: 10 });
      persist(pool, { path: directory });
    }
    Pool.destroy(temp.name, { platform });
    restore(temp.name, { path: directory, platform });
    using pool = Pool.open(temp.name, { platform });
    assertBytes(valueOf(pool, "k19"), bytesOf(19, 9019));
    assert.ok(pool.status().entries > 10);
    assertWhole(pool);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test("calls that a signal interrupts are made again", () => {
  const { libc, interruptions } = interruptedLibc();
  live(new LibcPlatform(libc));
  assert.ok(interruptions() > 50, `${interruptions()}`);
});

test("reads and writes that move fewer bytes than asked go on where they stopped", () => {
  const { readSync, writeSync } = fs;
  const read = readSync as (...args: unknown[]) => number;
  const write = writeSync as (...args: unknown[]) => number;
  let cut = 0;
  /** `(fd, buffer, offset, length, position)`, with half the length at most. */
  const halved = (call: typeof read) => (...args: unknown[]) => {
    const length = args[3];
    if (typeof length === "number" && length > 1) {
      args[3] = Math.ceil(length / 2);
      cut++;
    }
    return call(...args);
  };
  Object.assign(fs, { readSync: halved(read), writeSync: halved(write) });
  try {
    live();
  } finally {
    Object.assign(fs, { readSync, writeSync });
  }
  assert.ok(cut > 5, `${cut} were cut short`);
});

test("file calls that a signal interrupts are made again", () => {
  const names = ["readSync", "writeSync", "openSync", "fsyncSync"] as const;
  const originals = names.map((name) =>
    fs[name] as (...a: unknown[]) => unknown
  );
  let calls = 0, interruptions = 0;
  names.forEach((name, i) =>
    Object.assign(fs, {
      [name]: (...args: unknown[]) => {
        if (++calls % 2 === 0) return originals[i]!(...args);
        interruptions++;
        throw Object.assign(new Error("interrupted"), {
          code: "EINTR",
          syscall: name,
        });
      },
    })
  );
  try {
    live();
  } finally {
    names.forEach((name, i) => Object.assign(fs, { [name]: originals[i] }));
  }
  assert.ok(interruptions > 5, `${interruptions}`);
});

for (const [code, errno] of [["EAGAIN", 11], ["ETIMEDOUT", 110]] as const) {
  test(`${code} that the runtime's own waiting left in errno is not taken for the call's`, () => {
    const libc = OWN_RUNTIME === "deno" ? bindDeno() : bindBun();
    let looks = 0;
    const wrapped = new Proxy(libc, {
      get(_, name) {
        const value: unknown = Reflect.get(libc, name, libc);
        if (name === "errno") {
          return () => ++looks <= 2 ? errno : libc.errno();
        }
        return typeof value === "function" ? value.bind(libc) : value;
      },
    });
    const platform = new LibcPlatform(wrapped as Libc);
    using temp = tempName();
    assert.throws(() => Pool.open(temp.name, { platform }), {
      code: "NOT_FOUND",
    });
    assert.ok(looks > 2);
  });
}
