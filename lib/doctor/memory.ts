/**
 * Shared memory: how much there is, of what kind, and who may take it away.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { formatBytes } from "../units.ts";
import { readText, readWord } from "../proc.ts";
import { attention, type Fact, fine } from "./fact.ts";

const SHM = "/dev/shm";
/** What containers get by default. */
const CONTAINER_DEFAULT_BYTES = 64 << 20;
const FREE_MIN_SHARE = 0.05;

const LARGER =
  "docker run --shm-size 16g, in Kubernetes an emptyDir of medium Memory at /dev/shm, elsewhere mount -o remount,size=16G /dev/shm";

/** /dev/shm: size, free space, file system, permissions. */
export function shmFacts(platform: Platform): Fact[] {
  const stat = platform.files.stat(SHM);
  if (!stat?.isDirectory) {
    return [
      attention(SHM, "it does not exist", "mount -t tmpfs tmpfs /dev/shm"),
    ];
  }
  const facts = [roomFact(platform)];
  const mount = findMount(readText(platform, "/proc/self/mountinfo") ?? "");
  if (mount && mount.type !== "tmpfs") {
    facts.push(attention(
      SHM,
      `it is on ${mount.type}, not on tmpfs: pools would not be in memory`,
      "mount -t tmpfs -o size=16G tmpfs /dev/shm",
    ));
  }
  if (stat.mode & 0o002 && !(stat.mode & 0o1000)) {
    facts.push(attention(
      SHM,
      "any user can remove or replace others' pools (it is not sticky)",
      "chmod 1777 /dev/shm",
    ));
  }
  return [...facts, hugePageFact(platform, mount)];
}

function roomFact({ files }: Platform): Fact {
  const { size_bytes, free_bytes } = files.space(SHM);
  const room = `${formatBytes(size_bytes)}, ${formatBytes(free_bytes)} free`;
  if (size_bytes <= CONTAINER_DEFAULT_BYTES) {
    return attention(
      SHM,
      size_bytes === CONTAINER_DEFAULT_BYTES
        ? `${room}: the 64 MB that containers get by default`
        : `${room}: less than the 64 MB that containers get by default`,
      LARGER,
    );
  }
  if (free_bytes < size_bytes * FREE_MIN_SHARE) {
    return attention(
      SHM,
      `${room}: nearly full`,
      "cortex cache list, and then evict or destroy; or make it larger: mount -o remount,size=16G /dev/shm",
    );
  }
  return fine(SHM, room);
}

/** How /dev/shm is mounted. */
interface Mount {
  readonly type: string;
  readonly options: readonly string[];
}

/** From `/proc/self/mountinfo`: the last mount of a place is the one to be seen. */
function findMount(mountinfo: string): Mount | undefined {
  let found: Mount | undefined;
  for (const line of mountinfo.split("\n")) {
    const [before = "", after = ""] = line.split(" - ");
    if (before.split(" ")[4] !== SHM) continue;
    const [type = "", , options = ""] = after.split(" ");
    found = { type, options: options.split(",") };
  }
  return found;
}

function hugePageFact(platform: Platform, mount: Mount | undefined): Fact {
  const topic = "huge pages";
  const ofMount = mount?.options.find((option) => option.startsWith("huge="))
    ?.slice("huge=".length);
  const setting = readText(
    platform,
    "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
  );
  const ofKernel = /\[(\w+)\]/.exec(setting ?? "")?.[1];
  if (ofKernel === undefined) {
    return fine(topic, "this kernel has none for shared memory");
  }
  // The kernel's word goes over the mount's only where it says deny or force.
  const chosen = ofKernel === "deny" || ofKernel === "force"
    ? ofKernel
    : ofMount ?? "never";
  return fine(
    topic,
    chosen === "never" || chosen === "deny"
      ? `off for /dev/shm (${chosen}); for pools of many GiB they make the first touch of memory cheaper: mount -o remount,huge=within_size /dev/shm`
      : `${chosen} for /dev/shm`,
  );
}

/** What the cgroup lets us have: memory of pools counts. */
export function memoryLimitFact(
  platform: Platform,
  pool_bytes: number,
): Fact | undefined {
  const text = readWord(platform, "/sys/fs/cgroup/memory.max") ??
    readWord(platform, "/sys/fs/cgroup/memory/memory.limit_in_bytes");
  const limit_bytes = Number(text);
  // Version 1 says a number that is beyond any memory where there is no limit.
  if (!text || !(limit_bytes < 2 ** 50)) return undefined;
  const limit = `this container may use ${formatBytes(limit_bytes)} of memory`;
  if (pool_bytes <= limit_bytes) return fine("memory limit", limit);
  return attention(
    "memory limit",
    `${limit}, and its pools may grow to ${
      formatBytes(pool_bytes)
    }: the kernel would then kill processes`,
    "Raise the limit (docker run --memory), or make the pools smaller",
  );
}
