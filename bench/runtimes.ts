/**
 * The two runtimes, as programs.
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";

export type Runtime = "deno" | "bun";

export const RUNTIMES: readonly Runtime[] = ["deno", "bun"];

export function isRuntime(name: string): name is Runtime {
  return name === "deno" || name === "bun";
}

const OWN: Runtime = process.versions["bun"] ? "bun" : "deno";

export function programOf(runtime: Runtime): string {
  if (runtime === OWN) return process.execPath;
  const ours = new URL(`../.tools/bin/${runtime}`, import.meta.url);
  return existsSync(ours) ? fileURLToPath(ours) : runtime;
}

/** The command that runs a script of this folder, by our own runtime unless said. */
export function commandFor(script: string, runtime: Runtime = OWN): string[] {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const flags = runtime === "deno" ? ["run", "-A", "-q"] : ["run"];
  return [programOf(runtime), ...flags, path];
}

export function isInstalled(runtime: Runtime): boolean {
  const { status } = spawnSync(programOf(runtime), ["--version"], {
    stdio: "ignore",
  });
  return status === 0;
}
