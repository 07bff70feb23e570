/**
 * Kills by hand: `deno task kill [--random N] [--holders N] [--sites N] [--stores]`:
 * so many random kills, so many killed holders of pins, so many walks over every
 * call of the host (and, with `--stores`, every store to shared memory).
 *
 * @module
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { type Campaign, killAtRandom, killHolders } from "./campaign.ts";
import { OPERATION_NAMES, walkSites } from "./sites.ts";

const { values } = parseArgs({
  options: {
    random: { type: "string", default: "0" },
    holders: { type: "string", default: "0" },
    sites: { type: "string", default: "0" },
    stores: { type: "boolean", default: false },
  },
});

function show(what: string, { kills, lock_ms, recoveries }: Campaign): void {
  const at = (share: number) =>
    lock_ms[Math.min(kills - 1, Math.floor(share * kills))]!.toFixed(1);
  console.log(
    `${kills} ${what}: nothing was wrong; ${recoveries} recoveries; the next ` +
      `lock after ${at(0.5)} ms (median), ${at(0.99)} (99%), ${
        at(1)
      } (longest)`,
  );
}

const KINDS = ["call", "store"] as const;
const progress = (done: number) => {
  if (process.stdout.isTTY) process.stdout.write(`\r${done}`);
};
const random = Number(values.random), holders = Number(values.holders);
if (random > 0) show("random kills", await killAtRandom(random, progress));
if (holders > 0) show("killed holders", await killHolders(holders, progress));
for (let walk = 1; walk <= Number(values.sites); walk++) {
  let sites = 0, longest_ms = 0;
  for (const kind of values.stores ? KINDS : KINDS.slice(0, 1)) {
    for (const operation of OPERATION_NAMES) {
      const found = walkSites(operation, kind);
      sites += found.sites;
      longest_ms = Math.max(longest_ms, found.longest_wait_ms);
    }
  }
  console.log(
    `walk ${walk}: killed at ${sites} sites, nothing was wrong; the next ` +
      `waited ${longest_ms.toFixed(1)} ms at most`,
  );
}
