/** Copies past the processor's cache: what they copy, what it sums up to, and where there are none. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { copyFor, copying, STREAMED_MIN_BYTES } from "../../ffi/copying.ts";
import type { Libc } from "../../ffi/libc.ts";
import type { Region } from "../../ffi/region.ts";
import {
  COPY_AVX512,
  COPY_SSE,
  FEATURES,
  machineCode,
} from "../../ffi/machine_code.ts";
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

const SOURCE = randomBytes(20 * STREAMED_MIN_BYTES);
/** Aligned to pages, as pools are: arrays of a runtime's own are to 16 at best. */
const TARGET = new Uint8Array(
  platform.allocateMemory(SOURCE.length + 4096).window(0, SOURCE.length + 256),
);

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

/** A copy copies, and its sum is that of its bytes, at any length and place. */
function expectCopies({ copy, copyAndSum }: ReturnType<typeof copying>): void {
  fc.assert(
    fc.property(
      lengths,
      shifts,
      shifts,
      fc.nat({ max: 0xffff_ffff }),
      (length, from, to, seed) => {
        expectCopied(length, from, to, copy);
        expectCopied(length, from, to, (target, source) => {
          assert.equal(
            copyAndSum(target, source, seed),
            platform.crc32(source, seed),
          );
        });
      },
    ),
    { numRuns: cases(200) },
  );
}

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
  const length = 20 * STREAMED_MIN_BYTES; // of several parts
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
  /** Where the functions begin that copied. */
  readonly copies: number[];
  unmapped: number;
}

interface HostOptions {
  readonly maps?: boolean;
  readonly protects?: boolean;
  /** Of the four words that it finds of its features, those that it may know. */
  readonly knows?: number;
  readonly architecture?: "x64" | "arm64";
}

function hostThat(
  { maps = true, protects = true, knows = 4, architecture = "x64" }:
    HostOptions,
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
    copies: [],
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
      return (to, from) => {
        run(to, from);
        if (offset !== FEATURES.offset) host.copies.push(offset);
        else new Uint32Array(region.view(4096, 16)).fill(0, knows);
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
    const target = TARGET.subarray(0, length);
    assert.equal(copyAndSum(target, source, 7), platform.crc32(source, 7));
    assert.equal(Buffer.compare(target, source), 0);
    target.fill(0);
    copy(target, source);
    assert.equal(Buffer.compare(target, source), 0);
  }
}

/** Whether this processor is an x86-64 one and has all of these. */
function has(...names: string[]): boolean {
  const text = readFileSync("/proc/cpuinfo", "utf8");
  const flags = /^flags\s*: (.*)$/m.exec(text)?.[1]?.split(" ") ?? [];
  return process.arch === "x64" && names.every((name) => flags.includes(name));
}

const hasSse = has("pclmulqdq");
const hasAvx512 = has("pclmulqdq", "avx512f", "vpclmulqdq");
const elsewhere = (isHere: boolean) =>
  !isHere && "this processor has not the instructions";

test("copies are right, as this host makes them", () => {
  expectCopies(platform);
});

for (
  const [name, { offset }, knows, isHere] of [
    ["SSE2", COPY_SSE, 1, hasSse],
    ["AVX-512", COPY_AVX512, 4, hasAvx512],
  ] as const
) {
  test(`copies by ${name} are right`, { skip: elsewhere(isHere) }, () => {
    const host = hostThat({ knows });
    expectCopies(copying(host.libc));
    assert.ok(host.copies.length > 0);
    assert.ok(host.copies.every((at) => at === offset));
  });
}

test("a processor gets the widest copy that it and the kernel know", () => {
  const of = (...words: number[]) => copyFor(Uint32Array.from(words));
  const CLMUL = 2, ZMM = 0xe7, F = 1 << 16, WIDE_CLMUL = 1 << 10;
  assert.equal(of(CLMUL, ZMM, F, WIDE_CLMUL), COPY_AVX512);
  assert.equal(of(CLMUL, 0x7, F, WIDE_CLMUL), COPY_SSE); // AVX at most is saved
  assert.equal(of(CLMUL, ZMM, 0, WIDE_CLMUL), COPY_SSE);
  assert.equal(of(CLMUL, ZMM, F, 0), COPY_SSE);
  assert.equal(of(CLMUL, 0, 0, 0), COPY_SSE);
  assert.equal(of(0, ZMM, F, WIDE_CLMUL), undefined);
});

test(
  "large copies go past the cache, by code that is never writable while it runs",
  { skip: elsewhere(hasSse) },
  () => {
    const host = hostThat({ knows: 1 });
    copyOn(host);
    assert.deepEqual(host.copies, Array(4).fill(COPY_SSE.offset));
    assert.deepEqual(host.protections, [1 | 4]); // PROT_READ | PROT_EXEC, once
    assert.equal(host.unmapped, 0);
  },
);

test("where a host lets nobody make code, copies are as anywhere", () => {
  const forbidding = hostThat({ protects: false });
  copyOn(forbidding);
  assert.equal(forbidding.copies.length, 0);
  assert.equal(forbidding.unmapped, process.arch === "x64" ? 1 : 0);
  const full = hostThat({ maps: false });
  copyOn(full);
  assert.equal(full.copies.length, 0);
  const old = hostThat({ knows: 0 }); // without PCLMULQDQ
  copyOn(old);
  assert.equal(old.copies.length, 0);
  assert.equal(old.unmapped, process.arch === "x64" ? 1 : 0);
  const other = hostThat({ architecture: "arm64" });
  copyOn(other);
  assert.deepEqual(other.protections, []);
});

const AS = spawnSync("as", ["--version"]);
const NO_ASSEMBLER = AS.status !== 0 && "there is no assembler: as";

/** What the assembler makes of a listing whose function is called so. */
function assemble(scratch: string, listing: string): Buffer {
  const object = join(scratch, "code.o"), binary = join(scratch, "code.bin");
  const source = listing.replaceAll(/^ {2}[0-9a-f]+ /gm, "  ");
  for (
    const [command, args, input] of [
      ["as", ["-o", object, "-"], `${source}\n.balign 4096\n`],
      ["objcopy", ["-O", "binary", "-j", ".text", object, binary], ""],
    ] as const
  ) {
    const { status, stderr } = spawnSync(command, args, {
      input,
      encoding: "utf8",
    });
    assert.equal(status, 0, stderr);
  }
  return readFileSync(binary);
}

test(
  "the assembler says the machine code again",
  { skip: elsewhere(hasSse) || NO_ASSEMBLER },
  () => {
    const scratch = mkdtempSync(join(tmpdir(), "cortex-as-"));
    for (const { listing, offset } of [COPY_SSE, COPY_AVX512, FEATURES]) {
      const code = machineCode(listing);
      assert.ok(code.length > 50);
      const bytes = assemble(scratch, listing).subarray(0, code.length);
      assert.equal(bytes.toString("hex"), Buffer.from(code).toString("hex"));
      // Its state is where it is: a page behind the first function.
      const from = /lea (?:copy|features)\+(\d+)\(%rip\)/.exec(listing)![1];
      assert.equal(offset + Number(from), 4096);
    }
    rmSync(scratch, { recursive: true });
  },
);
