import { test } from "node:test";
import assert from "node:assert/strict";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import process from "node:process";
import { crc32 } from "node:zlib";
import { hostPlatform } from "../../ffi/mod.ts";
import { type Fd, type Mapping, OsError } from "../../ffi/platform.ts";
import { bytesOf, uniqueName } from "../helpers.ts";
import { OWN_RUNTIME } from "../processes.ts";

// The adapters bind libc by hand, and nothing but these tests checks a symbol's
// types: what each call gives, and what each failure is called.

const host = hostPlatform();

/** A segment of a test's own, removed afterwards. */
function segment(size_bytes = 65_536) {
  const name = uniqueName();
  const fd = host.createSegment(name, 0o600);
  host.truncate(fd, size_bytes);
  const fds = [fd];
  const mappings: Mapping[] = [];
  return {
    name,
    path: `/dev/shm/${name}`,
    fd,
    open: (): Fd => {
      const more = host.openSegment(name);
      fds.push(more);
      return more;
    },
    map: (of = fd): Mapping => {
      const mapping = host.map(of, size_bytes);
      mappings.push(mapping);
      return mapping;
    },
    [Symbol.dispose]() {
      for (const mapping of mappings) mapping.close();
      for (const one of fds) host.close(one);
      if (existsSync(`/dev/shm/${name}`)) host.unlinkSegment(name);
    },
  };
}

function assertOsError(run: () => unknown, code: string): void {
  assert.throws(run, (error) => {
    assert.ok(error instanceof OsError, String(error));
    assert.equal(error.code, code);
    assert.equal(error.name, "OsError");
    return true;
  });
}

test("the platform knows runtime, process and user", () => {
  assert.ok(host.runtime.startsWith(`${OWN_RUNTIME} `), host.runtime);
  assert.equal(host.pid, process.pid);
  assert.equal(host.uid, process.geteuid!());
  assert.ok(host.groups().includes(process.getegid!()));
  for (const group of process.getgroups!()) {
    assert.ok(host.groups().includes(group));
  }
  assert.equal(host.environment("PATH"), process.env["PATH"]);
  assert.equal(host.environment("CORTEX_NO_SUCH_THING"), undefined);
});

test("Platform.createSegment() makes a file in /dev/shm, once", () => {
  using it = segment(8192);
  assert.equal(statSync(it.path).size, 8192);
  assert.equal(statSync(it.path).mode & 0o777, 0o600);
  assertOsError(() => host.createSegment(it.name, 0o600), "EEXIST");
  assert.ok(host.listSegments().includes(it.name));
});

test("Platform.openSegment() refuses what is not there, and names that cannot be", () => {
  assertOsError(() => host.openSegment(uniqueName()), "ENOENT");
  assertOsError(() => host.openSegment("n".repeat(300)), "EINVAL");
  assertOsError(() => host.unlinkSegment(uniqueName()), "ENOENT");
});

test("Platform.renameSegment() gives a name only if it is free", () => {
  using from = segment();
  using to = segment();
  assertOsError(() => host.renameSegment(from.name, to.name), "EEXIST");
  assert.ok(existsSync(from.path) && existsSync(to.path));
  host.unlinkSegment(to.name);
  host.renameSegment(from.name, to.name);
  assert.ok(!existsSync(from.path) && existsSync(to.path));
  assertOsError(() => host.renameSegment(from.name, to.name), "ENOENT");
});

test("Platform.stat() says what the kernel says", () => {
  using it = segment(12_345);
  host.allocate(it.fd, 0, 8192);
  const { ino, uid, gid, ctimeMs } = statSync(it.path);
  const { changed_at, ...found } = host.stat(it.fd);
  // One runtime gives whole seconds only.
  assert.equal(Math.floor(changed_at / 1000), Math.floor(ctimeMs / 1000));
  assert.deepEqual(found, {
    isRegular: true,
    mode: 0o600,
    uid,
    gid,
    inode: ino,
    links: 1,
    size_bytes: 12_345,
    allocated_bytes: 8192,
  });
  host.setMode(it.fd, 0o640);
  assert.equal(host.stat(it.fd).mode, 0o640);
  assert.equal(statSync(it.path).mode & 0o777, 0o640);
  host.unlinkSegment(it.name);
  assert.equal(host.stat(it.fd).links, 0);
});

test("Platform.stat() and truncate() hold sizes above 4 GiB", () => {
  using it = segment();
  for (const size of [2 ** 32 - 1, 2 ** 32, 2 ** 33 + 4096, 2 ** 40]) {
    host.truncate(it.fd, size);
    assert.equal(host.stat(it.fd).size_bytes, size);
    assert.equal(statSync(it.path).size, size);
  }
});

test("calls on a descriptor that is not open fail by name", () => {
  const closed = 987_654;
  assertOsError(() => host.stat(closed), "EBADF");
  assertOsError(() => host.truncate(closed, 1), "EBADF");
  assertOsError(() => host.allocate(closed, 0, 1), "EBADF");
  assertOsError(() => host.setMode(closed, 0o600), "EBADF");
  assertOsError(() => host.tryLock(closed), "EBADF");
  assertOsError(() => host.unlock(closed), "EBADF");
  assertOsError(() => host.tryLockByte(closed, 0), "EBADF");
  assertOsError(() => host.unlockByte(closed, 0), "EBADF");
  assertOsError(() => host.isByteLocked(closed, 0), "EBADF");
  assertOsError(() => host.map(closed, 4096), "EBADF");
});

test("calls with arguments that cannot be fail by name", () => {
  using it = segment();
  assertOsError(() => host.map(it.fd, 0), "EINVAL");
  assertOsError(() => host.truncate(it.fd, -1), "EINVAL");
  assertOsError(() => host.allocate(it.fd, -1, 4096), "EINVAL");
  assertOsError(() => host.allocate(it.fd, 0, 0), "EINVAL");
  assertOsError(() => host.map(it.fd, 2 ** 50), "ENOMEM");
});

test("Platform.allocate() backs a range and keeps what is in it", () => {
  using it = segment(2 ** 20);
  const before = statSync(it.path).blocks;
  assert.equal(before, 0);
  host.allocate(it.fd, 4096, 8192);
  assert.equal(statSync(it.path).blocks * 512, 8192);
  const mapping = it.map();
  new Uint8Array(mapping.window(4096, 8192)).fill(7);
  host.allocate(it.fd, 0, 2 ** 20);
  assert.equal(statSync(it.path).blocks * 512, 2 ** 20);
  const bytes = new Uint8Array(mapping.window(0, 2 ** 20));
  assert.ok(bytes.subarray(4096, 12_288).every((byte) => byte === 7));
  assert.ok(bytes.subarray(0, 4096).every((byte) => byte === 0));
});

test("Platform.read() gives what is there, and no more", () => {
  using it = segment(100);
  host.allocate(it.fd, 0, 100);
  writeFileSync(it.path, Uint8Array.of(1, 2, 3), { flag: "r+" });
  const into = new Uint8Array(4096).fill(9);
  assert.equal(host.read(it.fd, into, 1), 99);
  assert.deepEqual([...into.subarray(0, 3)], [2, 3, 0]);
  assert.equal(into[99], 9);
  assert.equal(host.read(it.fd, into, 100), 0);
  assert.throws(() => host.read(-1, into, 0), { code: "EBADF" });
});

test("Platform.allocate() beyond what the host has is a clean refusal", () => {
  using it = segment();
  assertOsError(() => host.allocate(it.fd, 0, 2 ** 46), "ENOSPC");
  assert.ok(host.stat(it.fd).size_bytes < 2 ** 46);
});

test("Mapping.window() shows the file, and what is written shows in the file", () => {
  using it = segment();
  host.allocate(it.fd, 0, 65_536);
  const mapping = it.map();
  assert.equal(mapping.size_bytes, 65_536);
  const whole = new Uint8Array(mapping.window(0, 65_536));
  const part = new Uint8Array(mapping.window(10_001, 777));
  whole.set(bytesOf("x", 65_536));
  assert.deepEqual(part.slice(), bytesOf("x", 65_536).slice(10_001, 10_778));
  assert.deepEqual(new Uint8Array(readFileSync(it.path)), bytesOf("x", 65_536));
  writeFileSync(it.path, bytesOf("y", 65_536), { flag: "r+" });
  assert.deepEqual(whole.slice(0, 100), bytesOf("y", 65_536).slice(0, 100));
  const other = new Uint8Array(it.map(it.open()).window(0, 65_536));
  assert.deepEqual(other.slice(), bytesOf("y", 65_536));
  other[5] = 99;
  assert.equal(whole[5], 99);
});

test("Mapping.window() refuses what leaves the mapping", () => {
  using it = segment();
  const mapping = it.map();
  for (
    const [offset, length] of [
      [0, 65_537],
      [65_536, 1],
      [65_535, 2],
      [-1, 2],
      [0, 0],
      [0, -1],
      [NaN, 1],
      [0, NaN],
      [2 ** 52, 1],
    ]
  ) assertOsError(() => mapping.window(offset!, length!), "EFAULT");
  assert.equal(mapping.window(65_535, 1).byteLength, 1);
});

test("Mapping.release() empties a window and every view of it, and no other", () => {
  using it = segment();
  host.allocate(it.fd, 0, 65_536);
  const mapping = it.map();
  const window = mapping.window(0, 4096);
  const views = [
    new Uint8Array(window),
    new Uint8Array(window, 100, 8),
    new Uint32Array(window),
  ];
  const other = new Uint8Array(mapping.window(0, 4096));
  views[0]![0] = 42;
  mapping.release(window);
  mapping.release(window);
  assert.equal(window.byteLength, 0);
  for (const view of views) {
    assert.equal(view.length, 0);
    assert.equal(view[0], undefined);
  }
  // Writing to it writes nowhere.
  views[0]![0] = 1;
  assert.equal(other[0], 42);
  mapping.release(new ArrayBuffer(8));
});

test("Mapping.close() empties every window, and ends the mapping", () => {
  using it = segment();
  const mapping = it.map();
  const views = [0, 1, 2].map((i) =>
    new Uint8Array(mapping.window(i * 4096, 4096))
  );
  mapping.close();
  mapping.close();
  for (const view of views) assert.equal(view.length, 0);
  assertOsError(() => mapping.window(0, 1), "EBADF");
});

test("a mapping outlives its descriptor and its name", () => {
  using it = segment();
  const fd = host.openSegment(it.name);
  const mapping = host.map(fd, 65_536);
  const view = new Uint8Array(mapping.window(0, 16));
  host.close(fd);
  host.unlinkSegment(it.name);
  view[3] = 9;
  assert.equal(view[3], 9);
  mapping.close();
});

test("Mapping.window() reaches the far end of a mapping above 4 GiB", () => {
  using it = segment();
  const size = 2 ** 40;
  host.truncate(it.fd, size);
  host.allocate(it.fd, size - 8192, 8192);
  const mapping = host.map(it.fd, size);
  try {
    assert.ok(mapping.windowLimit_bytes >= 2 ** 32 - 1);
    const view = new Uint8Array(mapping.window(size - 8192, 8192));
    view.set(bytesOf("far", 8192));
    const again = new Uint8Array(mapping.window(size - 100, 100));
    assert.deepEqual(again.slice(), bytesOf("far", 8192).slice(-100));
    const limit = mapping.windowLimit_bytes;
    if (limit < size) {
      assertOsError(() => mapping.window(0, limit + 1), "EFAULT");
    }
    // The largest window there is, and never a byte of it touched.
    const large = mapping.window(0, Math.min(limit, 2 ** 33));
    assert.equal(large.byteLength, Math.min(limit, 2 ** 33));
  } finally {
    mapping.close();
  }
});

test("Mapping.populate() touches pages and changes nothing", () => {
  using it = segment(2 ** 20);
  const mapping = it.map();
  const view = new Uint8Array(mapping.window(0, 100));
  view[0] = 5;
  mapping.populate(0, 2 ** 20);
  assert.equal(view[0], 5);
  assert.equal(statSync(it.path).blocks * 512, 2 ** 20);
});

test("Atomics on two mappings of one segment are atomics on one memory", () => {
  using it = segment();
  host.allocate(it.fd, 0, 65_536);
  const a = new Uint32Array(it.map().window(0, 4096));
  const b = new Uint32Array(it.map(it.open()).window(0, 4096));
  for (let i = 0; i < 1000; i++) {
    Atomics.add(a, 3, 1);
    Atomics.add(b, 3, 1);
  }
  assert.equal(Atomics.load(a, 3), 2000);
  assert.equal(Atomics.compareExchange(b, 3, 2000, 7), 2000);
  assert.equal(Atomics.compareExchange(a, 3, 2000, 8), 7);
  Atomics.or(a, 4, 0x8000_0000);
  assert.equal(Atomics.load(b, 4), 0x8000_0000);
});

test("Platform.tryLock() is exclusive between descriptors, not within one", () => {
  using it = segment();
  const other = it.open();
  assert.equal(host.tryLock(it.fd), true);
  assert.equal(host.tryLock(it.fd), true);
  assert.equal(host.tryLock(other), false);
  host.unlock(other);
  assert.equal(host.tryLock(other), false);
  host.unlock(it.fd);
  assert.equal(host.tryLock(other), true);
  host.unlock(other);
});

test("closing a descriptor frees its locks", () => {
  using it = segment();
  const holder = host.openSegment(it.name);
  assert.equal(host.tryLock(holder), true);
  assert.equal(host.tryLockByte(holder, 77), true);
  assert.equal(host.tryLock(it.fd), false);
  assert.equal(host.isByteLocked(it.fd, 77), true);
  host.close(holder);
  assert.equal(host.isByteLocked(it.fd, 77), false);
  assert.equal(host.tryLock(it.fd), true);
});

test("byte locks are exclusive between descriptors, byte by byte", () => {
  using it = segment();
  const other = it.open();
  for (const offset of [0, 1, 4096, 2 ** 32, 2 ** 40 + 5]) {
    assert.equal(host.isByteLocked(other, offset), false);
    assert.equal(host.tryLockByte(it.fd, offset), true);
    assert.equal(host.tryLockByte(it.fd, offset), true);
    assert.equal(host.tryLockByte(other, offset), false);
    assert.equal(host.isByteLocked(other, offset), true);
    // One's own lock is none for oneself.
    assert.equal(host.isByteLocked(it.fd, offset), false);
    assert.equal(host.isByteLocked(other, offset + 1), false);
    assert.equal(host.tryLockByte(other, offset + 1), true);
    host.unlockByte(it.fd, offset);
    assert.equal(host.isByteLocked(other, offset), false);
    assert.equal(host.tryLockByte(other, offset), true);
    host.unlockByte(other, offset);
    host.unlockByte(other, offset + 1);
  }
});

test("Platform.isByteLocked() of a range sees any lock in it, but one's own", () => {
  using it = segment();
  const other = it.open();
  assert.equal(host.isByteLocked(other, 0, 0), false);
  host.tryLockByte(it.fd, 2 ** 33);
  assert.equal(host.isByteLocked(other, 0, 0), true);
  assert.equal(host.isByteLocked(it.fd, 0, 0), false);
  assert.equal(host.isByteLocked(other, 0, 2 ** 33), false);
  assert.equal(host.isByteLocked(other, 0, 2 ** 33 + 1), true);
  assert.equal(host.isByteLocked(other, 2 ** 33 + 1, 0), false);
});

test("a byte lock lives as long as its own descriptor, whoever else closes one", () => {
  // With the locks of POSIX proper, closing any descriptor would drop them all.
  using it = segment();
  assert.equal(host.tryLockByte(it.fd, 5), true);
  const other = host.openSegment(it.name);
  host.close(other);
  const third = it.open();
  assert.equal(host.isByteLocked(third, 5), true);
});

test("byte locks and the lock of the whole file do not see each other", () => {
  using it = segment();
  const other = it.open();
  assert.equal(host.tryLock(it.fd), true);
  assert.equal(host.tryLockByte(other, 5), true);
  assert.equal(host.isByteLocked(it.fd, 5), true);
  assert.equal(host.tryLock(other), false);
});

test("Platform.crc32() is zlib's, and goes on from a seed", () => {
  assert.equal(
    host.crc32(new TextEncoder().encode("123456789")),
    0xcbf4_3926,
  );
  assert.equal(host.crc32(new Uint8Array()), 0);
  assert.equal(host.crc32(new Uint8Array(), 123), 123);
  for (const length of [1, 7, 100, 65_537]) {
    const bytes = bytesOf("crc", length);
    const whole = host.crc32(bytes);
    assert.equal(whole, crc32(bytes));
    const cut = Math.floor(length / 3);
    const first = host.crc32(bytes.subarray(0, cut));
    assert.equal(host.crc32(bytes.subarray(cut), first), whole);
  }
  // Of mapped memory too.
  using it = segment();
  host.allocate(it.fd, 0, 65_536);
  const view = new Uint8Array(it.map().window(16, 50_000));
  view.set(bytesOf("mapped", 50_000));
  assert.equal(host.crc32(view), crc32(bytesOf("mapped", 50_000)));
});

test("Platform.crc32() sums all of an array above 4 GiB, or of the longest there is", () => {
  const memory = host.allocateMemory(2 ** 32 + 4096);
  const size_bytes = Math.min(memory.size_bytes, memory.windowLimit_bytes);
  try {
    // Pages that are only read take no memory.
    const bytes = new Uint8Array(memory.window(0, size_bytes));
    bytes[size_bytes - 1] = 1;
    const part_bytes = 2 ** 28;
    let expected = 7;
    for (let at = 0; at < size_bytes; at += part_bytes) {
      expected = crc32(bytes.subarray(at, at + part_bytes), expected);
    }
    assert.equal(host.crc32(bytes, 7), expected);
  } finally {
    memory.close();
  }
});

test("the platform's clocks go, and its sleep sleeps", () => {
  assert.ok(Math.abs(host.now() - Date.now()) < 1000);
  for (const ms of [0, 0.2, 3, 20.5]) {
    const from = host.monotonic();
    host.sleep(ms);
    const slept = host.monotonic() - from;
    assert.ok(slept >= ms - 0.1 && slept < ms + 500, `${ms}: ${slept}`);
  }
});

test("Platform.randomBytes() gives so many, and never the same", () => {
  assert.equal(host.randomBytes(16).length, 16);
  assert.notDeepEqual(host.randomBytes(16), host.randomBytes(16));
});

test("hostPlatform() is one for the process", () => {
  assert.equal(hostPlatform(), host);
});
