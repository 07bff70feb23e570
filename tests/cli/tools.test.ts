/** sim, hash, plan and record; matching from tokens; lifetimes on the command line. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Pool } from "../../lib/mod.ts";
import {
  cache,
  cacheJson,
  cortex,
  poolName,
  PROGRAM,
  refused,
  scratch,
  start,
} from "./harness.ts";

/** `cortex ARGS`, which must succeed. */
function tool(...args: readonly string[]): string {
  const { code, stdout, stderr } = cortex(args);
  assert.equal(code, 0, `cortex ${args.join(" ")}: ${stderr}`);
  return stdout;
}

/** `cortex ARGS`, which must fail with that code, in one line and a hint. */
function toolRefused(code: number, ...args: readonly string[]): string {
  const result = cortex(args);
  assert.equal(result.code, code, `cortex ${args.join(" ")}: ${result.stderr}`);
  assert.match(result.stderr, /^cortex: Cannot [^\n]+: [^\n]+\n([^\n]+\n)?$/);
  return result.stderr;
}

test("cortex sim prints a table, a curve and a picture, or JSON", () => {
  using folder = scratch();
  const trace = join(folder.path, "trace.jsonl");
  const lines = Array.from(
    { length: 300 },
    (_, i) => JSON.stringify({ hash_ids: [0, i % 7, 100 + i % 40] }),
  );
  writeFileSync(trace, lines.join("\n") + "\n");
  const svg = join(folder.path, "curve.svg");
  const args = ["sim", trace, "--blocks", "5,20", "--policy", "prefix,lru"];
  const text = tool(...args, "--svg", svg);
  assert.match(text, /300 requests, 900 block touches/);
  assert.match(text, /^policy +5 +20$/m);
  assert.match(text, /^bound +\d+\.\d\d% +\d+\.\d\d%$/m);
  assert.match(text, /\* prefix {3}o lru {3}\+ bound/);
  assert.match(text, /\n\n(prefix|lru) is best at [^\n]+\n$/);
  const single = tool("sim", trace, "--blocks", "5", "--policy", "lru");
  assert.doesNotMatch(single, /log scale/, "no picture of one size");
  assert.match(tool("sim", trace, "--policy", "lru"), /^policy( +\d+){5}$/m);
  assert.match(readFileSync(svg, "utf8"), /^<svg [^]*<\/svg>\n$/);
  const results = JSON.parse(tool(...args, "--json"));
  assert.equal(results.length, 6);
  for (const one of results) {
    assert.deepEqual(Object.keys(one), [
      "policy",
      "blocks",
      "requests",
      "block_touches",
      "prefix_hits",
      "hit_rate",
    ]);
    assert.equal(one.hit_rate, one.prefix_hits / 900);
  }
  assert.deepEqual(
    results.map((one: { policy: string }) => one.policy),
    ["prefix", "prefix", "lru", "lru", "bound", "bound"],
  );
  const csv = join(folder.path, "objects.csv");
  writeFileSync(csv, "key,size\na,600\nb,500\na,600\n");
  const [lru] = JSON.parse(
    tool("sim", csv, "--size", "1K", "--policy", "lru", "--json"),
  );
  assert.deepEqual([lru.size_bytes, lru.prefix_hits], [1024, 0]);
});

test("cortex sim refuses in one line what it cannot replay", () => {
  using folder = scratch();
  const trace = join(folder.path, "trace.jsonl");
  writeFileSync(trace, '{"hash_ids": [1]}\nnonsense\n');
  toolRefused(5, "sim", trace, "--blocks", "5");
  toolRefused(3, "sim", join(folder.path, "none"), "--blocks", "5");
  toolRefused(5, "sim", trace);
  toolRefused(2, "sim", trace, "--blocks", "0");
  toolRefused(2, "sim", trace, "--blocks", "5", "--size", "1K");
  toolRefused(2, "sim", trace, "--blocks", "5", "--policy", "best");
  toolRefused(2, "sim", trace, "--blocks", "5", "--low", "0");
  writeFileSync(trace, '{"hash_ids": [1]}\n');
  assert.match(
    toolRefused(2, "sim", trace, "--size", "1K"),
    /does not say how large its blocks are/,
  );
});

test("cortex hash prints a prompt's keys, one a line", () => {
  using folder = scratch();
  const file = join(folder.path, "tokens");
  writeFileSync(file, "1, 2 3\n4 5 6 7 8 9,10\n");
  const sglang = [
    "cf97adeedb59e05bfd73a2b4c2a8885708c4f4f70c84c64b27120e72ab733b72",
    "4ebfa8a1f3c341517621838c6e1b9aa350307e3f00b3cbd1a07ef740f54396d6",
  ];
  const vllm = [
    "c9d58ba695280d69b243e1e0df813136ca9196b286fb1a021e0b2e028ef071cb",
    "24125b23e68883b5c2141db2959d48433fe6bde2f26bd914efad121d154ab2d6",
  ];
  const args = ["hash", "--block-tokens", "4", "--tokens-file", file];
  assert.equal(tool(...args), sglang.join("\n") + "\n");
  assert.deepEqual(
    JSON.parse(tool(...args, "--scheme", "vllm", "--json")),
    { keys: vllm },
  );
  const short = cortex([...args.slice(0, 2), "11", ...args.slice(3)]);
  assert.deepEqual([short.code, short.stdout], [0, ""]);
  assert.match(short.stderr, /^cortex: No block is full, [^\n]*\n$/);
  // A pipe does not say how long it is.
  const script = `cat '${file}' | ${
    PROGRAM.map((word) => `'${word}'`).join(" ")
  } hash --block-tokens 4 --tokens-file /dev/stdin`;
  const piped = spawnSync("sh", ["-c", script], { encoding: "utf8" });
  assert.equal(piped.stdout, sglang.join("\n") + "\n", piped.stderr);
  const salted = tool(...args, "--scheme", "vllm", "--extra", '{"salt":"s"}');
  assert.notEqual(salted, vllm.join("\n") + "\n");
  toolRefused(2, ...args, "--seed", "1");
  toolRefused(2, ...args, "--scheme", "md5");
  toolRefused(2, ...args, "--scheme", "vllm", "--extra", '{"x":1}');
  writeFileSync(file, "1 2 three");
  toolRefused(2, ...args);
  toolRefused(3, "hash", "--block-tokens", "4", "--tokens-file", file + "x");
});

test("cortex cache match takes token ids, and block tokens from the pool", () => {
  using folder = scratch();
  using pool = poolName();
  const file = join(folder.path, "tokens");
  writeFileSync(file, "1 2 3 4 5 6 7 8 9 10");
  cache(
    ...["create", pool.name, "--size", "4M", "--model", "llama"],
    ...["--dtype", "bf16", "--tp-rank", "1", "--tp-size", "2"],
    ...["--block-tokens", "4"],
  );
  assert.equal(
    cacheJson("status", pool.name).namespace,
    "model=llama&dtype=bf16&tp=1/2&block_tokens=4",
  );
  const [first] = tool("hash", "--block-tokens", "4", "--tokens-file", file)
    .split("\n");
  cache("put", pool.name, first!, "--tokens", "4");
  const match = cacheJson("match", pool.name, "--tokens-file", file);
  assert.deepEqual(match, {
    matched: [first],
    tokens: 4,
    deepest: { key: first, number: 1, tokens: 4 },
  });
  const other = cacheJson(
    ...["match", pool.name, "--tokens-file", file, "--scheme", "vllm"],
  );
  assert.deepEqual(other.matched, []);
  refused(2, ["match", pool.name]);
  refused(2, ["match", pool.name, "key", "--tokens-file", file]);
  refused(2, [
    "create",
    "x",
    "--size",
    "4M",
    "--model",
    "m",
    "--namespace",
    "n",
  ]);
  refused(2, [
    "create",
    "x",
    "--size",
    "4M",
    "--tp-rank",
    "2",
    "--tp-size",
    "2",
  ]);
});

/** What counts of the config of Llama 3 8B. */
const LLAMA = {
  model_type: "llama",
  hidden_size: 4096,
  num_attention_heads: 32,
  num_hidden_layers: 32,
  num_key_value_heads: 8,
  torch_dtype: "bfloat16",
};

test("cortex plan says what to create, and that can be created", () => {
  using folder = scratch();
  using pool = poolName();
  const config = join(folder.path, "config.json");
  writeFileSync(
    config,
    JSON.stringify(LLAMA),
  );
  const args = ["plan", "--config", config, "--context", "1024"];
  const plan = JSON.parse(
    tool(...args, "--sequences", "2", "--name", pool.name, "--json"),
  );
  assert.equal(plan.bytes_per_token, 131_072);
  assert.equal(plan.total_bytes, 131_072 * 1024 * 2);
  const command = String(plan.command).split(" ");
  assert.deepEqual(command.slice(0, 3), ["cortex", "cache", "create"]);
  cache(...command.slice(2));
  const { blocks, block_size_bytes } = cacheJson("status", pool.name);
  assert.ok(blocks * block_size_bytes >= plan.total_bytes);
  assert.equal(plan.mount, null, "there is room for so little");
  const text = tool(...args, "--sequences", "64", "--dtype", "fp8");
  assert.match(text, /65,536 bytes \(llama, fp8\)/);
  assert.match(text, /\/dev\/shm +needs 4\.\d GiB free, and has /);
  assert.match(text, /\ncortex cache create llama-cache --size \d+M /);
  const large = tool(...args, "--sequences", "9999");
  assert.match(large, /mount -o remount,size=\d+G \/dev\/shm/);
  assert.match(large, /--size \d+G --block-size 32M /);
  assert.match(large, /\nMemory +this host has .* in all: too little\n/);
  const parts = tool(...args, "--sequences", "2", "--tp-size", "4");
  assert.match(parts, /\nAll pools +.*, one for each of 4 ranks\n/);
  assert.match(
    parts,
    / create llama-cache-0 .* --tp-rank 0 --tp-size 4$/m,
  );
  const told_k = ["plan", "--config", config, "--context", "1k", "--json"];
  assert.equal(JSON.parse(tool(...told_k)).context_tokens, 1024);
  for (const context of ["0", "1m", "k", "-1k", "1.5k"]) {
    toolRefused(2, "plan", "--config", config, `--context=${context}`);
  }
  toolRefused(2, ...args, "--name", "bad name/");
  toolRefused(2, "plan", "--config", folder.path);
  const untold = toolRefused(2, "plan", "--config", config);
  assert.match(untold, /how long a sequence may be\nSay it with --context/);
  const told = { ...LLAMA, max_position_embeddings: 512, _name_or_path: "a b" };
  writeFileSync(config, JSON.stringify(told));
  const whole = JSON.parse(tool("plan", "--config", config, "--json"));
  assert.equal(whole.total_bytes, 131_072 * 512);
  assert.match(whole.command, / --model 'a b' --dtype bfloat16 /);
  toolRefused(2, ...args, "--sequences", "0");
  toolRefused(2, ...args, "--sequences", "1", "--dtype", "bf17");
  writeFileSync(config, "{}");
  toolRefused(2, ...args, "--sequences", "1");
  writeFileSync(config, "{");
  toolRefused(2, ...args, "--sequences", "1");
});

test("cortex cache record writes what sim replays", async () => {
  using folder = scratch();
  using pool = poolName();
  const file = join(folder.path, "recording.jsonl");
  cache("create", pool.name, "--size", "4M");
  const said = refused(1, ["record", pool.name, "--output", file]);
  assert.match(said, /they are not noted\nHave them noted: .*--on/);
  refused(2, ["record", pool.name]);
  assert.deepEqual(cacheJson("record", pool.name, "--on").recording, true);
  cache("put", pool.name, "a");
  cache("put", pool.name, "b", "--parent", "a");
  cache("get", pool.name, "a");
  cache("get", pool.name, "b");
  const written = cacheJson("record", pool.name, "--output", file, "--off");
  assert.deepEqual(written, { recording: false, operations: 4, lost: 0 });
  const [lru] = JSON.parse(
    tool("sim", file, "--blocks", "10", "--policy", "lru", "--json"),
  );
  assert.deepEqual([lru.block_touches, lru.prefix_hits], [4, 2]);

  cache("record", pool.name, "--on");
  {
    using noted = Pool.open(pool.name);
    for (let i = 0; i < 200; i++) noted.get("a")!.release();
  }
  assert.match(
    cache("record", pool.name, "--output", file, "--off").stdout,
    /^Wrote 64 operations to .*; 140 older ones had been overwritten\n$/,
  );

  // While it follows, it notes for as long as it lives.
  const follower = start(
    ["cache", "record", pool.name, "--output", file, "--seconds", "60"],
  );
  const ended = new Promise((done) => follower.once("close", done));
  let told = "";
  follower.stdout.on("data", (chunk) => told += chunk);
  while (!cacheJson("status", pool.name).recording) {
    await new Promise((done) => setTimeout(done, 20));
  }
  cache("get", pool.name, "a");
  follower.kill("SIGINT");
  await ended;
  // Not by its exit code: Deno's child_process gives none for who was signalled.
  assert.match(told, /^Wrote 1 operation to /);
  assert.match(readFileSync(file, "utf8"), /"op":"hit"/);
  assert.equal(cacheJson("status", pool.name).recording, false);
});

test("cortex cache put --ttl makes an entry that expires", async () => {
  using pool = poolName();
  cache("create", pool.name, "--size", "1M", "--low", "100", "--policy", "arc");
  const { low_percent, policy } = cacheJson("status", pool.name);
  assert.deepEqual([low_percent, policy], [100, "arc"]);
  cache("put", pool.name, "soon", "--ttl", "400ms");
  cache("put", pool.name, "later", "--ttl", "1h");
  await new Promise((done) => setTimeout(done, 450));
  refused(3, ["get", pool.name, "soon"]);
  const [entry, ...more] = cacheJson("entries", pool.name);
  assert.equal(entry.key, "later");
  assert.match(entry.expires_at, /^\d{4}-.*Z$/);
  assert.deepEqual(more, []);
  for (const ttl of ["0", "-1", "soon", "1w"]) {
    refused(2, ["put", pool.name, "x", "--ttl", ttl]);
  }
  refused(2, ["create", "x", "--size", "1M", "--low", "101"]);
});
