import { test } from "node:test";
import assert from "node:assert/strict";
import { UsageError } from "../../lib/errors.ts";
import { sglangChain } from "../../lib/prefix/sglang.ts";
import { assertRefuses } from "../helpers.ts";

/**
 * Computed by Python 3:
 *
 *     digest = b""
 *     for i in range(0, len(tokens) - n + 1, n):
 *         page = struct.pack(f"<{n}I", *tokens[i:i + n])
 *         digest = hashlib.sha256(digest + page).digest()
 *         keys.append(digest.hex())
 */
const VECTORS = [
  {
    tokens: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    blockTokens: 4,
    keys: [
      "cf97adeedb59e05bfd73a2b4c2a8885708c4f4f70c84c64b27120e72ab733b72",
      "4ebfa8a1f3c341517621838c6e1b9aa350307e3f00b3cbd1a07ef740f54396d6",
    ],
  },
  {
    tokens: [0, 4294967295, 128000, 7],
    blockTokens: 1,
    keys: [
      "df3f619804a92fdb4057192dc43dd748ea778adc52bc498ce80524c014b81119",
      "c711dea31c08e07d705d382a681f7e026b5e9d6646e3f3e70dc82cf74a84e51c",
      "ba2eaaa52c981fb7add002485d0837adf75c832212b6236044a7f1b08f42d815",
      "7da50a8668bfe3be26084e226b13371e8322083b1d514e34521fbc1c3900667e",
    ],
  },
  {
    tokens: [1, 2, 3, 4, 5],
    blockTokens: 2,
    keys: [
      "34fb5c825de7ca4aea6e712f19d439c1da0c92c37b423936c5f618545ca4fa1f",
      "c57b445f90651b9a650e516ab2238c965b21af35608a31c303e6d9e407f2915c",
    ],
  },
] as const;

test("sglangChain() gives the digests that Python's hashlib gives", () => {
  for (const { tokens, blockTokens, keys } of VECTORS) {
    assert.deepEqual(sglangChain(tokens, { blockTokens }), [...keys]);
    assert.deepEqual(
      sglangChain(Uint32Array.from(tokens), { blockTokens }),
      [...keys],
    );
  }
});

test("sglangChain() gives no key to a page that is not full", () => {
  assert.deepEqual(sglangChain([], { blockTokens: 4 }), []);
  assert.deepEqual(sglangChain([1, 2, 3], { blockTokens: 4 }), []);
  assert.equal(sglangChain([1, 2, 3, 4], { blockTokens: 4 }).length, 1);
});

test("sglangChain() gives two prompts the same keys as far as they agree", () => {
  const a = sglangChain([1, 2, 3, 4, 5, 6, 7, 8], { blockTokens: 2 });
  const b = sglangChain([1, 2, 3, 4, 5, 9, 7, 8], { blockTokens: 2 });
  assert.deepEqual(a.slice(0, 2), b.slice(0, 2));
  assert.notEqual(a[2], b[2]);
  // The same page behind another parent is another key.
  assert.notEqual(a[3], b[3]);
});

test("sglangChain() refuses what is no token", () => {
  for (const token of [-1, 2 ** 32, 1.5, NaN, Infinity]) {
    assertRefuses(
      () => sglangChain([1, token], { blockTokens: 2 }),
      UsageError,
      /from 0 to 4,294,967,295/,
    );
  }
});

test("sglangChain() refuses pages of no tokens", () => {
  for (const blockTokens of [0, -1, 1.5, NaN]) {
    assert.throws(() => sglangChain([1], { blockTokens }), UsageError);
  }
});
