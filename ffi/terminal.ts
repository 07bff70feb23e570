/**
 * The process's standard streams, arguments and signals.
 *
 * @module
 */
import { errnoName } from "./errno.ts";
import { openedLibc } from "./mod.ts";
import { OsError } from "./platform.ts";

/** What the command line needs of its process. */
export interface Terminal {
  /** Arguments, without the program. */
  readonly args: readonly string[];
  isTerminal(stream: "stdin" | "stdout" | "stderr"): boolean;
  /** Columns of the terminal, or 80. */
  readonly columns: number;
  write(stream: "stdout" | "stderr", data: string | Uint8Array): void;
  /** All of standard input. */
  readAll(): Uint8Array;
  /** One line of standard input, without its end. */
  readLine(): string;
  /** Calls back on Ctrl-C, SIGTERM and SIGHUP, instead of dying. */
  onInterrupt(callback: () => void): void;
  environment(name: string): string | undefined;
  /** Starts this program once more, with other arguments and no streams. */
  startSelf(args: readonly string[]): Child;
  exit(code: number): never;
  /** The words of the command that runs this program. */
  readonly program: readonly string[];
  /** The name of the user that we run as; its number, if only the network knows it. */
  readonly user: string;
  /**
   * Runs this program again, with those arguments, in a session of its own that
   * outlives us. Resolves with the first line of its output; or, if it ended
   * before, with its exit code and what it said.
   */
  runInBackground(args: readonly string[]): Promise<Background>;
}

/** A process that we started. */
export interface Child {
  kill(): void;
}

/** How a program in the background began. */
export type Background =
  | { readonly line: string }
  | { readonly code: number; readonly stderr: string };

const FDS = { stdin: 0, stdout: 1, stderr: 2 } as const;
const CHUNK_BYTES = 1 << 20;
const WRITE_MAX_BYTES = 1 << 30;
/** Nobody wakes who waits for it. */
const PAUSE = new Int32Array(new SharedArrayBuffer(4));

function fs(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) {
    try {
      done += writeSome(fd, bytes.subarray(done, done + WRITE_MAX_BYTES));
    } catch (error) {
      const { code } = error as { code?: string };
      // EAGAIN: a pipe that its reader has not emptied yet.
      if (code !== "EAGAIN" && code !== "EINTR") {
        throw new OsError("write", code ?? "EIO");
      }
      Atomics.wait(PAUSE, 0, 0, 1);
    }
  }
}

/** By libc if that is open: loading the runtime's own way costs a start-up. */
function writeSome(fd: number, bytes: Uint8Array): number {
  const libc = openedLibc();
  if (!libc) return fs().writeSync(fd, bytes);
  const done = libc.write(fd, bytes, bytes.length);
  if (done < 0) throw new OsError("write", errnoName(libc.errno()));
  return done;
}

/** Up to a chunk; empty at the end. */
function readChunk(into: Uint8Array): Uint8Array {
  for (;;) {
    try {
      return into.subarray(0, fs().readSync(FDS.stdin, into));
    } catch (error) {
      const { code, syscall } = error as { code?: string; syscall?: string };
      if (code === "EOF") return into.subarray(0, 0);
      if (code !== "EAGAIN") {
        throw new OsError(syscall ?? "read", code ?? "EIO");
      }
    }
  }
}

/** Where this program is, if the runtime runs it from a file. */
function scriptPath(): string | undefined {
  const scope = globalThis as {
    Deno?: { mainModule: string; build: { standalone?: boolean } };
  };
  if (scope.Deno) {
    if (scope.Deno.build.standalone) return undefined;
    return process.getBuiltinModule("node:url").fileURLToPath(
      scope.Deno.mainModule,
    );
  }
  const path = process.argv[1] ?? "";
  return path.startsWith("/$bunfs/") ? undefined : path; // in a compiled program
}

function programWords(): string[] {
  const script = scriptPath();
  if (script === undefined) return [process.execPath];
  return "Deno" in globalThis
    ? [process.execPath, "run", "--allow-all", "--quiet", script]
    : [process.execPath, script];
}

/** By the host's own list: runtimes ask the environment, which may say anything. */
function userName(uid: number): string {
  try {
    const lines = fs().readFileSync("/etc/passwd", "utf8").split("\n");
    const [name] = lines.map((line) => line.split(":"))
      .find((fields) => fields[2] === String(uid)) ?? [];
    return name || String(uid);
  } catch {
    return String(uid);
  }
}

function runInBackground(args: readonly string[]): Promise<Background> {
  const [command = "", ...first] = programWords();
  const { spawn } = process.getBuiltinModule("node:child_process");
  const child = spawn(command, [...first, ...args], {
    detached: true,
    stdio: ["ignore", "pipe", "pipe"],
  });
  return new Promise((resolve, reject) => {
    let stdout = "", stderr = "";
    child.on("error", reject);
    child.stderr.on("data", (data) => stderr += data);
    child.stdout.on("data", (data) => {
      stdout += data;
      if (!stdout.includes("\n")) return;
      child.unref();
      child.stdout.destroy();
      child.stderr.destroy();
      resolve({ line: stdout.split("\n")[0]! });
    });
    child.on("close", (code) => resolve({ code: code ?? 1, stderr }));
  });
}

/** The terminal of this process. */
export const TERMINAL: Terminal = {
  get args() {
    return process.argv.slice(2);
  },
  isTerminal: (stream) =>
    process.getBuiltinModule("node:tty").isatty(FDS[stream]),
  get columns() {
    return process.stdout.columns ?? 80;
  },
  write: (stream, data) =>
    writeAll(
      FDS[stream],
      typeof data === "string" ? new TextEncoder().encode(data) : data,
    ),
  readAll: () => {
    // A pipe gives a little at a time, and does not say how much there is.
    let buffer = new Uint8Array(CHUNK_BYTES), used = 0;
    for (;;) {
      if (used === buffer.length) {
        buffer = new Uint8Array(buffer.buffer.transfer(2 * used));
      }
      const read = readChunk(buffer.subarray(used)).length;
      if (read === 0) return buffer.subarray(0, used);
      used += read;
    }
  },
  readLine: () => {
    const line: number[] = [];
    const byte = new Uint8Array(1);
    while (readChunk(byte).length === 1 && byte[0] !== 0x0a) {
      line.push(byte[0]!);
    }
    return new TextDecoder().decode(Uint8Array.from(line));
  },
  onInterrupt: (callback) => {
    process.on("SIGINT", callback);
    process.on("SIGTERM", callback);
    process.on("SIGHUP", callback);
  },
  environment: (name) => process.env[name],
  startSelf: (args) => {
    const [binary = "", ...first] = programWords();
    const { spawn } = process.getBuiltinModule("node:child_process");
    const child = spawn(binary, [...first, ...args], { stdio: "ignore" });
    child.on("error", () => {}); // its silence tells
    return { kill: () => void child.kill("SIGKILL") };
  },
  get program() {
    return programWords();
  },
  get user() {
    return userName(process.geteuid!());
  },
  runInBackground,
  exit: (code) => {
    // All is written and closed: what Bun does at its end is for nobody.
    openedLibc()?._exit?.(code);
    return process.exit(code);
  },
};
