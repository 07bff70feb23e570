/**
 * Values that say what they are: every byte follows from key, writer and
 * version, which stand at the value's head.
 *
 * @module
 */
import assert from "node:assert/strict";

const HEAD_WORDS = 4;

function hashOf(key: string): number {
  let hash = 0x811c_9dc5;
  for (let i = 0; i < key.length; i++) {
    hash = Math.imul(hash ^ key.charCodeAt(i), 0x0100_0193);
  }
  return hash >>> 0;
}

/** A value of so many bytes, of at least its head's size. */
export function stampedValue(
  key: string,
  writer: number,
  version: number,
  size_bytes: number,
): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(size_bytes / 4));
  words.set([hashOf(key), writer, version, size_bytes]);
  let state = (hashOf(key) ^ Math.imul(version + 1, 0x9e37_79b9) ^ writer) | 1;
  for (let i = HEAD_WORDS; i < words.length; i++) {
    state ^= state << 13, state ^= state >>> 17, state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer, 0, size_bytes);
}

/** Checks every byte; says who wrote it, and which of his. */
export function readStamp(
  key: string,
  bytes: Uint8Array,
): { writer: number; version: number } {
  const head = new DataView(bytes.buffer, bytes.byteOffset, 4 * HEAD_WORDS);
  const word = (i: number) => head.getUint32(4 * i, true);
  assert.equal(word(0), hashOf(key), `${key}: it is another key's value`);
  assert.equal(word(3), bytes.length, `${key}: it has another length`);
  const [writer, version] = [word(1), word(2)];
  const expected = stampedValue(key, writer, version, bytes.length);
  if (Buffer.compare(bytes, expected) !== 0) {
    const at = bytes.findIndex((byte, i) => byte !== expected[i]);
    assert.fail(`${key}: version ${version} differs from byte ${at} on`);
  }
  return { writer, version };
}
