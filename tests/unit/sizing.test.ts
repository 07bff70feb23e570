import { test } from "node:test";
import assert from "node:assert/strict";
import { UsageError } from "../../lib/errors.ts";
import { usableBlocks } from "../../lib/geometry.ts";
import { planGeometry } from "../../lib/pool_geometry.ts";
import {
  bytesPerSequence,
  bytesPerToken,
  dtypeBytes,
  readModel,
} from "../../lib/sizing/model.ts";
import { planPool, recordsFor } from "../../lib/sizing/pool.ts";
import { assertRefuses } from "../helpers.ts";

/** The parts of published configs that count. */
const CONFIGS = {
  "Llama-3-8B": {
    model_type: "llama",
    hidden_size: 4096,
    num_attention_heads: 32,
    num_hidden_layers: 32,
    num_key_value_heads: 8,
    torch_dtype: "bfloat16",
  },
  "Llama-3-70B": {
    model_type: "llama",
    hidden_size: 8192,
    num_attention_heads: 64,
    num_hidden_layers: 80,
    num_key_value_heads: 8,
  },
  "Llama-3.1-405B": {
    model_type: "llama",
    hidden_size: 16384,
    num_attention_heads: 128,
    num_hidden_layers: 126,
    num_key_value_heads: 8,
  },
  "Qwen2.5-72B": {
    model_type: "qwen2",
    hidden_size: 8192,
    num_attention_heads: 64,
    num_hidden_layers: 80,
    num_key_value_heads: 8,
    sliding_window: 131072,
    use_sliding_window: false,
    max_window_layers: 70,
  },
  "DeepSeek-V3": {
    model_type: "deepseek_v3",
    hidden_size: 7168,
    kv_lora_rank: 512,
    qk_rope_head_dim: 64,
    num_attention_heads: 128,
    num_hidden_layers: 61,
    num_key_value_heads: 128,
  },
  "falcon-7b": {
    model_type: "falcon",
    hidden_size: 4544,
    num_attention_heads: 71,
    num_hidden_layers: 32,
    multi_query: true,
  },
  "gpt2": { model_type: "gpt2", n_embd: 768, n_head: 12, n_layer: 12 },
} as const;

/**
 * In bytes a token, bf16. The first two follow from Meta's model card; those of
 * Llama-3.1-405B (516 KB), Qwen2.5-72B (328 KB) and DeepSeek-V3 (70 KB) are
 * table 1 of "Insights into DeepSeek-V3" (Zhao et al., ISCA 2025), 516.096,
 * 327.680 and 70.272 kB there.
 */
const PUBLISHED: Readonly<Record<string, number>> = {
  "Llama-3-8B": 131_072,
  "Llama-3-70B": 327_680,
  "Llama-3.1-405B": 516_096,
  "Qwen2.5-72B": 327_680,
  "DeepSeek-V3": 70_272,
  "falcon-7b": 2 * 64 * 32 * 2,
  "gpt2": 2 * 768 * 12 * 2,
};

test("bytesPerToken() gives the published figures", () => {
  for (const [name, config] of Object.entries(CONFIGS)) {
    assert.equal(
      bytesPerToken(readModel(config), "bf16"),
      PUBLISHED[name],
      name,
    );
  }
});

test("tensor parallelism divides heads, and no latent vector", () => {
  const perRank = (name: keyof typeof CONFIGS, parts: number) =>
    bytesPerToken(readModel(CONFIGS[name], parts), "bf16");
  assert.equal(perRank("Llama-3-8B", 4), 131_072 / 4);
  assert.equal(perRank("Llama-3-8B", 8), 131_072 / 8);
  // Where there are more parts than heads, heads are doubled.
  assert.equal(perRank("Llama-3-8B", 16), 131_072 / 8);
  assert.equal(perRank("DeepSeek-V3", 8), PUBLISHED["DeepSeek-V3"]);
  const plan = planPool(readModel(CONFIGS["Llama-3-8B"], 4), {
    context_tokens: 8192,
    sequences: 4,
    dtype: "bf16",
    block_tokens: 256,
    pools: 4,
  });
  assert.equal(plan.total_bytes, 131_072 / 4 * 8192 * 4);
  assert.ok(plan.shm_bytes > 4 * plan.size_bytes);
});

test("a type of half the size takes half of it", () => {
  const model = readModel(CONFIGS["Llama-3-8B"]);
  assert.equal(bytesPerToken(model, "fp8"), 65_536);
  assert.equal(bytesPerToken(model, "float32"), 262_144);
  assert.equal(bytesPerToken(model, "int4"), 32_768);
  assert.equal(dtypeBytes("torch.bfloat16"), 2);
  assertRefuses(() => dtypeBytes("bf17"), UsageError, /no such type/);
  assert.equal(model.dtype, "bfloat16");
});

test("windowed layers keep no more than their window", () => {
  const base = {
    hidden_size: 4096,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    num_hidden_layers: 32,
    sliding_window: 4096,
  };
  // Mistral 7B v0.1: all layers.
  const mistral = readModel({ ...base, model_type: "mistral" });
  assert.equal(bytesPerToken(mistral, "bf16"), 131_072);
  assert.equal(bytesPerSequence(mistral, "bf16", 1000), 131_072 * 1000);
  assert.equal(bytesPerSequence(mistral, "bf16", 100_000), 131_072 * 4096);
  // Gemma 2: every other one. Gemma 3: five of six. gpt-oss: as it is told.
  const layers = (config: object) =>
    readModel({ ...base, ...config }).groups.map((
      { layers, window_tokens },
    ) => [
      layers,
      window_tokens,
    ]);
  assert.deepEqual(layers({ model_type: "gemma2" }), [[16, 4096], [
    16,
    undefined,
  ]]);
  assert.deepEqual(
    layers({ model_type: "gemma3_text", sliding_window_pattern: 6 }),
    [[27, 4096], [5, undefined]],
  );
  assert.deepEqual(
    layers({
      num_hidden_layers: 4,
      sliding_window: 128,
      layer_types: [
        "sliding_attention",
        "full_attention",
        "sliding_attention",
        "full_attention",
      ],
    }),
    [[2, 128], [2, undefined]],
  );
  assert.deepEqual(
    layers({ use_sliding_window: true, max_window_layers: 28 }),
    [[28, undefined], [4, 4096]],
  );
});

test("layers without attention keep nothing that grows", () => {
  const base = {
    hidden_size: 4096,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    num_hidden_layers: 32,
  };
  const jamba = readModel({
    ...base,
    attn_layer_period: 8,
    attn_layer_offset: 4,
  });
  assert.equal(jamba.layers_without, 28);
  assert.equal(bytesPerToken(jamba, "bf16"), 131_072 / 8);
  const hybrid = readModel({
    ...base,
    num_hidden_layers: 4,
    layer_types: [
      "linear_attention",
      "linear_attention",
      "linear_attention",
      "full_attention",
    ],
  });
  assert.equal(hybrid.layers_without, 3);
  const nemotron = readModel({
    ...base,
    num_hidden_layers: 4,
    hybrid_override_pattern: "M-M*",
  });
  assert.equal(nemotron.layers_without, 3);
});

test("readModel() looks into a model of several kinds of input", () => {
  const model = readModel({
    model_type: "mllama",
    text_config: CONFIGS["Llama-3-8B"],
    vision_config: { num_hidden_layers: 99 },
  });
  assert.equal(bytesPerToken(model, "bf16"), 131_072);
});

test("readModel() refuses what is no config of a transformer", () => {
  for (
    const config of [null, 3, [], {}, { num_hidden_layers: 0 }, {
      num_hidden_layers: 2,
      num_attention_heads: 3,
      hidden_size: 64,
    }]
  ) assertRefuses(() => readModel(config), UsageError, /that model/);
});

test("planPool() plans a pool that holds all of it", () => {
  for (const [name, config] of Object.entries(CONFIGS)) {
    for (const block_tokens of [16, 256]) {
      const plan = planPool(readModel(config), {
        context_tokens: 8192,
        sequences: 3,
        dtype: "bf16",
        block_tokens,
      });
      const { size_bytes, block_size_bytes: block_bytes, entries } = plan;
      const geometry = planGeometry({
        size_bytes,
        block_bytes,
        max_entries: recordsFor(entries),
      });
      const perEntry = Math.ceil(plan.entry_bytes / block_bytes);
      assert.ok(usableBlocks(geometry) >= perEntry * entries, name);
      assert.ok(geometry.max_entries >= entries, name);
      assert.equal(plan.total_bytes, PUBLISHED[name]! * 8192 * 3);
      // And not much more than that.
      assert.ok(size_bytes < plan.total_bytes * 1.03 + 2 ** 23, name);
      assert.ok(plan.shm_bytes > size_bytes);
    }
  }
});
