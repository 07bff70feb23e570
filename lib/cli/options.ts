/**
 * Values of options, checked. Each throws a `UsageError` for one that can never
 * be right.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import type { Scheme } from "../prefix/chain.ts";

/** The error for a value that can never be right. */
export function refuse(
  what: string,
  text: string,
  state: string,
  hint: string,
) {
  const shown = JSON.stringify(text.slice(0, 40));
  return new UsageError("use", `${what} ${shown}`, state, hint);
}

/** A whole number; the library checks its range. */
export function integer(what: string): (text: string) => number {
  return (text) => {
    if (/^[+-]?\d{1,15}$/.test(text)) return Number(text);
    throw refuse(
      what,
      text,
      "it is not a whole number",
      "Write it in digits, such as 16",
    );
  };
}

/** A whole number from 1 on. */
export function wholeFrom1(what: string): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d{1,15}$/.test(text) && value >= 1) return value;
    throw refuse(
      what,
      text,
      "it is not a whole number from 1 on",
      "Write it in digits, such as 16",
    );
  };
}

/** Tokens: a whole number from 1 on, such as `32768` or `32k`, which is the same. */
export function tokens(what: string): (text: string) => number {
  return (text) => {
    const [, amount, k] = /^(\d{1,12})(k?)$/i.exec(text) ?? [];
    const value = Number(amount) * (k ? 1024 : 1);
    if (value >= 1) return value;
    throw refuse(
      what,
      text,
      "it is not a whole number from 1 on",
      "Write it as 32768 or 32k",
    );
  };
}

/** Values apart by commas. */
export function listOf<T>(text: string, read: (part: string) => T): T[] {
  return text.split(",").map((part) => read(part.trim()));
}

/** A low watermark. */
export function lowPercent(text: string): number {
  const value = Number(text);
  if (/^\d{1,3}$/.test(text) && value >= 1 && value <= 100) return value;
  throw refuse(
    "low watermark",
    text,
    "it is not a whole number from 1 to 100",
    "Write a percent such as 98; 100 evicts just what is needed",
  );
}

/** A time such as `90`, `90s`, `15m`, `2h` or `1d`, in milliseconds. */
export function timeToLive(text: string): number {
  const found = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)?$/.exec(text);
  const value = found
    ? Number(found[1]) * UNITS_MS[(found[2] ?? "s") as keyof typeof UNITS_MS]
    : 0;
  if (value > 0) return value;
  throw refuse(
    "time to live",
    text,
    "it is not a time above 0",
    "Write it as 90, 90s, 15m, 2h or 1d",
  );
}
export function scheme(text: string): Scheme {
  if (text === "sglang" || text === "vllm") return text;
  throw refuse(
    "scheme",
    text,
    "it is neither sglang nor vllm",
    "Use the one of the engine whose keys you want",
  );
}

/** A key as the command line gives it, which turns what is no UTF-8 into U+FFFD. */
export function key(text: string): string {
  if (!text.includes("\ufffd")) return text;
  throw refuse("key", text, "it is not UTF-8", "Write the key in UTF-8");
}

/** The same, for one of several. */
export function keys(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), key(text)];
}

export function percentage(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value >= 0 && value <= 100) return value;
  throw refuse(
    "percent",
    text,
    "it is not from 0 to 100",
    "Write it without a sign, such as 25 or 12.5",
  );
}

export function seconds(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= 86_400) return value;
  throw refuse(
    "number of seconds",
    text,
    "it is not above 0, and at most a day",
    "Write it as 1, 0.5 or 60",
  );
}

const DURATION = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)?$/;
const UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a time such as `500ms`, `30s`, `15m`, `2h`, `1d`; seconds by default. */
export function duration(what: string): (text: string) => number {
  return (text) => {
    const [, amount, unit = "s"] = DURATION.exec(text) ?? [];
    const ms = Number(amount) * UNITS_MS[unit as keyof typeof UNITS_MS];
    if (ms >= 0 && ms <= 366 * UNITS_MS.d) return ms;
    throw refuse(
      what,
      text,
      "it is not a time of up to a year",
      "Write it as 500ms, 30s, 15m, 2h or 1d",
    );
  };
}

/** A whole number from 0 on. */
export function natural(what: string): (text: string) => number {
  return (text) => {
    if (/^\d{1,15}$/.test(text)) return Number(text);
    throw refuse(
      what,
      text,
      "it is not a whole number from 0 on",
      "Write it in digits, such as 3",
    );
  };
}

/** What values may be compressed by. */
export function codec(text: string): "zstd" {
  if (text === "zstd") return text;
  throw refuse("compression", text, "it is not known", "Use --compress zstd");
}

/** Permission bits in octal, such as `0600`. */
export function fileMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw refuse("mode", text, "it is not octal", "Write it as 0600 or 0660");
}

/** JSON; what it says is nobody's but the entry's, so it is not shown. */
export function json(what: string): (text: string) => unknown {
  return (text) => {
    try {
      return JSON.parse(text);
    } catch {
      throw new UsageError(
        "use",
        what,
        "it is not JSON",
        `Quote it for the shell: '{"a": 1}', or '"text"'`,
      );
    }
  };
}
