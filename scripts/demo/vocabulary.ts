/**
 * The vocabulary that the demo's model and its prompts share.
 *
 * The words are made of syllables, a consonant and a vowel. The tokenizer
 * merges neighbouring characters into the pieces it knows, and no piece here
 * begins inside another, so that a text has one reading: each syllable, space
 * and mark is one token, and a longer text begins with the tokens of its
 * beginning.
 */

const CONSONANTS = [..."bdklmnrstv"];
const VOWELS = [..."aeiou"];

/** Which tokens of an SPM vocabulary are what, by llama.cpp's numbers. */
const TOKEN_TYPE = { normal: 1, unknown: 2, control: 3, byte: 6 } as const;

/** One entry of the vocabulary; its index is the token's number. */
export interface VocabularyEntry {
  readonly text: string;
  readonly score: number;
  readonly type: number;
}

export const UNKNOWN_TOKEN = 0;
export const BEGIN_TOKEN = 1;
export const END_TOKEN = 2;

/** The first token that is neither special nor a raw byte. */
export const FIRST_PIECE = 3 + 256;

/** All syllables, in the order of their tokens. */
export const SYLLABLES: readonly string[] = CONSONANTS.flatMap((consonant) =>
  VOWELS.map((vowel) => consonant + vowel)
);

/** SentencePiece writes a space as this mark. */
const SPACE_MARK = "\u2581";

/** All tokens: 3 special ones, 256 bytes, then the pieces of text. */
export function vocabulary(): VocabularyEntry[] {
  const bytes = Array.from({ length: 256 }, (_, byte) => ({
    text: `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
    score: 0,
    type: TOKEN_TYPE.byte,
  }));
  const pieces = [SPACE_MARK, ".", ...SYLLABLES].map((text, rank) => ({
    text,
    score: -rank,
    type: TOKEN_TYPE.normal,
  }));
  return [
    { text: "<unk>", score: 0, type: TOKEN_TYPE.unknown },
    { text: "<s>", score: 0, type: TOKEN_TYPE.control },
    { text: "</s>", score: 0, type: TOKEN_TYPE.control },
    ...bytes,
    ...pieces,
  ];
}
