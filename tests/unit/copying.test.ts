/** Copies past the processor's cache: what they copy, what it sums up to, and where there are none. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { copying, STREAMED_MIN_BYTES } from "../../ffi/copying.ts";
import type { Libc } from "../../ffi/libc.ts";
import type { Region } from "../../ffi/region.ts";
import { COPY_X64, machineCode } from "../../ffi/machine_code.ts";
import { hostPlatform, openedLibc } from "../../ffi/mod.ts";
import { cases, fc } from "../cases.ts";

const platform = hostPlatform();
const libc = openedLibc()!;
const CANARY = 0xa5;

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  return bytes;
}

const SOURCE = randomBytes(5 * STREAMED_MIN_BYTES);
const TARGET = new Uint8Array(SOURCE.length + 256);

/** A copy by `run` is one, and touches nothing beside its target. */
function expectCopied(
  length: number,
  from: number,
  to: number,
  run: (target: Uint8Array, source: Uint8Array) => void,
): void {
  const source = SOURCE.subarray(from, from + length);
  TARGET.fill(CANARY);
  run(TARGET.subarray(to, to + length), source);
  assert.equal(
    Buffer.compare(TARGET.subarray(to, to + length), source),
    0,
    "other bytes",
  );
  for (const beside of [TARGET.subarray(0, to), TARGET.subarray(to + length)]) {
    assert.ok(beside.every((byte) => byte === CANARY), "others were touched");
  }
}

const lengths = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.integer({ min: STREAMED_MIN_BYTES - 70, max: STREAMED_MIN_BYTES + 200 }),
  fc.integer({ min: STREAMED_MIN_BYTES, max: 3 * STREAMED_MIN_BYTES }),
);
const shifts = fc.oneof(
  fc.constantFrom(0, 16, 64),
  fc.integer({ min: 0, max: 127 }),
);

test("a copy copies, and its sum is that of its bytes, at any length and place", () => {
  fc.assert(
    fc.property(
      lengths,
      shifts,
      shifts,
      fc.nat({ max: 0xffff_ffff }),
      (length, from, to, seed) => {
        expectCopied(length, from, to, (target, source) => {
          platform.copy(target, source);
        });
        expectCopied(length, from, to, (target, source) => {
          assert.equal(
            platform.copyAndSum(target, source, seed),
            platform.crc32(source, seed),
          );
        });
      },
    ),
    { numRuns: cases(200) },
  );
});

test("a target may be longer than what is copied, but not shorter", () => {
  for (const length of [100, STREAMED_MIN_BYTES, STREAMED_MIN_BYTES + 65]) {
    const source = SOURCE.subarray(0, length);
    const longer = new Uint8Array(length + 1000).fill(CANARY);
    const crc = platform.copyAndSum(longer, source);
    assert.equal(crc, platform.crc32(source));
    assert.equal(Buffer.compare(longer.subarray(0, length), source), 0);
    assert.ok(longer.subarray(length).every((byte) => byte === CANARY));
    const shorter = new Uint8Array(length - 1);
    assert.throws(() => platform.copy(shorter, source), RangeError);
    assert.throws(() => platform.copyAndSum(shorter, source), RangeError);
  }
});

test("memory that threads share is copied, too", () => {
  const length = 5 * STREAMED_MIN_BYTES; // of several parts
  const shared = new Uint8Array(new SharedArrayBuffer(length));
  const source = randomBytes(length);
  assert.equal(platform.copyAndSum(shared, source), platform.crc32(source));
  const target = new Uint8Array(length);
  assert.equal(platform.copyAndSum(target, shared), platform.crc32(source));
  assert.equal(Buffer.compare(target, source), 0);
});

test("an array that lies about itself gets nothing but its own bytes copied", () => {
  const length = STREAMED_MIN_BYTES + 63;
  const longer = new Uint8Array(length);
  Object.defineProperty(longer, "length", { value: 4 * length });
  const detaching = (reads: number) =>
    new class extends Uint8Array {
      override get length() {
        if (reads-- === 0) super.buffer.transfer(0);
        return length;
      }
    }(length);
  const cut = new class extends Uint8Array {
    override subarray() {
      return new Uint8Array(1);
    }
  }(SOURCE.subarray(0, length));
  const target = new Uint8Array(4 * length).fill(CANARY);
  for (const liar of [longer, ...[0, 1, 2, 3, 4, 5].map(detaching)]) {
    try {
      platform.copy(target, liar);
    } catch (error) {
      assert.ok(error instanceof TypeError); // of `set`: it is detached
    }
    assert.ok(target.subarray(length).every((byte) => byte === CANARY));
  }
  const crc = platform.copyAndSum(target, cut);
  assert.equal(
    Buffer.compare(target.subarray(0, length), SOURCE.subarray(0, length)),
    0,
  );
  assert.equal(crc, platform.crc32(SOURCE.subarray(0, length)));
});

test("the sum is of what was copied, to the last byte", () => {
  // A source that changes once the whole lines of it are copied.
  const length = STREAMED_MIN_BYTES + 5;
  const source = SOURCE.slice(0, length);
  const target = new class extends Uint8Array {
    override set(bytes: ArrayLike<number>, at?: number) {
      source[length - 1]! ^= 0xff;
      super.set(bytes, at);
      source[length - 1]! ^= 0xff;
    }
  }(length);
  const crc = platform.copyAndSum(target, source);
  assert.equal(crc, platform.crc32(new Uint8Array(target)));
});

/** What a host did that was asked for memory to run code in. */
interface Host {
  readonly libc: Libc;
  readonly protections: number[];
  copies: number;
  unmapped: number;
}

function hostThat(
  {
    maps = true,
    protects = true,
    knows = true,
    architecture = "x64" as const as
      | "x64"
      | "arm64",
  },
): Host {
  const host: Host = {
    libc: {
      ...libc,
      architecture,
      mmap: (...args) => {
        const region = maps ? libc.mmap(...args) : undefined;
        return region && watched(region);
      },
    },
    protections: [],
    copies: 0,
    unmapped: 0,
  };
  const watched = (region: Region): Region => ({
    ...region,
    mprotect: (offset, length, protection) => {
      host.protections.push(protection);
      return protects ? region.mprotect(offset, length, protection) : -1;
    },
    munmap: () => {
      host.unmapped++;
      return region.munmap();
    },
    asFunction: (offset) => {
      const run = region.asFunction(offset);
      return (to, from, bytes) => {
        if (offset === 0) host.copies++;
        return knows || offset === 0 ? run(to, from, bytes) : 0;
      };
    },
  });
  return host;
}

/** Copies by that host, which must come out right: once too little to be streamed. */
function copyOn({ libc }: Host): void {
  const { copy, copyAndSum } = copying(libc);
  for (const length of [STREAMED_MIN_BYTES - 1, STREAMED_MIN_BYTES, 300_000]) {
    const source = SOURCE.subarray(0, length);
    const target = new Uint8Array(length);
    assert.equal(copyAndSum(target, source, 7), platform.crc32(source, 7));
    assert.equal(Buffer.compare(target, source), 0);
    target.fill(0);
    copy(target, source);
    assert.equal(Buffer.compare(target, source), 0);
  }
}

const isX64 = process.arch === "x64" &&
  readFileSync("/proc/cpuinfo", "utf8").includes(" pclmulqdq ");
const ELSEWHERE = !isX64 && "this processor has not the instructions";

test(
  "large copies go past the cache, by code that is never writable while it runs",
  { skip: ELSEWHERE },
  () => {
    const host = hostThat({});
    copyOn(host);
    assert.equal(host.copies, 4);
    assert.deepEqual(host.protections, [1 | 4]); // PROT_READ | PROT_EXEC, once
    assert.equal(host.unmapped, 0);
  },
);

test("where a host lets nobody make code, copies are as anywhere", () => {
  const forbidding = hostThat({ protects: false });
  copyOn(forbidding);
  assert.equal(forbidding.copies, 0);
  assert.equal(forbidding.unmapped, isX64 ? 1 : 0);
  const full = hostThat({ maps: false });
  copyOn(full);
  assert.equal(full.copies, 0);
  const old = hostThat({ knows: false }); // without PCLMULQDQ
  copyOn(old);
  assert.equal(old.copies, 0);
  assert.equal(old.unmapped, isX64 ? 1 : 0);
  const other = hostThat({ architecture: "arm64" });
  copyOn(other);
  assert.deepEqual(other.protections, []);
});

const AS = spawnSync("as", ["--version"]);
const NO_ASSEMBLER = AS.status !== 0 && "there is no assembler: as";

test(
  "the assembler says the machine code again",
  { skip: ELSEWHERE || NO_ASSEMBLER },
  () => {
    const scratch = mkdtempSync(join(tmpdir(), "cortex-as-"));
    const object = join(scratch, "copy.o"), binary = join(scratch, "copy.bin");
    const source = COPY_X64.replaceAll(/^ {2}[0-9a-f]+ /gm, "  ");
    const assembled = spawnSync("as", ["-o", object, "-"], {
      input: `copy:\n${source}\n.balign 4096\n`,
      encoding: "utf8",
    });
    assert.equal(assembled.status, 0, assembled.stderr);
    const extracted = spawnSync(
      "objcopy",
      ["-O", "binary", "-j", ".text", object, binary],
      { encoding: "utf8" },
    );
    assert.equal(extracted.status, 0, extracted.stderr);
    const code = machineCode(COPY_X64);
    assert.ok(code.length > 200);
    const bytes = readFileSync(binary).subarray(0, code.length);
    rmSync(scratch, { recursive: true });
    assert.equal(bytes.toString("hex"), Buffer.from(code).toString("hex"));
  },
);
