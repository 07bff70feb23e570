/**
 * The host around the pools: versions, clock, hardening, systemd.
 *
 * @module
 */
import type { Platform } from "../../ffi/platform.ts";
import { readText, readWord } from "../proc.ts";
import { attention, type Fact, fine, listNames } from "./fact.ts";

const GLIBC_MIN = [2, 28] as const;

/** Runtime, libc and kernel. */
export function versionFacts(platform: Platform): Fact[] {
  const { runtime } = platform;
  const tested = platform.testedRuntime();
  const libc = platform.libcVersion();
  const kernel = readWord(platform, "/proc/sys/kernel/osrelease") ?? "unknown";
  return [
    tested === undefined ? fine("runtime", runtime) : attention(
      "runtime",
      `${runtime}; cortex is tested with ${tested}: it relies on atomics over foreign memory`,
      `Use ${tested}, or the downloaded program, which brings its own`,
    ),
    isOldLibc(libc)
      ? attention(
        "libc",
        `${libc}, older than 2.28`,
        "Use a newer distribution or container image",
      )
      : fine("libc", libc),
    fine("kernel", `Linux ${kernel}`),
  ];
}

function isOldLibc(libc: string): boolean {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(libc) ?? [];
  if (major === undefined) return true;
  return Number(major) < GLIBC_MIN[0] ||
    (Number(major) === GLIBC_MIN[0] && Number(minor) < GLIBC_MIN[1]);
}

/** Those that are read by a system call, microseconds each. Every hit notes the time. */
const SLOW_CLOCKS = ["hpet", "acpi_pm", "jiffies", "refined-jiffies"];

/** What the kernel tells the time by. */
export function clockFact(platform: Platform): Fact {
  const folder = "/sys/devices/system/clocksource/clocksource0";
  const clock = readWord(platform, `${folder}/current_clocksource`);
  if (clock === undefined) return fine("clock", "its source is not to be seen");
  if (!SLOW_CLOCKS.includes(clock)) return fine("clock", clock);
  return attention(
    "clock",
    `${clock}, which is slow to read`,
    `echo tsc > ${folder}/current_clocksource, if available_clocksource there has it`,
  );
}

const SYSCTLS = "/proc/sys/fs";

/** Other users' links in places that all may write to, such as /dev/shm. */
export function hardeningFact(platform: Platform): Fact {
  const values = ["hardlinks", "symlinks", "fifos", "regular"].map((name) => ({
    name: `protected_${name}`,
    value: readWord(platform, `${SYSCTLS}/protected_${name}`),
  }));
  const shown = values.map(({ name, value }) => `${name}=${value ?? "?"}`)
    .join(" ");
  // Files of ours are made O_EXCL, so fifos and regular add nothing.
  const open = values.slice(0, 2).filter(({ value }) => value === "0");
  if (open.length === 0) return fine("hardening", shown);
  const setting = open.map(({ name }) => `fs.${name}=1`).join(" ");
  return attention(
    "hardening",
    `${shown}: other users may link to your files where all can write`,
    `sysctl -w ${setting}, and the same in /etc/sysctl.d`,
  );
}

/** The largest uid of a system user, as distributions build systemd. */
const SYSTEM_UID_MAX = 999;
const CONFIGURATIONS = ["/usr/lib", "/usr/local/lib", "/run", "/etc"];

/** Whether systemd deletes this user's shared memory when he logs out. */
export function removeIpcFact(platform: Platform): Fact {
  const topic = "RemoveIPC";
  if (!platform.files.exists("/run/systemd/system")) {
    return fine(topic, "systemd does not run here");
  }
  const { uid } = platform;
  if (uid <= SYSTEM_UID_MAX) {
    return fine(
      topic,
      `does not concern user ${uid}: systemd spares system users`,
    );
  }
  if (removeIpcSetting(platform) === "no") return fine(topic, "no");
  if (isLingering(platform)) {
    return fine(topic, "yes, but your user lingers, so it does not come to it");
  }
  return attention(
    topic,
    "yes: systemd deletes your pools when your last session ends",
    "RemoveIPC=no in /etc/systemd/logind.conf and systemctl restart systemd-logind; or loginctl enable-linger; or run cortex as a system user",
  );
}

/** The last one said counts: the main file, then the snippets by name. */
function removeIpcSetting(platform: Platform): string {
  const main = CONFIGURATIONS.map((place) => `${place}/systemd/logind.conf`);
  const snippets = new Map<string, string>();
  for (const place of CONFIGURATIONS) {
    const folder = `${place}/systemd/logind.conf.d`;
    for (const name of listNames(platform, folder)) {
      // One of the same name takes the place of one further down.
      if (name.endsWith(".conf")) snippets.set(name, `${folder}/${name}`);
    }
  }
  const mainFile = main.findLast((path) => platform.files.exists(path));
  const inOrder = [...snippets].sort(([a], [b]) => a < b ? -1 : 1);
  let setting = "yes"; // as it is built
  for (const path of [mainFile, ...inOrder.map(([, path]) => path)]) {
    const text = path === undefined ? undefined : readText(platform, path);
    for (
      const [, value] of text?.matchAll(/^\s*RemoveIPC\s*=\s*(\S*)/gm) ?? []
    ) {
      setting = /^(no|n|false|f|off|0)$/i.test(value!) ? "no" : "yes";
    }
  }
  return setting;
}

function isLingering(platform: Platform): boolean {
  const users = readText(platform, "/etc/passwd") ?? "";
  const name = users.split("\n").map((line) => line.split(":"))
    .find(([, , uid]) => uid === String(platform.uid))?.[0];
  return name !== undefined &&
    platform.files.exists(`/var/lib/systemd/linger/${name}`);
}
