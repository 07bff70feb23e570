/**
 * The process's standard streams, arguments and signals.
 *
 * @module
 */
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
  exit(code: number): never;
}

const FDS = { stdin: 0, stdout: 1, stderr: 2 } as const;
const CHUNK_BYTES = 1 << 20;
const WRITE_MAX_BYTES = 1 << 30;

function fs(): typeof import("node:fs") {
  return process.getBuiltinModule("node:fs");
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) {
    try {
      const length = Math.min(bytes.length - done, WRITE_MAX_BYTES);
      done += fs().writeSync(fd, bytes, done, length);
    } catch (error) {
      const { code } = error as { code?: string };
      // A pipe that its reader has not emptied yet.
      if (code !== "EAGAIN") throw new OsError("write", code ?? "EIO");
    }
  }
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
    const chunks: Uint8Array[] = [];
    for (;;) {
      const chunk = readChunk(new Uint8Array(CHUNK_BYTES));
      if (chunk.length === 0) break;
      chunks.push(chunk);
    }
    const all = new Uint8Array(
      chunks.reduce((sum, chunk) => sum + chunk.length, 0),
    );
    let at = 0;
    for (const chunk of chunks) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
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
  exit: (code) => process.exit(code),
};
