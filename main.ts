/**
 * The `cortex` program: chooses the host, runs the command line, sets the exit
 * code.
 *
 * @module
 */
import { hostPlatform } from "./ffi/mod.ts";
import { TERMINAL } from "./ffi/terminal.ts";
import { run } from "./lib/cli/run.ts";

// No top-level await: a compiled program with bytecode cannot have one.
run({ platform: hostPlatform, terminal: TERMINAL })
  .then((code) => TERMINAL.exit(code));
