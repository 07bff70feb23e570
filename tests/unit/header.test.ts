import { test } from "node:test";
import assert from "node:assert/strict";
import { hostPlatform } from "../../ffi/mod.ts";
import { Control } from "../../lib/control.ts";
import { CorruptError } from "../../lib/errors.ts";
import { POLICY_IDS } from "../../lib/layout.ts";
import type { PolicyName } from "../../lib/policy/mod.ts";
import { planGeometry } from "../../lib/pool_geometry.ts";
import {
  Header,
  type Identity,
  newUuid,
  readIdentity,
  writeIdentity,
} from "../../lib/header.ts";
import {
  HEADER,
  IDENTITY,
  IDENTITY_END,
  PAGE_BYTES,
} from "../../lib/layout.ts";
import { assertRefuses } from "../helpers.ts";

const platform = hostPlatform();
const SIZE = 16 * 2 ** 20;

function identity(over: Partial<Identity> = {}): Identity {
  return {
    uuid: "00112233445566778899aabbccddeeff",
    geometry: planGeometry({
      size_bytes: SIZE,
      max_entries: 100,
      policy: "lfu",
    }),
    policy: "lfu",
    tier: "cpu",
    low_percent: 98,
    namespace: "llama-3-8b/bf16",
    created_at: 1_700_000_000_123,
    ...over,
  };
}

function written(over: Partial<Identity> = {}): Control {
  const page = new Control(new ArrayBuffer(PAGE_BYTES));
  writeIdentity(page, identity(over), platform);
  return page;
}

const read = (page: Control, size_bytes = SIZE) =>
  readIdentity(page, size_bytes, platform, 'pool "x"');

/** As a hostile writer would: a wrong field under a right checksum. */
function reseal(page: Control): void {
  page.u32[IDENTITY.crc >> 2] = platform.crc32(
    page.u8.subarray(IDENTITY.uuid, IDENTITY_END),
  );
}

test("readIdentity() reads what writeIdentity() wrote", () => {
  assert.deepEqual(read(written()), identity());
  for (const policy of Object.keys(POLICY_IDS) as PolicyName[]) {
    // Its state takes room: the geometry is its own.
    const geometry = planGeometry({ size_bytes: SIZE, policy });
    assert.deepEqual(
      read(written({ policy, geometry })),
      identity({ policy, geometry }),
    );
  }
  for (const namespace of ["", "x", "ü".repeat(128), "n".repeat(256)]) {
    assert.equal(read(written({ namespace })).namespace, namespace);
  }
});

test("readIdentity() refuses what has another magic", () => {
  for (let at = 0; at < 8; at++) {
    const page = written();
    page.u8[at]! ^= 1;
    assertRefuses(() => read(page), CorruptError, /not a cortex pool/);
  }
  const empty = new Control(new ArrayBuffer(PAGE_BYTES));
  assertRefuses(() => read(empty), CorruptError, /not a cortex pool/);
});

test("readIdentity() names both versions when they differ", () => {
  for (const version of [0, 1, 7, 2 ** 32 - 1]) {
    const page = written();
    page.u32[IDENTITY.version >> 2] = version;
    const error = assertRefuses(
      () => read(page),
      CorruptError,
      new RegExp(`format version ${version}, this cortex speaks version 3`),
    );
    assert.match(error.hint!, version < 2 ? /^Persist it with/ : /^Use the/);
    // Also when nothing else of it can be understood, as of another format.
    page.u8.fill(0xaa, IDENTITY.crc);
    assertRefuses(() => read(page), CorruptError, /this cortex speaks/);
  }
});

test("readIdentity() sees a flipped bit anywhere in the header", () => {
  for (let at = IDENTITY.crc; at < IDENTITY_END; at++) {
    for (const bit of [0x01, 0x80]) {
      const page = written();
      page.u8[at]! ^= bit;
      assertRefuses(() => read(page), CorruptError, /damaged \(checksum\)/);
    }
  }
});

test("readIdentity() believes no geometry but the one that follows from the size", () => {
  const fields = [
    "size_bytes",
    "data_offset",
    "block_bytes",
    "blocks",
    "free_list_pages",
    "system_blocks",
    "max_entries",
    "buckets",
    "slots",
    "commit_offset",
    "slots_offset",
    "pins_offset",
    "buckets_offset",
    "links_offset",
    "records_offset",
  ] as const;
  for (const field of fields) {
    for (const change of [1, -1, 64, 4096, 2 ** 31, "zero", "ones"] as const) {
      // One entry more or less may fit where the tables end anyway: then it is
      // another pool's header, and whole.
      if (field === "max_entries" && Math.abs(Number(change)) === 1) continue;
      const page = written();
      const at = IDENTITY[field] >> 2;
      const old = page.u32[at]!;
      page.u32[at] = change === "zero"
        ? 0
        : change === "ones"
        ? 2 ** 32 - 1
        : old + change;
      if (page.u32[at] === old) continue;
      reseal(page);
      assertRefuses(() => read(page), CorruptError, /geometry/);
    }
  }
});

test("readIdentity() sees the upper half of a 64-bit field", () => {
  for (
    const field of ["size_bytes", "data_offset", "records_offset"] as const
  ) {
    const page = written();
    page.u32[(IDENTITY[field] >> 2) + 1] = 1;
    reseal(page);
    assertRefuses(() => read(page), CorruptError, /geometry/);
  }
});

test("readIdentity() refuses a segment that was cut or grown", () => {
  for (const size_bytes of [SIZE - 4096, SIZE + 4096, SIZE - 1, PAGE_BYTES]) {
    assertRefuses(() => read(written(), size_bytes), CorruptError, /geometry/);
  }
  assertRefuses(() => read(written(), 100), CorruptError, /not a cortex pool/);
});

test("readIdentity() refuses policies, tiers and limits that there are not", () => {
  const wrong: [keyof typeof IDENTITY, number][] = [
    ["policy", 0],
    ["policy", 99],
    ["tier", 0],
    ["tier", 3],
    ["low_percent", 101],
    ["namespace_bytes", 257],
    ["namespace_bytes", 2 ** 32 - 1],
  ];
  for (const [field, value] of wrong) {
    const page = written();
    page.u32[IDENTITY[field] >> 2] = value;
    reseal(page);
    assertRefuses(() => read(page), CorruptError, /damaged/);
  }
});

test("readIdentity() refuses a namespace that is not UTF-8", () => {
  const page = written();
  page.u8[IDENTITY.namespace] = 0xff;
  reseal(page);
  assertRefuses(() => read(page), CorruptError, /damaged/);
});

test("newUuid() gives 32 hexadecimal digits from the platform's randomness", () => {
  const fixed = { randomBytes: (n: number) => new Uint8Array(n).fill(0x0a) };
  assert.equal(newUuid(fixed), "0a".repeat(16));
  assert.notEqual(newUuid(platform), newUuid(platform));
});

test("Header.add() never takes a count below 0", () => {
  const header = new Header(new Control(new ArrayBuffer(PAGE_BYTES)));
  header.add("entries", 2);
  header.add("entries", -3);
  assert.equal(header.get("entries"), 0);
});

test("Header.stat() takes for 0 what cannot be a count", () => {
  const control = new Control(new ArrayBuffer(PAGE_BYTES));
  const header = new Header(control);
  for (const value of [NaN, -1, Infinity, -Infinity, 0.5, 2 ** 60]) {
    control.f64[HEADER.puts >> 3] = value;
    assert.equal(header.stat("puts"), 0, `${value}`);
  }
  header.setStat("puts", 2 ** 52);
  header.addStat("puts", 3);
  assert.equal(header.stat("puts"), 2 ** 52 + 3);
});
