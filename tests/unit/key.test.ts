import { test } from "node:test";
import assert from "node:assert/strict";
import { UsageError } from "../../lib/errors.ts";
import { KeyEncoder, murmur3, showKey } from "../../lib/key.ts";
import { KEY_MAX_BYTES } from "../../lib/layout.ts";
import { assertRefuses, encoded } from "../helpers.ts";

const encode = (text: string) => new TextEncoder().encode(text);

function hex(words: Uint32Array): string {
  return Array.from(words, (word) => word.toString(16).padStart(8, "0"))
    .join("");
}

function murmurHex(bytes: Uint8Array, seed = 0): string {
  const into = new Uint32Array(4);
  murmur3(bytes, seed, into);
  return hex(into);
}

test("murmur3() gives the published values of MurmurHash3_x86_128", () => {
  // The first is in the read-me of murmurHash3.js, the second in many test suites.
  assert.equal(
    murmurHex(encode("I will not buy this record, it is scratched.")),
    "a0a9683b25ac5e40d9af2895890dddf5",
  );
  assert.equal(
    murmurHex(encode("The quick brown fox jumps over the lazy dog")),
    "2f1583c3ecee2c675d7bf66ce5e91d2c",
  );
  assert.equal(murmurHex(new Uint8Array()), "0".repeat(32));
});

/**
 * Byte `i` of the input of length `n` is `(37 i + 11) mod 256`. Computed by a
 * Python port of Appleby's C, tail by switch, which also gives the two
 * published values above. Every length of the tail is here, twice.
 */
const VECTORS: readonly (readonly [string, string])[] = [
  ["00000000000000000000000000000000", "f7bed5a15b576a1c5b576a1c5b576a1c"],
  ["1a2a893c825db56b825db56b825db56b", "d6a169094ee559384ee559384ee55938"],
  ["e25b086a946637e0946637e0946637e0", "1bd1769d4b0848e74b0848e74b0848e7"],
  ["ef5dd547814fe1d3814fe1d3814fe1d3", "e8806faff705ccccf705ccccf705cccc"],
  ["d021ef70bffa0a8ebffa0a8ebffa0a8e", "093a16af0b22b3bc0b22b3bc0b22b3bc"],
  ["a1bdd9f5fcb58997253eef03253eef03", "63d86bb88e44206d61dabffe61dabffe"],
  ["1104c619533a1fa2cf86f34ecf86f34e", "bcfd62cb79f69ed6e82b926fe82b926f"],
  ["fefb3e3f0cf7684ef2c048def2c048de", "7038072be6ddeef32394296523942965"],
  ["fc0141d5f89a906740e1633840e16338", "ffe8032a3d6a054ae0115e06e0115e06"],
  ["37dd5f380f9dc92cdd382ad9c0f0e315", "f075d7e75e1d8b6bdd3c2c51c11c3357"],
  ["be7197088b31ff127f068c22351e0368", "1c3b8d590f3718ad9c96ea9305673ad4"],
  ["b7d8ddb002ff2c685ceb057c2864d73b", "04827df67f3f05e94777e50d81f98c72"],
  ["6bbe8b8b92dde2a2427c9e8a04feaac2", "ce24f655b1f84fe10062a4f37139d11c"],
  ["cbedda29107c882c3bab087f1445e0c3", "4f9f7d8858357c58d278c70ea211fd96"],
  ["3bbe5d42263b296708a8894df5d7806d", "4ec4eeee8c148a99cbf5cd021f2a123a"],
  ["e834163d88c1111c03559fa97162791c", "aa1b5673ecd59e00c9971fc3f262c02b"],
  ["aa3a2073a8c41845adf04182b35623e7", "db6a35c8d046fb59b49a54beb06ae0b7"],
  ["c5078dc0fbe3511f9ede0bb0aee0538b", "be2218281a08b7135680fea5e3e11f77"],
  ["12d11e6bee0152e8b06f44468963f551", "7ba3cdd0c17ac2d9bddf65348318c0a3"],
  ["6bbd364a9caa96dac698fa96e45e6b2c", "be906a6da2952d48aa9874bd71081f70"],
  ["ffc8ded86923e8235980334e588fb5ac", "344a09215781d5476f8cdad1d28fb1e7"],
  ["86e144eff185eceb14fad5830506c6ac", "ea0676212d5caa63e9d21409ca2a63b8"],
  ["f41f1808b51e8a79f0f715052c87f3ec", "ae28b49eae19101cc5e1dc2fff74f6c9"],
  ["6ae40f032e4e5b23afbf7567733ffacb", "04471142a87b457fdfd31f2e486c2831"],
  ["f7b3f9b92e023166fad5bd9a132437fc", "c0546de1f32d4e42893447650b611b6c"],
  ["1540ebc6ac5eea06ccf9cd0b35c6a200", "1e7776b9ca884c91209971d668cbc4d3"],
  ["4803fedf14a8f15890e992cfa619a4d5", "f04072a7f7bc1f64a6a966cc3acc3bd5"],
  ["7cf3d5e7b957a1598270ee5a815549ff", "44df20fab1c4a5fa9d69a0bd4bf73706"],
  ["3b5c91fe3c5eb449e76e464da223e560", "d498c6c798392e1afb690dfb08b16d93"],
  ["f569edea893e88f3271af28f7b37996e", "e35b24b54a1ae99d9b77f8a8ba3521bc"],
  ["db7fd7ec425170923da5cdaf61162aa1", "43e914617275be865b970cb9cd211920"],
  ["661fa41664e569c4c4d9c5a2aebc2f18", "5bda3a361afdf7c1904d8b8771769725"],
  ["ce5ff737e3dfb3385d53b314abafe93f", "ba40805a64a5963b6fdd0cb0c517c6b0"],
  ["f2ce521728758d8f8b5892a5887e3f9d", "06743436c8fd8917307afdd190317974"],
];

test("murmur3() agrees with an independent port for every length of the tail", () => {
  VECTORS.forEach(([unseeded, seeded], length) => {
    const bytes = Uint8Array.from({ length }, (_, i) => 37 * i + 11);
    assert.equal(murmurHex(bytes), unseeded, `${length} bytes`);
    assert.equal(murmurHex(bytes, 0x9747_b28c), seeded, `${length} bytes`);
  });
});

test("murmur3() reads a view that does not begin its buffer", () => {
  const bytes = Uint8Array.from({ length: 21 }, (_, i) => 37 * i + 11);
  const shifted = new Uint8Array(64).fill(0xee);
  shifted.set(bytes, 7);
  assert.equal(murmurHex(shifted.subarray(7, 28)), VECTORS[21]![0]);
});

test("KeyEncoder.encode() seeds the key's hash with the namespace's", () => {
  // By the same Python port: the seed is the first word of the namespace's hash.
  const encoder = new KeyEncoder("llama-3-8b/bf16");
  assert.equal(hex(encoder.namespaceHash), "d4302fc1639e7569");
  assert.equal(
    hex(encoder.encode("doc-1").hash),
    "d9183eb5e363a9222f2010be2f2010be",
  );
  assert.equal(
    hex(encoder.encode("döc-1").hash),
    "f77aed7feeaec192f1e42a29f1e42a29",
  );
  const plain = new KeyEncoder("");
  assert.equal(hex(plain.namespaceHash), "0".repeat(16));
  assert.equal(
    hex(plain.encode("doc-1").hash),
    "edd790a9f1867180cd0853b6cd0853b6",
  );
});

test("KeyEncoder.encode() gives the key's UTF-8", () => {
  const encoder = new KeyEncoder("");
  for (const key of ["a", "doc-1", "日本", "a\u0000b", "😀", "é", "x\u007f"]) {
    assert.deepEqual(
      Buffer.from(encoder.encode(key).bytes),
      Buffer.from(key, "utf8"),
    );
  }
});

test("KeyEncoder.encode() leaves nothing of the key before", () => {
  const encoder = new KeyEncoder("");
  const first = encoded(encoder, "b");
  encoder.encode("a much longer key, in the way of the next");
  const again = encoder.encode("b");
  assert.deepEqual(again.bytes.slice(), first.bytes);
  assert.deepEqual(again.hash.slice(), first.hash);
});

test("KeyEncoder.encode() takes keys of 1 to 1,024 bytes", () => {
  const encoder = new KeyEncoder("");
  assert.equal(encoder.encode("k".repeat(KEY_MAX_BYTES)).bytes.length, 1024);
  assert.equal(encoder.encode("é".repeat(512)).bytes.length, 1024);
  assert.equal(encoder.encode("😀".repeat(256)).bytes.length, 1024);
  for (
    const key of [
      "k".repeat(1025),
      "é".repeat(512) + "k",
      "k" + "é".repeat(512),
      "k".repeat(1023) + "é",
      "😀".repeat(257),
      "k".repeat(100_000),
    ]
  ) {
    assertRefuses(() => encoder.encode(key), UsageError, /longer than 1024/);
  }
  assertRefuses(() => encoder.encode(""), UsageError, /empty/);
});

test("KeyEncoder.encode() refuses what is not Unicode", () => {
  const encoder = new KeyEncoder("");
  for (const key of ["\ud800", "a\udc00", "ok\ud83d"]) {
    assertRefuses(() => encoder.encode(key), UsageError, /not Unicode/);
  }
});

test("showKey() shortens, and lets nothing through that steers a terminal", () => {
  assert.equal(showKey("doc-1"), '"doc-1"');
  assert.equal(showKey("k".repeat(81)), `"${"k".repeat(77)}..."`);
  for (const hostile of ["\u001b[2J", "a\nb", "\u009b31m", "\u007f", "\r"]) {
    // deno-lint-ignore no-control-regex -- they are what is looked for
    assert.doesNotMatch(showKey(hostile), /[\u0000-\u001f\u007f-\u009f]/);
  }
});

/** The fastest of many rounds: what else the machine does is not in it. */
function encodingTime_ms(keys: readonly string[]): number {
  const encoder = new KeyEncoder("");
  let fastest_ms = Infinity;
  for (let round = 0; round < 50; round++) {
    const begun = performance.now();
    for (const key of keys) encoder.encode(key);
    fastest_ms = Math.min(fastest_ms, performance.now() - begun);
  }
  return fastest_ms;
}

test("a class of strings in the process makes no key slower", () => {
  const keys = Array.from(
    { length: 2000 },
    (_, i) => String(i).padStart(64, "0"),
  );
  const before_ms = encodingTime_ms(keys);
  // V8 knows String.prototype less well from here on; ioredis has such a class.
  class Tagged extends String {}
  assert.ok(new Tagged("any") instanceof String);
  const after_ms = encodingTime_ms(keys);
  assert.ok(after_ms < 2 * before_ms, `${before_ms} ms, then ${after_ms} ms`);
});
