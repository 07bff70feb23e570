/**
 * Lines of nothing but words, as `cortex cache status llama-cache`. They need no
 * parser, and the one that we have takes a quarter of such a program's time to
 * load; a test compares what both make of a line.
 *
 * @module
 */
import type { ArgumentSpec, CommandSpec, Invocation } from "./command.ts";

/**
 * What the words ask for, or `undefined` if that is for the parser to say: they
 * have options in them, or are not what the command takes.
 *
 * @throws {UsageError} for a word that can never be right.
 *
 * @example
 * ```ts
 * import { CommandSpec } from "./command.ts";
 * import { readWords } from "./words.ts";
 * import assert from "node:assert/strict";
 *
 * const spec = new CommandSpec("greet", "say hello", "greet world")
 *   .argument("<whom>", "whom to greet")
 *   .option("--times <n>", "how often", { default: 1 })
 *   .action(() => {});
 *
 * assert.deepEqual(readWords(spec, ["world"])?.values, [
 *   "world",
 *   { times: 1 },
 * ]);
 * assert.equal(readWords(spec, ["world", "--times", "2"]), undefined);
 * ```
 */
export function readWords(
  spec: CommandSpec,
  words: readonly string[],
): Invocation | undefined {
  if (spec.commands.length > 0) {
    const sub = spec.commands.find(({ name }) => name === words[0]);
    return sub && readWords(sub, words.slice(1));
  }
  if (words.some((word) => word.startsWith("-"))) return undefined;
  if (spec.options.some(({ required }) => required)) return undefined;
  if (!spec.run || !takes(spec, words.length)) return undefined;
  const values = spec.arguments.map((argument, place) =>
    isMany(argument)
      ? words.slice(place).reduce(reader(argument), undefined) ?? []
      : place < words.length
      ? reader(argument)(undefined, words[place]!)
      : undefined
  );
  return { run: spec.run, values: [...values, defaults(spec)] };
}

const isMany = ({ flags }: ArgumentSpec) => flags.includes("...");

function takes({ arguments: all }: CommandSpec, words: number): boolean {
  const fewest = all.filter(({ flags }) => flags.startsWith("<")).length;
  return words >= fewest && (words <= all.length || all.some(isMany));
}

function reader({ read }: ArgumentSpec) {
  return (before: unknown, word: string): unknown =>
    read ? read(word, before as never) : word;
}

function defaults(spec: CommandSpec): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const option of spec.options) {
    if (option.default === undefined) continue;
    values[optionName(option.flags)] = option.default;
  }
  return values;
}

/** `blockSize` of `--block-size <size>`. */
function optionName(flags: string): string {
  const [name = ""] = flags.slice("--".length).split(" ");
  const [first = "", ...rest] = name.split("-");
  const capital = (word: string) => word.slice(0, 1).toUpperCase();
  return first + rest.map((word) => capital(word) + word.slice(1)).join("");
}
