/**
 * How large a model's key/value cache is, from its Hugging Face `config.json`.
 *
 * @module
 */
import { UsageError } from "../errors.ts";

/** Layers that cache alike. */
export interface CachedLayers {
  readonly layers: number;
  /** What each of them keeps. */
  readonly attention: "full" | "window" | "latent";
  /** Numbers kept for one token, in one of these layers. */
  readonly values_per_token: number;
  /** Tokens that it looks back on; `undefined`: all. */
  readonly window_tokens: number | undefined;
}

/** A model's cache. */
export interface ModelCache {
  readonly model_type: string;
  /** Its name, if the config says it. */
  readonly name: string | undefined;
  /** The longest sequence that it was made for, if the config says it. */
  readonly context_tokens: number | undefined;
  /** Name of the numbers' type, as the config has it. */
  readonly dtype: string;
  readonly groups: readonly CachedLayers[];
  /** Layers that keep nothing that grows with the tokens. */
  readonly layers_without: number;
}

/** Bytes a number. */
const DTYPE_BYTES: Readonly<Record<string, number>> = {
  fp32: 4,
  float32: 4,
  bf16: 2,
  bfloat16: 2,
  fp16: 2,
  float16: 2,
  half: 2,
  fp8: 1,
  fp8_e4m3: 1,
  fp8_e5m2: 1,
  int8: 1,
  fp4: 0.5,
  int4: 0.5,
};

/**
 * Bytes of a number of that type.
 *
 * @throws {UsageError} if there is no such type.
 */
export function dtypeBytes(dtype: string): number {
  const name = dtype.toLowerCase().replace(/^torch\./, "");
  if (Object.hasOwn(DTYPE_BYTES, name)) return DTYPE_BYTES[name]!;
  throw new UsageError(
    "plan with",
    `dtype ${JSON.stringify(dtype.slice(0, 40))}`,
    "there is no such type",
    `Use one of ${Object.keys(DTYPE_BYTES).join(", ")}`,
  );
}

type Config = Readonly<Record<string, unknown>>;

/** A config's values, under any of the names that models give them. */
class Reader {
  readonly #config: Config;

  constructor(config: Config) {
    this.#config = config;
  }

  get(...names: readonly string[]): unknown {
    for (const name of names) {
      const value = this.#config[name];
      if (value !== undefined && value !== null) return value;
    }
    return undefined;
  }

  /** A whole number from 1 on. */
  count(...names: readonly string[]): number | undefined {
    const value = this.get(...names);
    if (value === undefined) return undefined;
    if (Number.isSafeInteger(value) && Number(value) >= 1) return Number(value);
    throw this.refuse(`${names[0]} is not a positive whole number`);
  }

  need(...names: readonly string[]): number {
    const value = this.count(...names);
    if (value !== undefined) return value;
    throw this.refuse(`it has no ${names[0]}`);
  }

  list(...names: readonly string[]): readonly unknown[] | undefined {
    const value = this.get(...names);
    return Array.isArray(value) ? value : undefined;
  }

  text(...names: readonly string[]): string | undefined {
    const value = this.get(...names);
    return typeof value === "string" ? value : undefined;
  }

  refuse(state: string): UsageError {
    return new UsageError(
      "plan for",
      "that model",
      state,
      "Give the config.json of a transformer, as Hugging Face has it",
    );
  }
}

/**
 * Works out what a model caches.
 *
 * @param tp_size parts that tensor parallelism splits the model into; what one of
 * them caches is told. Heads are divided, and no part has less than one; a latent
 * vector is every part's.
 * @throws {UsageError} if the config is not one of a transformer.
 *
 * @example
 * ```ts
 * import { bytesPerToken, readModel } from "./model.ts";
 * import assert from "node:assert/strict";
 *
 * const llama3 = readModel({
 *   num_hidden_layers: 32,
 *   num_attention_heads: 32,
 *   num_key_value_heads: 8,
 *   hidden_size: 4096,
 *   torch_dtype: "bfloat16",
 * });
 * assert.equal(bytesPerToken(llama3, "bf16"), 131_072);
 * ```
 */
export function readModel(config: unknown, tp_size = 1): ModelCache {
  if (typeof config !== "object" || config === null || Array.isArray(config)) {
    throw new Reader({}).refuse("its config is not a JSON object");
  }
  const whole = config as Config;
  // A model of several kinds of input has its text model's config inside.
  const inner = whole["text_config"] ?? whole["llm_config"] ??
    whole["language_config"];
  const isNested = typeof inner === "object" && inner !== null &&
    whole["num_hidden_layers"] === undefined;
  const reader = new Reader(isNested ? { ...whole, ...inner } : whole);
  const layers = reader.need("num_hidden_layers", "n_layer", "num_layers");
  if (layers > LAYERS_MAX) {
    throw reader.refuse(
      `num_hidden_layers is ${layers}, more than any model has`,
    );
  }
  const kinds = layerKinds(reader, layers);
  const shared = reader.get("num_kv_shared_layers");
  const own = layers - (typeof shared === "number" ? shared : 0);
  const groups = new Map<string, CachedLayers>();
  let layers_without = 0;
  for (let layer = 0; layer < layers; layer++) {
    const kept = layer < own
      ? cacheOf(reader, kinds[layer]!, layer, tp_size)
      : undefined;
    if (!kept) {
      layers_without++;
      continue;
    }
    const id = JSON.stringify([kept.values_per_token, kept.window_tokens]);
    const same = groups.get(id);
    groups.set(id, { ...kept, layers: (same?.layers ?? 0) + 1 });
  }
  return {
    model_type: reader.text("model_type") ?? "unknown",
    name: reader.text("_name_or_path") || undefined,
    context_tokens: reader.count(
      "max_position_embeddings",
      "n_positions",
      "seq_length",
      "max_sequence_length",
      "max_seq_len",
    ),
    dtype: reader.text("torch_dtype", "dtype") ?? "bfloat16",
    groups: [...groups.values()],
    layers_without,
  };
}

type LayerKind = "full" | "window" | "none";

/** Numbers beyond this are a mistake, or meant to take our time. */
const LAYERS_MAX = 10_000;

/** What each layer is, by whichever of the ways to say so the config uses. */
function layerKinds(reader: Reader, layers: number): LayerKind[] {
  const each = (kind: (layer: number) => LayerKind) =>
    Array.from({ length: layers }, (_, layer) => kind(layer));

  const types = reader.list("layer_types", "layers_block_type", "block_types");
  if (types && types.length > 0) {
    return each((layer) => kindOf(String(types[layer % types.length])));
  }
  const flags = reader.list("attn_type_list");
  if (flags) return each((layer) => flags[layer] === 0 ? "none" : "full");
  const pattern = reader.text("hybrid_override_pattern");
  if (pattern) return each((layer) => pattern[layer] === "*" ? "full" : "none");
  const period = reader.count("attn_layer_period");
  if (period) {
    const offset = Number(reader.get("attn_layer_offset") ?? 0);
    return each((layer) => layer % period === offset ? "full" : "none");
  }
  if (windowOf(reader) === undefined) return each(() => "full");
  const every = reader.count(
    "sliding_window_pattern",
    "_sliding_window_pattern",
  );
  if (every) {
    return each((layer) => (layer + 1) % every === 0 ? "full" : "window");
  }
  if (reader.text("model_type") === "gemma2") {
    return each((layer) => layer % 2 === 0 ? "window" : "full");
  }
  // Qwen's first layers see all, those from max_window_layers on a window.
  const firstWindow = reader.get("use_sliding_window") === true
    ? Number(reader.get("max_window_layers") ?? 0)
    : 0;
  return each((layer) => layer >= firstWindow ? "window" : "full");
}

function kindOf(type: string): LayerKind {
  if (/sliding|chunked|local/.test(type)) return "window";
  return /attention|full|global/.test(type) && !/linear/.test(type)
    ? "full"
    : "none";
}

/** Tokens that a windowed layer looks back on. */
function windowOf(reader: Reader): number | undefined {
  if (reader.get("use_sliding_window") === false) return undefined;
  return reader.count(
    "sliding_window",
    "sliding_window_size",
    "attention_chunk_size",
    "attention_window_size",
  );
}

function cacheOf(
  reader: Reader,
  kind: LayerKind,
  layer: number,
  tp_size: number,
): CachedLayers | undefined {
  if (kind === "none") return undefined;
  const window_tokens = kind === "window" ? windowOf(reader) : undefined;
  const latent = reader.count("kv_lora_rank");
  if (latent !== undefined) {
    // Multi-head latent attention: one compressed vector and the rotary part.
    const values_per_token = latent + reader.need("qk_rope_head_dim");
    return { layers: 1, attention: "latent", values_per_token, window_tokens };
  }
  const heads = kvHeads(reader, layer);
  if (heads === 0) return undefined;
  return {
    layers: 1,
    attention: window_tokens === undefined ? "full" : "window",
    values_per_token: 2 * Math.ceil(heads / tp_size) * headDim(reader),
    window_tokens,
  };
}

/** Heads that keys and values have, in a layer. */
function kvHeads(reader: Reader, layer: number): number {
  const names = [
    "num_key_value_heads",
    "num_kv_heads",
    "n_head_kv",
    "multi_query_group_num",
  ];
  const perLayer = reader.list(...names, "num_key_value_heads_per_layer");
  if (perLayer) {
    const heads = Number(perLayer[layer]);
    if (Number.isSafeInteger(heads) && heads >= 0) return heads;
    throw reader.refuse("it does not say how many heads each layer has");
  }
  if (
    reader.get("multi_query") === true && reader.get(...names) === undefined
  ) {
    return 1;
  }
  return reader.count(...names) ?? reader.need("num_attention_heads", "n_head");
}

function headDim(reader: Reader): number {
  const given = reader.count("head_dim", "attention_head_dim", "kv_channels");
  if (given !== undefined) return given;
  const hidden = reader.need("hidden_size", "n_embd", "d_model");
  const dim = hidden / reader.need("num_attention_heads", "n_head");
  if (Number.isInteger(dim)) return dim;
  throw reader.refuse("its hidden size is no multiple of its heads");
}

/** Bytes that one more token takes, while no window is full. */
export function bytesPerToken(model: ModelCache, dtype: string): number {
  const values = model.groups.reduce(
    (sum, group) => sum + group.layers * group.values_per_token,
    0,
  );
  return values * dtypeBytes(dtype);
}

/** Bytes of a sequence: windowed layers keep no more than their window. */
export function bytesPerSequence(
  model: ModelCache,
  dtype: string,
  context_tokens: number,
): number {
  const values = model.groups.reduce((sum, group) => {
    const tokens = Math.min(context_tokens, group.window_tokens ?? Infinity);
    return sum + group.layers * group.values_per_token * tokens;
  }, 0);
  return values * dtypeBytes(dtype);
}
