/**
 * Does one thing with a pool or its snapshot, and is killed by its own hand ahead
 * of the n-th call of the host: nothing is tidied up.
 *
 *   snapshot_worker.ts persist|full|compact|prune|restore NAME PATH N
 *
 * Prints "done" if it came to its end before.
 *
 * @module
 */
import process from "node:process";
import { persist, Pool, pruneSnapshot, restore } from "../../lib/mod.ts";
import { watchedHost } from "../snapshots.ts";

const [task, name = "", path = "", count] = process.argv.slice(2);
const at = Number(count);

let calls = 0;
const platform = watchedHost(() => {
  if (++calls === at) process.kill(process.pid, "SIGKILL");
});

function work(): void {
  if (task === "restore") {
    restore(name, { path, platform });
    return;
  }
  if (task === "prune") {
    pruneSnapshot(name, { path, keep: 0, platform });
    return;
  }
  using pool = Pool.open(name, { platform });
  persist(pool, {
    path,
    full: task === "full",
    dead_percent: task === "compact" ? 1 : 50,
  });
}

work();
console.log("done");
