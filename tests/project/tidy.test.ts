/** The borders of the architecture, kept by a machine. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, normalize, relative } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { POLICY_IDS, TIER_IDS } from "../../lib/layout.ts";
import { CORTEX_VERSION } from "../../lib/version.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

function typescript(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((name) => name.endsWith(".ts"));
}

const read = (path: string) => readFileSync(join(ROOT, path), "utf8");

/** The code without its comments. */
const code = (path: string) =>
  read(path).replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(
    /^\s*\/\/.*$/gm,
    "",
  );

/** The files of ours that a file imports. */
function imports(path: string): string[] {
  return [...code(path).matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g)]
    .map(([, target]) => normalize(join(dirname(path), target!)));
}

const LIB = typescript("lib"), FFI = typescript("ffi");

test("only ffi/ names a runtime", () => {
  for (const path of [...LIB, "main.ts"]) {
    assert.doesNotMatch(
      code(path),
      /\b(Deno|Bun)\b|\bprocess\.|\bglobalThis\b|"bun:|\bDate\.now\b|\bMath\.random\b|\bperformance\./,
      path,
    );
  }
});

/** What of ffi/ is for the library: no pointer is in any of it. */
const FOR_LIB = ["mod", "platform", "terminal", "bytes"].map((name) =>
  `ffi/${name}.ts`
);

test("no pointer leaves ffi/, and ffi/ imports nothing of lib/", () => {
  for (const path of LIB) {
    for (const target of imports(path)) {
      assert.ok(
        !target.startsWith("ffi/") || FOR_LIB.includes(target),
        `${path} imports ${target}`,
      );
    }
  }
  for (const path of FFI) {
    for (const target of imports(path)) {
      assert.ok(target.startsWith("ffi/"), `${path} imports ${target}`);
    }
  }
});

test("only lib/layout.ts has numeric offsets", () => {
  // Prefix schemes are others' formats, not ours.
  const others = /^lib\/(layout\.ts|prefix\/)/;
  for (const path of LIB.filter((path) => !others.test(path))) {
    assert.doesNotMatch(
      code(path),
      /\b[gs]et(?:Ui|I|BigUi|BigI)nt\d+\(\s*\d|\b[gs]etFloat\d+\(\s*\d|\b(?:u8|u32|f64)\[\d/,
      path,
    );
  }
});

test("a policy sees what is known of an entry, never the pool", () => {
  for (const path of typescript("lib/policy")) {
    for (const target of imports(path)) {
      assert.ok(
        target.startsWith("lib/policy/") || target === "lib/layout.ts",
        `${path} imports ${target}`,
      );
    }
  }
});

test("dependencies point one way", () => {
  const forbidden: [RegExp, RegExp][] = [
    // Nobody but main knows the command line.
    [/^lib\/(?!cli\/)/, /^lib\/cli\//],
    // A pool works without snapshots, and without knowing prefixes.
    [/^lib\/[^/]+(?<!\/mod)\.ts$/, /^lib\/(snapshot|prefix)\//],
    // The small parts know nothing of the whole.
    [
      /^lib\/(bitmap|allocator|victims|key|key_index|entry_table|slots|lock|tick|header|geometry|layout|units)\.ts$/,
      /^lib\/(core|pool|lifecycle|eviction|recovery)\.ts$/,
    ],
    [/^lib\/(layout|errors)\.ts$/, /^lib\//],
  ];
  for (const path of LIB) {
    for (const target of imports(path)) {
      for (const [from, to] of forbidden) {
        assert.ok(
          !(from.test(path) && to.test(target)),
          `${path} imports ${target}`,
        );
      }
    }
  }
});

test("no file of the product is dead", () => {
  const reached = new Set<string>();
  const visit = (path: string) => {
    if (reached.has(path)) return;
    reached.add(path);
    for (const target of imports(path)) visit(target);
  };
  visit("main.ts");
  visit("lib/mod.ts");
  assert.deepEqual([...LIB, ...FFI].filter((path) => !reached.has(path)), []);
});

test("cache status loads no parser, no policy, no snapshot, and nothing that changes a pool", () => {
  const loaded = new Set<string>();
  const visit = (path: string) => {
    if (loaded.has(path)) return;
    loaded.add(path);
    const statements = code(path).matchAll(
      /^(?:import|export) (?!type )[^;]*?"(\.[^"]+)";/gm,
    );
    for (const [, target] of statements) {
      visit(normalize(join(dirname(path), target!)));
    }
  };
  visit("main.ts");
  visit("lib/cli/commands/status.ts");
  assert.ok(loaded.has("lib/describe.ts") && loaded.has("lib/header.ts"));
  const unneeded =
    /^lib\/((policy|snapshot|prefix|sim)\/|(core|pool|eviction|lifecycle|recovery|cli\/parser)\.ts)/;
  assert.deepEqual([...loaded].filter((path) => unneeded.test(path)), []);
});

test("the library needs no package and no configuration, wherever it is imported from", () => {
  const scratch = mkdtempSync(join(tmpdir(), "cortex-import-"));
  for (const folder of ["lib", "ffi"]) {
    cpSync(join(ROOT, folder), join(scratch, folder), { recursive: true });
  }
  writeFileSync(
    join(scratch, "user.ts"),
    'import { Pool, sglangChain } from "./lib/mod.ts";\n' +
      "console.log(typeof Pool.open, sglangChain([1], { blockTokens: 1 }).length);\n",
  );
  for (
    const command of [
      ["deno", "run", "-A", "--no-config", "--no-npm", "user.ts"],
      ["bun", "--no-install", "user.ts"],
    ]
  ) {
    const { stdout, stderr } = spawnSync(command[0]!, command.slice(1), {
      cwd: scratch,
      encoding: "utf8",
    });
    assert.equal(stdout, "function 1\n", stderr);
  }
  rmSync(scratch, { recursive: true });
});

test("nothing is left of a merge", () => {
  const { stdout } = spawnSync(
    "git",
    ["grep", "-nE", "(<{7}|>{7}) ", "--", ":!tests/project/tidy.test.ts"],
    { cwd: ROOT, encoding: "utf8" },
  );
  assert.equal(stdout, "");
});

test("no file has more than 500 lines", () => {
  for (const path of [...LIB, ...FFI, ...typescript("scripts")]) {
    const lines = read(path).split("\n").length;
    assert.ok(lines <= 500, `${path} has ${lines}`);
  }
});

test("numbers of policies and tiers are never used twice", () => {
  for (const ids of [POLICY_IDS, TIER_IDS]) {
    const numbers = Object.values<number>(ids);
    assert.equal(new Set(numbers).size, numbers.length);
  }
});

test("the version is the same everywhere", () => {
  assert.equal(JSON.parse(read("deno.json")).version, CORTEX_VERSION);
  assert.match(
    read("CHANGELOG.md"),
    new RegExp(`^## ${CORTEX_VERSION}\\b`, "m"),
  );
});

test("every dependency is pinned, and the lock file has it", () => {
  const lock = read("deno.lock");
  for (
    const target of Object.values<string>(JSON.parse(read("deno.json")).imports)
  ) {
    assert.match(target, /^npm:[^@]+@\d+\.\d+\.\d+$/);
    assert.ok(lock.includes(target.slice(4)), `${target} is not locked`);
  }
});

test("links in the docs lead somewhere, and the README names every command", () => {
  const pages = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
    .concat(
      readdirSync(join(ROOT, "docs"), { recursive: true })
        .map((name) => join("docs", String(name)))
        .filter((name) => name.endsWith(".md")),
    );
  for (const page of pages) {
    for (const [, target] of read(page).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      const path = join(ROOT, dirname(page), target!);
      assert.ok(existsSync(path), `${page} links to ${relative(ROOT, path)}`);
    }
  }
  const readme = read("README.md");
  for (const command of typescript("lib/cli/commands")) {
    const name = command.replace(/^.*\/|\.ts$/g, "");
    assert.match(readme, new RegExp(`\\b${name}\\b`), `README lacks ${name}`);
  }
});

test("deno compile would embed the bundle and nothing else", () => {
  assert.ok(existsSync(join(ROOT, "dist", "cortex.js")), "run deno task build");
  // Any ELF file passes for its base program: what counts is the list it prints.
  const scratch = mkdtempSync(join(tmpdir(), "cortex-embed-"));
  const { stdout, stderr } = spawnSync(
    "deno",
    [
      "compile",
      "--allow-all",
      "--no-check",
      "--output",
      join(scratch, "program"),
      "dist/cortex.js",
    ],
    {
      cwd: ROOT,
      encoding: "utf8",
      env: { ...process.env, NO_COLOR: "1", DENORT_BIN: "/bin/ls" },
    },
  );
  rmSync(scratch, { recursive: true });
  const said = stdout + stderr;
  const files = said.match(/^.*\(\d+(?:\.\d+)?[KM]?B\)$/gm);
  assert.equal(files?.length, 1, said);
  assert.match(files?.[0] ?? "", /\bcortex\.js \(/, said);
});
