import { appendFileSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-store-faults-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const statusOf = (pid: string, file: "stat" | "cmdline"): string => {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // It ended meanwhile.
    return "";
  }
};

/** The engine's process, by its parents: the platform may itself be the child of what was started. */
const engineOf = (platformPid: number): number => {
  const parents = new Map(
    readdirSync("/proc")
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => [Number(pid), Number(/\) \S (\d+)/.exec(statusOf(pid, "stat"))?.[1] ?? 0)] as const),
  );
  const isOfPlatform = (pid: number): boolean =>
    pid === platformPid || (pid > 1 && isOfPlatform(parents.get(pid) ?? 0));
  const found = [...parents.keys()].find(
    (pid) => isOfPlatform(pid) && statusOf(String(pid), "cmdline").includes("store/child.ts"),
  );
  if (found === undefined) throw new Error("the engine does not run");
  return found;
};

const Logs = z.object({ logs: z.array(z.object({ body: z.string() })) });
const Ledger = z.object({ ledger: z.array(z.object({ sender: z.string(), topic: z.string(), state: z.string() })) });

const bodies = async (platform: PlatformProcess): Promise<readonly string[]> => {
  const response = await platform.api("/api/v1/logs?service_name=s&limit=10000");
  return response.ok ? Logs.parse(await response.json()).logs.map(({ body }) => body) : [];
};

describe("a platform whose store fails", () => {
  test("has every line once after its engine was killed, killed again and frozen for a while, and its ledger closes", async () => {
    const logPath = join(dir, "s.log");
    const config = join(dir, "homeostat.yaml");
    let lines = 0;
    const write = (count: number) => {
      for (let line = 0; line < count; line += 1) appendFileSync(logPath, `INFO line ${lines++}\n`);
    };
    const all = () => expect.poll(async () => new Set(await bodies(platform)).size, { interval: 250 }).toBe(lines);
    writeFileSync(logPath, "");
    writeFileSync(
      config,
      `data_dir: ${join(dir, "data")}\nhttp: { port: 0 }\nagent: { heartbeat_ms: 1000, logs: [{ path: ${logPath}, service: s }] }\n`,
    );
    const platform = runHomeostat(["start", "--config", config], join(dir, "data"));
    try {
      await platform.ready();
      for (const _ of [1, 2]) {
        write(200);
        await all();
        const engine = engineOf(platform.child.pid ?? 0);
        write(200);
        process.kill(engine, "SIGKILL");
        write(200);
        await all();
      }
      const engine = engineOf(platform.child.pid ?? 0);
      process.kill(engine, "SIGSTOP");
      write(200);
      const since = performance.now();
      await expect.poll(() => performance.now() - since).toBeGreaterThan(4000);
      process.kill(engine, "SIGCONT");
      await all();
      expect(await bodies(platform), "no line twice").toHaveLength(lines);
      const open = async () => {
        const { ledger } = Ledger.parse(await (await platform.api("/api/v1/ledger")).json());
        return ledger.map(({ topic, state }) => `${topic} ${state}`);
      };
      await expect.poll(open, { interval: 500 }).toContain("telemetry.logs closed");
    } finally {
      platform.child.kill("SIGINT");
      await platform.ended();
    }
  }, 180_000);
});
