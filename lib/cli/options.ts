/**
 * Values of options, checked. Each throws a `UsageError` for one that can never
 * be right.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { isPolicyName, type PolicyName } from "../policy/mod.ts";

function refuse(what: string, text: string, state: string, hint?: string) {
  const shown = JSON.stringify(text.slice(0, 40));
  return new UsageError("use", `${what} ${shown}`, state, hint);
}

/** A whole number; the library checks its range. */
export function integer(what: string): (text: string) => number {
  return (text) => {
    if (/^[+-]?\d{1,15}$/.test(text)) return Number(text);
    throw refuse(what, text, "it is not a whole number");
  };
}

/** A key as the command line gives it, which turns what is no UTF-8 into U+FFFD. */
export function key(text: string): string {
  if (!text.includes("\ufffd")) return text;
  throw refuse("key", text, "it is not UTF-8");
}

/** The same, for one of several. */
export function keys(text: string, before: string[] | undefined): string[] {
  return [...(before ?? []), key(text)];
}

export function percentage(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value >= 0 && value <= 100) return value;
  throw refuse("percent", text, "it is not from 0 to 100");
}

export function seconds(text: string): number {
  const value = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && value > 0 && value <= 86_400) return value;
  throw refuse("interval", text, "it is not a number of seconds above 0");
}

/** Permission bits in octal, such as `0600`. */
export function fileMode(text: string): number {
  if (/^0?[0-7]{3}$/.test(text)) return Number.parseInt(text, 8);
  throw refuse("mode", text, "it is not octal", "Write it as 0600 or 0660");
}

export function policy(text: string): PolicyName {
  if (isPolicyName(text)) return text;
  throw refuse(
    "policy",
    text,
    "there is no such policy",
    "See the policies there are: cortex cache policies",
  );
}

export function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw refuse("metadata", text, "it is not JSON");
  }
}
