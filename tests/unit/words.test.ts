/** A line of nothing but words means without the parser what it means with it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { COMMANDS, TOOLS } from "../../lib/cli/catalog.ts";
import type { CommandSpec, Invocation } from "../../lib/cli/command.ts";
import type { Context } from "../../lib/cli/context.ts";
import { Exit } from "../../lib/cli/exit.ts";
import { parse } from "../../lib/cli/parser.ts";
import { readWords } from "../../lib/cli/words.ts";
import { cases, fc } from "../cases.ts";

/** What a command is made with. No command does anything here. */
const CONTEXT = {
  terminal: { args: [], columns: 80, write: () => {} },
} as unknown as Context;

const word = fc.oneof(
  fc.constantFrom("list", "show", "verify", "prune", "help", "pool", "a b", ""),
  fc.constantFrom("\ufffd", "0", "é".repeat(600), "__proto__", "cache"),
  fc.string({ unit: "binary" }).filter((text) => !text.startsWith("-")),
);
const words = fc.array(word, { maxLength: 4 });

type Outcome =
  | { readonly asked: Invocation }
  | { readonly refusal: string };

function refusalOf(error: unknown): Outcome {
  if (error instanceof Exit) return { refusal: `exit ${error.code}` };
  return { refusal: (error as Error).message };
}

/** What is read without the parser, if it is. */
function plainly(
  spec: CommandSpec,
  words: readonly string[],
): Outcome | undefined {
  try {
    const asked = readWords(spec, words);
    return asked && { asked };
  } catch (error) {
    return refusalOf(error);
  }
}

async function byParser(
  spec: CommandSpec,
  words: readonly string[],
): Promise<Outcome> {
  const known = {
    spec,
    words,
    parents: ["cortex"],
    load: () => Promise.reject(),
  };
  try {
    return { asked: await parse(CONTEXT, known) };
  } catch (error) {
    return refusalOf(error);
  }
}

/** A command that words alone cannot settle. */
function needsOptions(spec: CommandSpec): boolean {
  return spec.options.some(({ required }) => required);
}

for (const [name, load] of Object.entries({ ...COMMANDS, ...TOOLS })) {
  test(`${name}: words alone mean what the parser makes of them`, async () => {
    const factory = await load();
    await fc.assert(
      fc.asyncProperty(words, async (words) => {
        const spec = factory(CONTEXT);
        const parsed = await byParser(spec, words);
        const plain = plainly(spec, words);
        if (plain) assert.deepEqual(plain, parsed);
        else assert.ok("refusal" in parsed || needsOptions(spec));
      }),
      { numRuns: cases(100) },
    );
  });
}

test("a line with an option is for the parser", async () => {
  const spec = (await COMMANDS["status"]!())(CONTEXT);
  for (const option of ["--json", "-", "--", "-1", "--interval=2"]) {
    assert.equal(readWords(spec, ["pool", option]), undefined, option);
  }
  const outcome = await byParser(spec, ["pool", "--interval=2", "--json"]);
  assert.ok("asked" in outcome);
  assert.deepEqual(outcome.asked.values, [
    "pool",
    { interval: 2, json: true },
  ]);
});
