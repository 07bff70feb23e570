import { test } from "node:test";
import assert from "node:assert/strict";
import { UsageError } from "../../lib/errors.ts";
import {
  hashChain,
  namespaceOf,
  parseNamespace,
  parseTokens,
  vllmChain,
  type VllmOptions,
} from "../../lib/prefix/mod.ts";
import { assertRefuses, tempPool } from "../helpers.ts";

/**
 * Computed by Python 3, with a CBOR encoder of ten lines:
 *
 *     digest = hashlib.sha256(cbor(seed)).digest()
 *     for i in range(0, len(tokens) - n + 1, n):
 *         block = cbor([digest, tokens[i:i + n], extra(i)])
 *         digest = hashlib.sha256(block).digest()
 *         keys.append(digest.hex())
 */
const VECTORS: readonly {
  tokens: readonly number[];
  options: VllmOptions;
  keys: readonly string[];
}[] = [
  {
    tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    options: { blockTokens: 4 },
    keys: [
      "c9d58ba695280d69b243e1e0df813136ca9196b286fb1a021e0b2e028ef071cb",
      "24125b23e68883b5c2141db2959d48433fe6bde2f26bd914efad121d154ab2d6",
    ],
  },
  {
    // Numbers on both sides of every length that CBOR has for them.
    tokens: [0, 23, 24, 255, 256, 65535, 65536, 4294967295],
    options: { blockTokens: 2, seed: "42" },
    keys: [
      "22bcc757d9262ee6f3ccd322706790ad3acf9387ffd82bcaf7e289412f135a07",
      "86bb839c51732ab5539c576398f54d0718913f8c27c8e4597d8f0f5f3ab8f7c7",
      "542ee1f5615c402a06c69a8c2924c4adfbc9d4a4aa6ba00cb77404206128b6da",
      "7eb303c87f0623636ea8620a5e6ef7e6c408111d6d10666432746b0ddd853bee",
    ],
  },
  {
    tokens: Array.from({ length: 40 }, (_, i) => i),
    options: { blockTokens: 16, seed: "0", extra: ["lora-a"] },
    keys: [
      "2477dd357292eaa4c7c7347f327eb4ecacf82acdab4087e73fa777ed7c68f951",
      "83b12c94c8b2c166ef300729425b949a6fd02e62b270fe6abc0879325afaeebd",
    ],
  },
  {
    // In the first block LoRA, the image and the salt; in the second LoRA and the
    // image, from before it on; in the third the image's end and the sound.
    tokens: Array.from({ length: 12 }, (_, i) => 100 + i),
    options: {
      blockTokens: 4,
      extra: {
        lora: "sql",
        salt: "salt",
        multimodal: [
          { hash: "img", offset: 3, length: 6 },
          { hash: "snd", offset: 9, length: 1 },
        ],
      },
    },
    keys: [
      "cec27ce04b11188406990bc6a2e0e15fd16b88cc2240e363a153173e500b36ad",
      "d0c54ba7a2d93749236d7e4bca2eb4725280e483eafe0fe691f4ec463d87f563",
      "0c826ecc5cf899f03ddddb7bfe9fdbfe78e5d4890128df4a4b95540f29da4dc1",
    ],
  },
];

test("vllmChain() gives the digests that Python's hashlib gives", () => {
  for (const { tokens, options, keys } of VECTORS) {
    assert.deepEqual(vllmChain(tokens, options), [...keys]);
    assert.deepEqual(hashChain(tokens, { ...options, scheme: "vllm" }), keys);
  }
});

test("vllmChain() tells apart what its extra keys and seeds tell apart", () => {
  const tokens = [1, 2, 3, 4], blockTokens = 2;
  const plain = vllmChain(tokens, { blockTokens });
  const others: readonly Partial<VllmOptions>[] = [
    { seed: "1" },
    { extra: { lora: "a" } },
    { extra: { salt: "b" } },
    { extra: { multimodal: [{ hash: "c", offset: 0, length: 1 }] } },
  ];
  const seen = new Set(plain);
  for (const options of others) {
    const keys = vllmChain(tokens, { blockTokens, ...options });
    assert.ok(keys.every((key) => !seen.has(key)), JSON.stringify(options));
    keys.forEach((key) => seen.add(key));
  }
  assert.deepEqual(vllmChain(tokens, { blockTokens, extra: [] }), plain);
});

test("vllmChain() refuses extra keys that are none", () => {
  for (
    const extra of [{ adapter: "x" }, { salt: 3 }, {
      multimodal: [{}],
    }] as const
  ) {
    assertRefuses(
      () => vllmChain([1], { blockTokens: 1, extra: extra as never }),
      UsageError,
      /extra keys/,
    );
  }
});

test("parseTokens() takes white space, commas and JSON", () => {
  for (const text of ["1 2 3", "1,2,3\n", " 1 ,\t2\n3 ", "[1, 2, 3]"]) {
    assert.deepEqual([...parseTokens(text)], [1, 2, 3], text);
  }
  assert.equal(parseTokens(" \n").length, 0);
  for (const text of ["1 two", "1.5", "-1", "4294967296", "1,,2", "[1"]) {
    assertRefuses(() => parseTokens(text), UsageError, /token/);
  }
});

test("namespaceOf() tells every kind of cache from every other", () => {
  const kinds = [
    {},
    { model: "m" },
    { model: "m&dtype=fp8" },
    { model: "m", dtype: "fp8" },
    { model: "m", layout: "fp8" },
    { model: "m", tp_rank: 0, tp_size: 2 },
    { model: "m", tp_rank: 1, tp_size: 2 },
    { model: "m", tp_rank: 1, tp_size: 4 },
    { model: "m", block_tokens: 16 },
    { model: "m", block_tokens: 256 },
  ];
  assert.equal(new Set(kinds.map(namespaceOf)).size, kinds.length);
  for (const kind of kinds) {
    const told = parseNamespace(namespaceOf(kind));
    for (const [name, value] of Object.entries(told)) {
      assert.equal(value, (kind as Record<string, unknown>)[name], name);
    }
  }
  assert.equal(parseNamespace("whatever a user wrote").model, undefined);
  for (
    const wrong of [{ tp_rank: 2, tp_size: 2 }, { tp_rank: -1 }, {
      block_tokens: 0,
    }]
  ) assertRefuses(() => namespaceOf(wrong), UsageError);
});

test("a key of one namespace never matches in another", () => {
  const keys = hashChain([1, 2, 3, 4], { blockTokens: 2 });
  const [first, second] = [0, 1].map((tp_rank) =>
    namespaceOf({ model: "m", tp_rank, tp_size: 2 })
  );
  using one = tempPool({ namespace: first! });
  using two = tempPool({ namespace: second! });
  for (const key of keys) one.pool.put(key, new Uint8Array(1));
  assert.equal(one.pool.match(keys), 2);
  assert.equal(two.pool.match(keys), 0);
  // Nor do the bytes of one read as the other's, if somebody copies them over.
  const record = one.pool.core.geometry.records_offset;
  const bytes = one.pool.core.control.bytes(record, 512).slice();
  two.pool.put(keys[0]!, new Uint8Array(1));
  two.pool.core.control.u8.set(bytes, two.pool.core.geometry.records_offset);
  assert.equal(two.pool.match(keys), 0);
});
