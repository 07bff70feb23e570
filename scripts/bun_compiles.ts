/**
 * How Bun compiles a program: the bench measures ours against one that was made
 * alike.
 *
 * @module
 */

/** Arguments of `bun build`, but for what is compiled. */
export const BUN_COMPILES: readonly string[] = [
  "--compile",
  "--bytecode",
  "--format=esm",
  "--splitting",
  "--minify",
  // A cache's behaviour must not hang on files of the directory it runs in.
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-bunfig",
];
