/** When a tuner tries the accesses that it is told of: never many at once, and none is lost. */
import { test } from "node:test";
import assert from "node:assert/strict";
import { Memory } from "../../lib/policy/memory.ts";
import { Tuner } from "../../lib/policy/tuner.ts";

const ENTRIES = 256;

/** A tuner that samples every entry, of a cache with room for all of them. */
class Host {
  readonly tuner: Tuner;
  readonly size_bytes: number;
  readonly #shared: ArrayBuffer;
  #tick = 0;

  constructor(shared?: ArrayBuffer) {
    const sizing = Memory.measure();
    new Tuner(sizing, ENTRIES);
    this.size_bytes = sizing.used_bytes;
    this.#shared = shared ?? new ArrayBuffer(this.size_bytes);
    this.tuner = new Tuner(Memory.over(this.#shared), ENTRIES);
    this.tuner.resize(ENTRIES, ENTRIES);
  }

  /** Another handle on the same memory, as another process has one. */
  another(): Host {
    return new Host(this.#shared);
  }

  /** New entries come; their nodes, in order. */
  come(count: number): number[] {
    return Array.from({ length: count }, () => {
      const node = this.tuner.draw();
      this.tuner.access(node, ++this.#tick, 0, 1, false);
      return node;
    });
  }

  /** How many of them were tried. */
  tried(nodes: readonly number[]): number {
    return nodes.filter((node) => this.tuner.isHeld(node)).length;
  }
}

test("accesses wait until there are sixteen, and then two are tried at once", () => {
  const host = new Host();
  const nodes = host.come(15);
  host.tuner.goOn();
  assert.equal(host.tried(nodes), 0);
  nodes.push(...host.come(1));
  assert.equal(host.tried(nodes), 0);
  for (let tried = 2; tried <= 16; tried += 2) {
    host.tuner.goOn();
    assert.equal(host.tried(nodes), tried);
    assert.ok(host.tuner.isHeld(nodes[tried - 1]!), "not in their order");
    assert.ok(tried === 16 || !host.tuner.isHeld(nodes[tried]!));
  }
  host.tuner.goOn();
  assert.equal(host.tried(nodes), 16);
});

test("accesses that come while others are tried wait their turn, and none is lost", () => {
  const host = new Host();
  const nodes = host.come(16);
  for (let tried = 2; tried <= 16; tried += 2) {
    nodes.push(...host.come(1));
    assert.equal(host.tried(nodes), tried);
  }
  nodes.push(...host.come(8)); // then there are sixteen again
  assert.equal(host.tried(nodes), 16);
  for (let i = 0; i < 8; i++) host.tuner.goOn();
  assert.equal(host.tried(nodes), 32);
});

test("another process goes on where one has stopped", () => {
  const host = new Host();
  const nodes = host.come(16);
  host.tuner.goOn();
  const other = host.another();
  for (let i = 0; i < 7; i++) other.tuner.goOn();
  assert.equal(other.tried(nodes), 16);
});

test("what is forgotten while it waits is tried with all that wait, and then gone", () => {
  for (const waiting of [5, 16, 18, 20]) {
    const host = new Host();
    const nodes = host.come(waiting);
    const last = nodes.at(-1)!;
    host.tuner.forget(last);
    assert.equal(host.tried(nodes), waiting - 1);
    assert.ok(!host.tuner.isHeld(last));
  }
});

test("whatever the memory says of how many wait, accesses are tried", () => {
  for (const waiting of [NaN, -1, 0.5, 1e300, Infinity, 15, 16, 17]) {
    const shared = new ArrayBuffer(new Host().size_bytes);
    const host = new Host(shared);
    new Float64Array(shared)[6] = waiting;
    const nodes = host.come(64);
    for (let i = 0; i < 16; i++) host.tuner.goOn();
    assert.ok(host.tried(nodes) >= 48, `${waiting}`);
  }
});
