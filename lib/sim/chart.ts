/**
 * Hit rates over the size of the cache, as a picture: of characters, or SVG.
 *
 * @module
 */

/** One policy's curve. */
export interface Curve {
  readonly name: string;
  /** From the smallest room to the largest; a hit rate from 0 to 1 each. */
  readonly points: readonly { readonly room: number; readonly rate: number }[];
}

/** What the axis of sizes says. */
export type Label = (room: number) => string;

/** Steps of the axis of rates. */
const TICKS_MAX = 5;

const MARKS = "*o+x#@%&=~";

/** Where things are on either picture, both axes from 0 to 1. */
function scale(curves: readonly Curve[]) {
  const points = curves.flatMap((curve) => curve.points);
  const rooms = points.map(({ room }) => Math.log(room));
  const least = Math.min(...rooms), most = Math.max(...rooms);
  const most_rate = Math.max(0.01, ...points.map(({ rate }) => rate));
  const step = roundStep(most_rate);
  const steps = Math.ceil(most_rate / step - 1e-9);
  const top = step * steps;
  return {
    /** What the axis of rates says, from 0 up, evenly. */
    ticks: Array.from({ length: steps + 1 }, (_, i) => i * step),
    // Sizes are told by their ratio: twice the memory is one step.
    x: (room: number) =>
      most === least ? 0.5 : (Math.log(room) - least) / (most - least),
    y: (rate: number) => rate / top,
  };
}

/** The least of 1, 2 and 5 by a power of ten that goes into a rate 5 times at most. */
function roundStep(rate: number): number {
  const power = 10 ** Math.floor(Math.log10(rate / TICKS_MAX));
  return [1, 2, 5, 10].map((unit) => unit * power)
    .find((step) => rate / step <= TICKS_MAX + 1e-9)!;
}

const percent = (rate: number) => `${Number((rate * 100).toFixed(2))}%`;

function roomsOf(curves: readonly Curve[]): number[] {
  const rooms = curves.flatMap(({ points }) => points.map(({ room }) => room));
  return [...new Set(rooms)].sort((a, b) => a - b);
}

/** The curves in characters, `columns` wide. */
export function textChart(
  curves: readonly Curve[],
  label: Label,
  columns: number,
): string {
  const { ticks, x, y } = scale(curves);
  const rows_per_tick = ticks.length > 4 ? 2 : 3; // 10 rows, or about
  const height = (ticks.length - 1) * rows_per_tick + 1;
  const width = Math.max(20, Math.min(columns, 100) - 8);
  const grid = Array.from({ length: height }, () => Array(width).fill(" "));
  // The last one drawn is seen: what comes first in the legend is on top.
  for (const [i, { points }] of [...curves.entries()].reverse()) {
    const mark = MARKS[i % MARKS.length];
    const put = (column: number, rate: number) =>
      grid[height - 1 - Math.round(y(rate) * (height - 1))]![column] = mark;
    const columns = points.map(({ room }) => Math.round(x(room) * (width - 1)));
    points.forEach(({ rate }, at) => {
      put(columns[at]!, rate);
      const next = points[at + 1], from = columns[at]!, to = columns[at + 1]!;
      if (!next) return;
      for (let column = from + 1; column < to; column++) {
        const share = (column - from) / (to - from);
        put(column, rate + (next.rate - rate) * share);
      }
    });
  }
  const lines = grid.map((row, i) => {
    const rate = ticks[(height - 1 - i) / rows_per_tick];
    const tick = rate === undefined ? "" : percent(rate);
    return `${tick.padStart(6)} |${row.join("")}`.trimEnd();
  });
  const rooms = roomsOf(curves);
  const first = label(rooms[0]!), last = label(rooms.at(-1)!);
  const middle = Math.max(
    AXIS.length + 1,
    Math.floor((width + AXIS.length) / 2) - first.length,
  );
  const legend = curves.map(({ name }, i) =>
    `${MARKS[i % MARKS.length]} ${name}`
  ).join("   ");
  return [
    ...lines,
    `       +${"-".repeat(width)}`,
    `        ${first}${AXIS.padStart(middle)}${
      last.padStart(Math.max(1, width - first.length - middle))
    }`,
    `        ${legend}`,
  ].join("\n");
}

/** What the axis of sizes is. */
const AXIS = "size (log scale)";

const COLOURS = [
  "#1b6ca8",
  "#c8553d",
  "#2a9d5c",
  "#8e5ea2",
  "#b8860b",
  "#4f4f4f",
  "#d16ba5",
  "#008b8b",
  "#6b8e23",
];

const escape = (text: string) =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** The curves as an SVG document. */
export function svgChart(curves: readonly Curve[], label: Label): string {
  const { ticks, x, y } = scale(curves);
  const left = 60, right = 620, high = 30, low = 360;
  const at = (room: number) => left + x(room) * (right - left);
  const up = (rate: number) => low - y(rate) * (low - high);
  const text = (
    px: number,
    py: number,
    words: string,
    rest = "",
  ) =>
    `<text x="${px.toFixed(1)}" y="${py.toFixed(1)}"${rest}>${
      escape(words)
    }</text>`;

  const parts: string[] = [];
  for (const rate of ticks) {
    const py = up(rate).toFixed(1);
    parts.push(
      `<line x1="${left}" y1="${py}" x2="${right}" y2="${py}" stroke="#ddd"/>`,
      text(
        left - 8,
        up(rate) + 4,
        percent(rate),
        ' text-anchor="end"',
      ),
    );
  }
  for (const room of roomsOf(curves)) {
    parts.push(text(at(room), low + 20, label(room), ' text-anchor="middle"'));
  }
  const middle = (left + right) / 2;
  parts.push(text(middle, low + 38, AXIS, ' text-anchor="middle"'));
  curves.forEach(({ name, points }, i) => {
    const colour = COLOURS[i % COLOURS.length]!;
    const path = points.map(({ room, rate }) =>
      `${at(room).toFixed(1)},${up(rate).toFixed(1)}`
    ).join(" ");
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...points.map(({ room, rate }) =>
        `<circle cx="${at(room).toFixed(1)}" cy="${
          up(rate).toFixed(1)
        }" r="3" fill="${colour}"/>`
      ),
      text(right + 16, high + 10 + 20 * i, name, ` fill="${colour}"`),
    );
  });
  return [
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 740 410" font-family="sans-serif" font-size="12">',
    '<rect width="740" height="410" fill="white"/>',
    text(left, 18, "prefix hits, of block touches"),
    ...parts,
    "</svg>",
  ].join("\n") + "\n";
}
