/**
 * Coverage of `lib/` by lines, from Deno's raw data. A file that no test loads
 * counts with all its lines. Fails below the limit.
 *
 *   deno run -A scripts/coverage.ts DIRECTORY
 *
 * @module
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));
const LIMIT = 0.85;

interface Lines {
  found: number;
  hit: number;
}

/**
 * Takes away what a process that was killed left half-written: the tests kill
 * some on purpose, and one such file would cost the whole report.
 */
function dropTornReports(directory: string): void {
  const reports = readdirSync(directory).filter((name) =>
    name.endsWith(".json")
  );
  for (const name of reports) {
    const path = join(directory, name);
    try {
      JSON.parse(readFileSync(path, "utf8"));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      console.log(`A killed process left ${name} half-written: left out`);
      rmSync(path);
    }
  }
}

/** Lines by file, from lcov. */
function measured(directory: string): Map<string, Lines> {
  const { status, stdout, stderr } = spawnSync(
    "deno",
    ["coverage", "--lcov", `--include=${join(ROOT, "lib")}/`, directory],
    { cwd: ROOT, encoding: "utf8", maxBuffer: 1 << 28 },
  );
  if (status !== 0) {
    console.error(`Cannot read the coverage: ${stderr}`);
    process.exit(1);
  }
  const files = new Map<string, Lines>();
  let lines: Lines = { found: 0, hit: 0 };
  let source: readonly string[] = [];
  for (const line of stdout.split("\n")) {
    if (line.startsWith("SF:")) {
      const path = relative(ROOT, line.slice(3));
      lines = { found: 0, hit: 0 };
      files.set(path, lines);
      source = readFileSync(join(ROOT, path), "utf8").split("\n");
    }
    const [, number, hits] = /^DA:(\d+),(\d+)$/.exec(line) ?? [];
    // Deno counts comments too: they would flatter.
    if (number === undefined || !isCode(source[Number(number) - 1])) continue;
    lines.found++;
    if (hits !== "0") lines.hit++;
  }
  return files;
}

/** Whether a line holds more than a comment. */
function isCode(line = ""): boolean {
  return !/^\s*($|\/?\*|\/\/)/.test(line);
}

/** Source files of `lib/`. */
function sources(): string[] {
  return readdirSync(join(ROOT, "lib"), { recursive: true })
    .map((name) => join("lib", String(name)))
    .filter((name) => name.endsWith(".ts"))
    .sort();
}

/** Lines of a file that nothing loaded: those that hold more than a comment. */
function unloaded(path: string): Lines {
  const text = readFileSync(join(ROOT, path), "utf8");
  const isTypesOnly = !/^(export )?(async )?(function|class|const|let)\b/m.test(
    text,
  );
  const code = text.split("\n").filter(isCode);
  return { found: isTypesOnly ? 0 : code.length, hit: 0 };
}

const directory = process.argv[2] ?? "cov";
dropTornReports(directory);
const files = measured(directory);
const total: Lines = { found: 0, hit: 0 };
for (const path of sources()) {
  const { found, hit } = files.get(path) ?? unloaded(path);
  total.found += found;
  total.hit += hit;
  if (found > 0 && hit < found) {
    console.log(
      `${((hit / found) * 100).toFixed(1).padStart(6)}%  ${path} (${
        found - hit
      } lines not run)`,
    );
  }
}
const share = total.hit / Math.max(1, total.found);
console.log(
  `${(share * 100).toFixed(1)}% of ${total.found} lines of lib/ (limit ${
    LIMIT * 100
  }%)`,
);
process.exit(share >= LIMIT ? 0 : 1);
