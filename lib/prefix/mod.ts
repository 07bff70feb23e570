/**
 * Hash chains of prompts, and what they are chains of.
 *
 * @module
 */
export * from "./chain.ts";
export { type CacheKind, namespaceOf, parseNamespace } from "./namespace.ts";
export { type ChainOptions, sglangChain } from "./sglang.ts";
export { parseTokens } from "./tokens.ts";
export {
  checkExtra,
  type ExtraKeys,
  type MultimodalInput,
  vllmChain,
  type VllmOptions,
} from "./vllm.ts";
