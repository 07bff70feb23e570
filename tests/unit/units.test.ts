import { test } from "node:test";
import assert from "node:assert/strict";
import { UsageError } from "../../lib/errors.ts";
import { exactSize, formatBytes, parseSize } from "../../lib/units.ts";
import { assertRefuses } from "../helpers.ts";

test("parseSize() reads binary multiples", () => {
  const sizes: Record<string, number> = {
    "1": 1,
    "4096": 4096,
    "4096B": 4096,
    "512K": 524288,
    "512k": 524288,
    "512KB": 524288,
    "512KiB": 524288,
    "1.5G": 1610612736,
    "16G": 17179869184,
    "16GiB": 17179869184,
    "16 GiB": 17179869184,
    " 2M ": 2097152,
    "1T": 1099511627776,
    "0.5K": 512,
    "2P": 2251799813685248,
  };
  for (const [text, bytes] of Object.entries(sizes)) {
    assert.equal(parseSize(text), bytes, text);
  }
});

test("exactSize() takes the largest whole unit", () => {
  const sizes = {
    "1023": 1023,
    "1025": 1025,
    "32M": 2 ** 25,
    "1025M": 1025 << 20,
    "128G": 2 ** 37,
  };
  for (const [text, bytes] of Object.entries(sizes)) {
    assert.equal(exactSize(bytes), text);
    assert.equal(parseSize(text), bytes);
  }
});

test("parseSize() refuses what is no positive whole number of bytes", () => {
  for (
    const text of [
      "",
      " ",
      "0",
      "0K",
      "-1",
      "+1",
      "1e3",
      "0x10",
      "1.1",
      "1.0001K",
      "K",
      "16X",
      "16GG",
      "1_000",
      "1,5G",
      "Infinity",
      "NaN",
      "9P9",
      "99999P",
      ".5K",
      "1.K",
    ]
  ) {
    assertRefuses(() => parseSize(text), UsageError, /size/);
  }
});

test("parseSize() names what the size is for, and shortens what it was given", () => {
  const error = assertRefuses(
    () => parseSize("x".repeat(1000), "block size"),
    UsageError,
    /block size "x{40}"/,
  );
  assert.ok(error.message.length < 200);
  assert.match(error.hint ?? "", /512K/);
});

test("formatBytes() shows binary multiples with one decimal", () => {
  const shown: Record<number, string> = {
    0: "0 B",
    1: "1 B",
    1023: "1023 B",
    1024: "1.0 KiB",
    1536: "1.5 KiB",
    1048576: "1.0 MiB",
    17179869184: "16.0 GiB",
    1099511627776: "1.0 TiB",
  };
  for (const [bytes, text] of Object.entries(shown)) {
    assert.equal(formatBytes(Number(bytes)), text);
  }
});

test("formatBytes() never shows 1024 of a unit", () => {
  for (let power = 1; power <= 4; power++) {
    for (let below = 0; below < 200; below++) {
      const text = formatBytes(1024 ** power * (1 - below / 100000));
      assert.doesNotMatch(text, /^1024/, text);
    }
  }
});

test("formatBytes() and parseSize() agree on whole multiples", () => {
  for (const text of ["1.0 KiB", "3.5 MiB", "16.0 GiB", "2.0 TiB"]) {
    assert.equal(formatBytes(parseSize(text)), text);
  }
});
