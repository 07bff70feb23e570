/**
 * What cron and systemd need to save a pool again and again, and to restore it
 * when the host comes up.
 *
 * @module
 */
import { UsageError } from "../errors.ts";
import { shellWord } from "../shell.ts";

/** What is to be done, and how often. */
export interface Plan {
  readonly name: string;
  /** The words that run this program. */
  readonly program: readonly string[];
  readonly every_ms: number;
  /** Where the snapshot is, if not in the place of root's pools. */
  readonly path: string | undefined;
  /** The file of a pool on disk, which needs no restore. */
  readonly file: string | undefined;
  /** Who is to do it; `undefined` for root. */
  readonly user: string | undefined;
}

/** A file for systemd. */
export interface Unit {
  readonly path: string;
  readonly text: string;
}

const MINUTE_MS = 60_000, HOUR_MS = 60 * MINUTE_MS, DAY_MS = 24 * HOUR_MS;

function words(plan: Plan, verb: string, ...options: readonly string[]) {
  const place = plan.path === undefined ? [] : ["--path", plan.path];
  return [...plan.program, "cache", verb, plan.name, ...place, ...options];
}

const persistWords = (plan: Plan) =>
  words(plan, "persist", "--if-changed", "--quiet", "--lock-timeout", "30s");
const restoreWords = (plan: Plan) => words(plan, "restore", "--quiet");

/** As a shell reads it, in a crontab, where `%` ends the line. */
function forCron(list: readonly string[]): string {
  return list.map(shellWord).join(" ").replaceAll("%", "\\%");
}

/** As systemd reads it, where `%` and `$` stand for something. */
function forSystemd(list: readonly string[]): string {
  return list.map((word) => {
    const plain = word.replaceAll("%", "%%").replaceAll("$", "$$$$");
    return /^[\w@:,./+=%-]+$/.test(word)
      ? plain
      : `"${plain.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
  }).join(" ");
}

/** Such as `15 min`. */
function interval(every_ms: number): string {
  const units = [[DAY_MS, "d"], [HOUR_MS, "h"], [MINUTE_MS, "min"]] as const;
  const [unit_ms, name] = units.find(([ms]) => every_ms % ms === 0) ??
    [1000, "s"];
  return `${Math.round(every_ms / unit_ms)} ${name}`;
}

/** The five fields of a crontab. */
function cronFields(every_ms: number): string {
  const minutes = every_ms / MINUTE_MS, hours = every_ms / HOUR_MS;
  if (every_ms === MINUTE_MS) return "* * * * *";
  if (Number.isInteger(minutes) && minutes > 0 && 60 % minutes === 0) {
    return minutes === 60 ? "0 * * * *" : `*/${minutes} * * * *`;
  }
  if (Number.isInteger(hours) && hours > 0 && 24 % hours === 0) {
    return hours === 24 ? "0 0 * * *" : `0 */${hours} * * *`;
  }
  throw new UsageError(
    "schedule",
    `every ${interval(every_ms)} by cron`,
    "cron counts minutes that divide an hour, and hours that divide a day",
    "Choose such a time, as 15m or 6h, or use --systemd",
  );
}

/** Lines for `crontab -e`. */
export function cronLines(plan: Plan): string[] {
  const fields = cronFields(plan.every_ms);
  const persist = `${fields} ${forCron(persistWords(plan))}`;
  const restore = `@reboot ${forCron(restoreWords(plan))}`;
  return plan.file === undefined ? [persist, restore] : [persist];
}

const REMOVE_IPC = `\
# RemoveIPC: with RemoveIPC=yes in logind.conf, the default of many hosts, systemd
# deletes the shared memory of a user, and so the pool, when that user's last
# session ends. System users and root are spared. For a user who logs in: set
# RemoveIPC=no in /etc/systemd/logind.conf, or run: loginctl enable-linger USER`;

/** The service that saves, its timer, and the service that restores at boot. */
export function systemdUnits(plan: Plan): Unit[] {
  const { name, every_ms } = plan;
  if (!(every_ms >= MINUTE_MS && every_ms <= 31 * DAY_MS)) {
    throw new UsageError(
      "schedule",
      `every ${interval(every_ms)}`,
      "it is not from a minute to a month",
      "Write it as 15m, 6h or 1d",
    );
  }
  const every = `${Math.round(every_ms / 1000)}s`;
  const user = plan.user === undefined ? "" : `User=${plan.user}\n`;
  const unit = (file: string, text: string) => ({
    path: `/etc/systemd/system/${file}`,
    text,
  });
  const persist = unit(
    `cortex-persist-${name}.service`,
    `${plan.file === undefined ? `${REMOVE_IPC}\n` : ""}[Unit]
Description=Save the KV cache pool ${name}
ConditionPathExists=${plan.file ?? `/dev/shm/cortex.${name}`}
After=cortex-restore-${name}.service

[Service]
Type=oneshot
${user}ExecStart=${forSystemd(persistWords(plan))}
Nice=10
IOSchedulingClass=best-effort
IOSchedulingPriority=7
`,
  );
  const timer = unit(
    `cortex-persist-${name}.timer`,
    `[Unit]
Description=Save the KV cache pool ${name} every ${interval(every_ms)}

[Timer]
OnActiveSec=${every}
OnUnitActiveSec=${every}
AccuracySec=10s

[Install]
WantedBy=timers.target
`,
  );
  if (plan.file !== undefined) return [persist, timer];
  const restore = unit(
    `cortex-restore-${name}.service`,
    `[Unit]
Description=Restore the KV cache pool ${name}
ConditionPathExists=!/dev/shm/cortex.${name}

[Service]
Type=oneshot
RemainAfterExit=yes
# 3: nothing was saved yet
SuccessExitStatus=3
TimeoutStartSec=infinity
${user}ExecStart=${forSystemd(restoreWords(plan))}

[Install]
WantedBy=multi-user.target
`,
  );
  return [persist, timer, restore];
}
