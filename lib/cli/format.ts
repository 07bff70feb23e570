/**
 * How results look to people, and times in JSON.
 *
 * @module
 */

/** ISO 8601, or `null`. */
export function isoTime(milliseconds: number | null): string | null {
  if (milliseconds === null) return null;
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

/** Such as `3 min ago`. */
export function ago(milliseconds: number | null, now: number): string {
  if (milliseconds === null) return "never";
  const seconds = Math.max(0, Math.round((now - milliseconds) / 1000));
  if (seconds < 90) return `${seconds} s ago`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min ago`;
  const hours = Math.round(minutes / 60);
  return hours < 36 ? `${hours} h ago` : `${Math.round(hours / 24)} days ago`;
}

/** Such as `87.5%`. */
export function percent(share: number | null): string {
  return share === null ? "-" : `${(share * 100).toFixed(1)}%`;
}

/**
 * Such as `1,200`. A formatter by locale would take a program a millisecond to
 * load, and its first regular expression half of one.
 */
export function grouped(amount: number): string {
  const digits = String(amount);
  if (!Number.isInteger(amount)) return digits;
  const groups: string[] = [];
  let end = digits.length;
  for (; end > 3; end -= 3) groups.unshift(digits.slice(end - 3, end));
  return [digits.slice(0, end), ...groups].join(",");
}

/** Such as `1 entry` or `1,200 entries`. */
export function count(amount: number, one: string, many = `${one}s`): string {
  return `${grouped(amount)} ${amount === 1 ? one : many}`;
}

/** Such as `12 ms` or `3.4 s`. */
export function duration(milliseconds: number): string {
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`;
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

/** Text of others, with nothing in it that could steer a terminal. */
export function safe(text: string, width_max = Infinity): string {
  const plain = text.replaceAll(
    // deno-lint-ignore no-control-regex
    /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g,
    "\ufffd",
  );
  return plain.length > width_max
    ? `${plain.slice(0, Math.max(1, width_max - 1))}…`
    : plain;
}

/** Columns of text; those named in `right` are aligned to the right. */
export function table(
  head: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
): string {
  const widths = head.map((title, column) =>
    Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0))
  );
  const line = (cells: readonly string[]) =>
    cells.map((cell, column) => {
      const width = widths[column] ?? 0;
      return right.includes(head[column] ?? "")
        ? cell.padStart(width)
        : cell.padEnd(width);
    }).join("  ").trimEnd();
  return [head, ...rows].map(line).join("\n");
}
