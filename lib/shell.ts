/**
 * Commands that people copy into a shell.
 *
 * @module
 */

/** A word as a shell reads it. */
export function shellWord(word: string): string {
  return /^[\w@:,./+=-]+$/.test(word)
    ? word
    : `'${word.replaceAll("'", "'\\''")}'`;
}
