/** The prompts of the demo: nonsense of an exact length in tokens. */

import { Random } from "./random.ts";
import { SYLLABLES } from "./vocabulary.ts";

const SEED = 7;
const WORD_SYLLABLES_MAX = 4;
const SENTENCE_WORDS = 12;

/**
 * A text of `tokens` tokens, the token that begins every sequence included.
 * A shorter prompt is the beginning of every longer one.
 */
export function prompt(tokens: number): string {
  const pieces: string[] = [];
  const random = new Random(SEED);
  for (let word = 1; pieces.length < tokens - 1; word++) {
    const syllables = 1 + random.below(WORD_SYLLABLES_MAX);
    for (let i = 0; i < syllables; i++) {
      pieces.push(SYLLABLES[random.below(SYLLABLES.length)] as string);
    }
    if (word % SENTENCE_WORDS === 0) pieces.push(".");
    pieces.push(" ");
  }
  return pieces.slice(0, tokens - 1).join("");
}
