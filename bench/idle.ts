import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { median } from "./numbers.ts";

/*
 * What the embedded platform costs while nothing happens: started as a user starts it, once to warm the compile cache and then
 * measured from /proc. Resident memory counts every page that a process maps; proportional (PSS) divides shared ones among their users;
 * anonymous is what is nobody else's and cannot be dropped.
 */
const HOMEOSTAT = fileURLToPath(new URL("../app/bin/homeostat.mjs", import.meta.url));
const SETTLE_S = 30;
const MEASURE_S = 60;
const STARTS = 5;
/** USER_HZ, which Linux fixes at 100 for what /proc shows (proc(5)). */
const TICKS_PER_SECOND = 100;

interface Platform {
  readonly pid: number;
  readonly readyMs: number;
  stop(): Promise<void>;
}

const start = (config: string): Promise<Platform> =>
  new Promise((resolve, reject) => {
    const startedAt = performance.now();
    const child = spawn(process.execPath, [HOMEOSTAT, "start", "--config", config], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const ended = new Promise<void>((end) => child.once("exit", () => end()));
    child.once("exit", () => reject(new Error("the platform ended before it was ready")));
    child.stdout.on("data", (chunk: Buffer) => {
      if (!chunk.includes("ready in")) return;
      const stop = async (): Promise<void> => {
        child.kill("SIGINT");
        await ended;
      };
      resolve({ pid: child.pid ?? 0, readyMs: performance.now() - startedAt, stop });
    });
  });

const cpuSeconds = (pid: number): number => {
  // Behind the command's name, which may hold spaces, in parentheses: utime and stime are fields 14 and 15 of proc_pid_stat(5).
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
};

const memoryMb = (pid: number, field: "Rss" | "Pss" | "Anonymous"): number => {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1]) / 1024;
};

const childrenOf = (pid: number): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);

const round = (value: number): number => Math.round(value * 10) / 10;

const measure = async (pids: Readonly<Record<string, number>>) => {
  const before = Object.values(pids).map(cpuSeconds);
  await delay(MEASURE_S * 1000);
  return Object.fromEntries(
    Object.entries(pids).map(([name, pid], index) => [
      name,
      {
        cpu_percent: round(((cpuSeconds(pid) - (before[index] ?? 0)) / MEASURE_S) * 100),
        rss_mb: round(memoryMb(pid, "Rss")),
        pss_mb: round(memoryMb(pid, "Pss")),
        anonymous_mb: round(memoryMb(pid, "Anonymous")),
      },
    ]),
  );
};

const total = (parts: Readonly<Record<string, Readonly<Record<string, number>>>>, figure: string): number =>
  round(Object.values(parts).reduce((sum, part) => sum + (part[figure] ?? 0), 0));

export const run = async (): Promise<void> => {
  const dir = mkdtempSync(join(tmpdir(), "homeostat-idle-"));
  const config = join(dir, "homeostat.yaml");
  writeFileSync(config, `data_dir: ${join(dir, "data")}\nhttp: { port: 0 }\n`);
  try {
    const readyMs: number[] = [];
    for (let count = 0; count < STARTS; count += 1) {
      const platform = await start(config);
      readyMs.push(platform.readyMs);
      await platform.stop();
    }
    const platform = await start(config);
    process.stdout.write(
      `ready after ${readyMs.map((ms) => `${Math.round(ms)} ms`).join(", ")}; measuring for ${MEASURE_S} s …\n`,
    );
    await delay(SETTLE_S * 1000);
    const [engine] = childrenOf(platform.pid);
    const parts = await measure({ platform: platform.pid, clickhouse: engine ?? 0 });
    await platform.stop();
    console.table(parts);
    const figures = ["cpu_percent", "rss_mb", "pss_mb", "anonymous_mb"];
    const totals = Object.fromEntries(figures.map((figure) => [figure, total(parts, figure)]));
    process.stdout.write(`${JSON.stringify({ ready_s: round(median(readyMs) / 1000), ...totals, parts })}\n`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
};
