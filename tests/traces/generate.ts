/**
 * Traces of other habits than any recorded one, from a seed: what the policies
 * are held to besides.
 *
 * @module
 */
import { parseTrace, type Trace } from "../../lib/sim/mod.ts";

/** A request: the numbers of its blocks, head to tail. */
type Request = readonly number[];

class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761 >>> 0) || 1;
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    let x = this.#state;
    x ^= x << 13, x ^= x >>> 17, x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state / 2 ** 32;
  }

  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  /** Exponentially distributed, 1 in the mean. */
  wait(): number {
    return -Math.log(1 - this.next());
  }
}

/** Draws 0, 1, 2... with a frequency of `1 / (n + 1)^skew`. */
function zipf(count: number, skew: number): (random: Random) => number {
  const sums = new Float64Array(count);
  let sum = 0;
  for (let i = 0; i < count; i++) sums[i] = sum += 1 / (i + 1) ** skew;
  return (random) => {
    const wanted = random.next() * sum;
    let low = 0, high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}

class Blocks {
  #next = 1;
  fresh(count: number): number[] {
    return Array.from({ length: count }, () => this.#next++);
  }
}

/** Agents of a few kinds with long prompts in common, which call tools in turn. */
function agents(random: Random): Request[] {
  const blocks = new Blocks(), draw = zipf(40, 1.1);
  const kinds = Array.from(
    { length: 40 },
    () => blocks.fresh(20 + random.below(40)),
  );
  const live: number[][] = [], requests: Request[] = [];
  for (let i = 0; i < 4000; i++) {
    if (live.length < 60 || random.next() < 0.08) {
      live.push([...kinds[draw(random)]!]);
    }
    const at = random.below(live.length), run = live[at]!;
    run.push(...blocks.fresh(1 + random.below(4)));
    requests.push([...run]);
    if (random.next() < 0.1 || run.length > 120) live.splice(at, 1);
  }
  return requests;
}

/** Questions about documents, of which some are asked about often. */
function documents(random: Random): Request[] {
  const blocks = new Blocks(),
    draw = zipf(1000, 0.8),
    [system] = blocks.fresh(1);
  const texts = Array.from(
    { length: 1000 },
    () => blocks.fresh(10 + random.below(100)),
  );
  return Array.from({ length: 4000 }, () => [
    system!,
    ...texts[draw(random)]!,
    ...blocks.fresh(1 + random.below(2)),
  ]);
}

/** Completion in files that grow, and are edited in the middle. */
function code(random: Random): Request[] {
  const blocks = new Blocks(), requests: Request[] = [];
  const files: number[][] = Array.from({ length: 300 }, () => []);
  const open: number[] = [];
  for (let i = 0; i < 8000; i++) {
    if (open.length < 25 || random.next() < 0.03) open.push(random.below(300));
    if (open.length > 40) open.splice(random.below(open.length), 1);
    const at = open[random.below(open.length)]!, file = files[at]!;
    if (file.length === 0 || random.next() < 0.05) {
      files[at] = blocks.fresh(4 + random.below(30));
    } else {
      const share = random.next() < 0.7 ? 1 : random.next();
      const kept = Math.max(1, Math.floor(file.length * share));
      const more = random.below(3) + (kept < file.length ? 2 : 0);
      files[at] = [...file.slice(0, kept), ...blocks.fresh(more)];
    }
    requests.push(files[at]!);
  }
  return requests;
}

/** Conversations, flooded half of the time by prompts that never come back. */
function flood(random: Random): Request[] {
  const blocks = new Blocks(), [system] = blocks.fresh(1);
  const begin = () => [system!, ...blocks.fresh(5 + random.below(10))];
  const chats = Array.from({ length: 120 }, begin), requests: Request[] = [];
  for (let i = 0; i < 5000; i++) {
    const isFlood = Math.floor(i / 1000) % 2 === 1;
    if (random.next() < (isFlood ? 0.85 : 0.3)) {
      requests.push([system!, ...blocks.fresh(10 + random.below(40))]);
      continue;
    }
    const at = random.below(120);
    chats[at]!.push(...blocks.fresh(1));
    if (chats[at]!.length > 50) chats[at] = begin();
    requests.push([...chats[at]!]);
  }
  return requests;
}

/** Nothing but prompts that never come back, behind one system prompt. */
function oneOff(random: Random): Request[] {
  const blocks = new Blocks(), system = blocks.fresh(20);
  return Array.from({ length: 3000 }, () => [
    ...system,
    ...blocks.fresh(10 + random.below(40)),
  ]);
}

/** Conversations that come back after a while, or never. */
function chat(random: Random): Request[] {
  const blocks = new Blocks(), [system] = blocks.fresh(1);
  const due: { at: number; run: number[] }[] = [];
  const requests: Request[] = [];
  for (let now = 0; requests.length < 6000; now++) {
    due.push({
      at: now,
      run: [system!, ...blocks.fresh(2 + random.below(30))],
    });
    due.sort((a, b) => b.at - a.at);
    while (due.length > 0 && due.at(-1)!.at <= now) {
      const { run } = due.pop()!;
      requests.push(run);
      if (random.next() > 0.6) continue;
      const more = [...run, ...blocks.fresh(1 + random.below(4))];
      due.push({ at: now + 1 + 100 * random.wait(), run: more });
      due.sort((a, b) => b.at - a.at);
    }
  }
  return requests;
}

/** The two halves of a day: other users, other habits. */
function shift(random: Random): Request[] {
  const first = documents(random).slice(0, 2000);
  const second = chat(random).slice(0, 4000);
  const beyond = 10_000_000;
  return [...first, ...second.map((run) => run.map((block) => block + beyond))];
}

/** Single objects, some of them popular. */
function popular(random: Random): Request[] {
  const draw = zipf(60_000, 0.9);
  return Array.from({ length: 100_000 }, () => [draw(random)]);
}

/** The same, and scans in between. */
function scans(random: Random): Request[] {
  const draw = zipf(20_000, 0.9), requests: Request[] = [];
  for (let next = 20_000; requests.length < 100_000;) {
    for (let i = 0; i < 6000; i++) requests.push([draw(random)]);
    for (let i = 0; i < 3000; i++) requests.push([next++]);
  }
  return requests;
}

/** Objects that are used again soon, or never. */
function recent(random: Random): Request[] {
  const past: number[] = [];
  for (let next = 0; past.length < 100_000;) {
    const back = Math.floor(900 * random.wait() * random.wait());
    const again = past[past.length - 1 - back];
    past.push(
      again !== undefined && random.next() < 0.7 ? again : next++,
    );
  }
  return past.map((one) => [one]);
}

/** The same objects, round and round. */
function loop(random: Random): Request[] {
  const length = 9000 + random.below(1000);
  return Array.from({ length: 100_000 }, (_, i) => [i % length]);
}

export const HABITS_OF_TRACES = {
  agents,
  documents,
  code,
  flood,
  oneOff,
  chat,
  shift,
  popular,
  scans,
  recent,
  loop,
};

export type Habit = keyof typeof HABITS_OF_TRACES;

/** A trace of that habit. */
export function generate(habit: Habit, seed: number): Trace {
  const requests = HABITS_OF_TRACES[habit](new Random(seed));
  const text = requests.map((run) => JSON.stringify({ hash_ids: run }));
  return parseTrace(text.join("\n"), habit);
}
