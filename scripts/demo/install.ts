/** Installs the demo's engine into `.tools/llama`, unless it is there. */

import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { arch } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const VERSION = "3.22.1";

const FOLDER = fileURLToPath(new URL("../../.tools/llama", import.meta.url));

/** Where the engine's module is once {@link installEngine} has run. */
export const ENGINE_MODULE: string = new URL(
  "../../.tools/llama/node_modules/node-llama-cpp/dist/index.js",
  import.meta.url,
).href;

/**
 * Runs npm without scripts and without the optional packages, which would be
 * the binaries for every other platform: about 85 MB instead of a gigabyte.
 * Returns whether there was anything to do.
 */
export function installEngine(): boolean {
  // `arch()` is "x64" or "arm64", as in the names of the packages.
  const binaries = `@node-llama-cpp/linux-${arch()}`;
  const isInstalled = ["node-llama-cpp", binaries]
    .every((name) => existsSync(join(FOLDER, "node_modules", name)));
  if (isInstalled) return false;
  const options = ["--ignore-scripts", "--omit=optional", "--no-package-lock"];
  const packages = [`node-llama-cpp@${VERSION}`, `${binaries}@${VERSION}`];
  const npm = spawnSync(
    "npm",
    ["install", "--prefix", FOLDER, ...options, ...packages],
    { encoding: "utf8" },
  );
  if (npm.status !== 0) {
    const cause = npm.error?.message ?? npm.stderr.trim();
    throw new Error(`Cannot install the engine: npm failed: ${cause}`);
  }
  return true;
}
