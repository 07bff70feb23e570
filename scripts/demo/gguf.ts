/**
 * A writer of GGUF version 3, the model file of llama.cpp.
 *
 * ```text
 * "GGUF" | version u32 | tensor count u64 | metadata count u64
 * metadata:  key, type u32, value             (one after the other)
 * tensors:   name, rank u32, dimensions u64.., type u32, offset u64
 * padding to 32 bytes
 * data:      each tensor at its offset, padded to 32 bytes
 * ```
 *
 * Numbers are little-endian, strings are a u64 length and UTF-8 bytes. Only
 * what the demo needs is here: f32 tensors and five types of metadata.
 */

import { Buffer } from "node:buffer";
import { closeSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { endianness } from "node:os";

const VERSION = 3;
const ALIGNMENT = 32;
const TENSOR_TYPE_F32 = 0;

/** The numbers by which GGUF names the types of its metadata. */
const TYPE = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

/** One encoded metadata value; made by {@link u32} and its neighbours. */
export interface GgufValue {
  readonly type: number;
  readonly bytes: Uint8Array;
}

/** A tensor of f32 numbers. */
export interface GgufTensor {
  readonly name: string;
  /** The fastest-changing dimension first, as GGUF wants it. */
  readonly shape: readonly number[];
  /** Writes the tensor's numbers; called once, in the order of the file. */
  fill(out: Float32Array): void;
}

/** What goes into a file. */
export interface GgufContents {
  readonly metadata: Readonly<Record<string, GgufValue>>;
  readonly tensors: readonly GgufTensor[];
}

/** An unsigned 32-bit metadata value. */
export function u32(value: number): GgufValue {
  return { type: TYPE.u32, bytes: uint32Bytes(value) };
}

/** A signed 32-bit metadata value. */
export function i32(value: number): GgufValue {
  return { type: TYPE.i32, bytes: uint32Bytes(value) };
}

/** A 32-bit floating-point metadata value. */
export function f32(value: number): GgufValue {
  const bytes = Buffer.alloc(4);
  bytes.writeFloatLE(value);
  return { type: TYPE.f32, bytes };
}

/** A boolean metadata value. */
export function bool(value: boolean): GgufValue {
  return { type: TYPE.bool, bytes: Uint8Array.of(value ? 1 : 0) };
}

/** A string metadata value. */
export function string(value: string): GgufValue {
  return { type: TYPE.string, bytes: stringBytes(value) };
}

/** An array of metadata values, all of the type of the first. */
export function array(items: readonly GgufValue[]): GgufValue {
  const type = items[0]?.type ?? TYPE.u32;
  const bytes = Buffer.concat([
    uint32Bytes(type),
    uint64Bytes(items.length),
    ...items.map((item) => item.bytes),
  ]);
  return { type: TYPE.array, bytes };
}

/** Everything before the tensors' data, padded to where the data begins. */
export function encodeHeader(contents: GgufContents): Uint8Array {
  const metadata = Object.entries(contents.metadata);
  const parts: Uint8Array[] = [
    Buffer.from("GGUF"),
    uint32Bytes(VERSION),
    uint64Bytes(contents.tensors.length),
    uint64Bytes(metadata.length),
  ];
  for (const [key, value] of metadata) {
    parts.push(stringBytes(key), uint32Bytes(value.type), value.bytes);
  }
  let offset = 0;
  for (const tensor of contents.tensors) {
    parts.push(encodeTensorInfo(tensor, offset));
    offset += tensorBytes(tensor);
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header], aligned(header.length));
}

/** The bytes that the tensors' data take, padding included. */
export function dataSize(tensors: readonly GgufTensor[]): number {
  return tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0);
}

/**
 * Writes a file. It appears under `path` only when it is complete: it is
 * written under a temporary name first, and renamed.
 */
export function writeGguf(path: string, contents: GgufContents): void {
  // The tensors are written as the processor holds them.
  if (endianness() !== "LE") {
    throw new Error("Cannot write a GGUF file: the machine is big-endian");
  }
  const temporary = `${path}.tmp`;
  try {
    writeContents(temporary, contents);
    renameSync(temporary, path);
  } finally {
    rmSync(temporary, { force: true });
  }
}

function writeContents(path: string, contents: GgufContents): void {
  const file = openSync(path, "w");
  try {
    writeAll(file, encodeHeader(contents));
    for (const tensor of contents.tensors) {
      // The last bytes stay zero where the data ends short of the alignment.
      const bytes = new Uint8Array(tensorBytes(tensor));
      tensor.fill(new Float32Array(bytes.buffer, 0, elementCount(tensor)));
      writeAll(file, bytes);
    }
  } finally {
    closeSync(file);
  }
}

/** One write may take fewer bytes than it was given. */
function writeAll(file: number, bytes: Uint8Array): void {
  let written = 0;
  while (written < bytes.length) {
    written += writeSync(file, bytes, written, bytes.length - written);
  }
}

function encodeTensorInfo(tensor: GgufTensor, offset: number): Uint8Array {
  return Buffer.concat([
    stringBytes(tensor.name),
    uint32Bytes(tensor.shape.length),
    ...tensor.shape.map(uint64Bytes),
    uint32Bytes(TENSOR_TYPE_F32),
    uint64Bytes(offset),
  ]);
}

function elementCount(tensor: GgufTensor): number {
  return tensor.shape.reduce((product, dimension) => product * dimension, 1);
}

function tensorBytes(tensor: GgufTensor): number {
  return aligned(elementCount(tensor) * Float32Array.BYTES_PER_ELEMENT);
}

function aligned(size: number): number {
  return Math.ceil(size / ALIGNMENT) * ALIGNMENT;
}

function uint32Bytes(value: number): Uint8Array {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes;
}

function uint64Bytes(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}

function stringBytes(value: string): Uint8Array {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint64Bytes(bytes.length), bytes]);
}
