import { execFileSync } from "node:child_process";
import { appendFileSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

/** A disk of its own wants a mount, and a mount wants root. */
const isRoot = process.getuid?.() === 0;
const LINES = 300;

let dir: string;
let disk: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-disk-"));
  disk = mkdtempSync(join(dir, "disk-"));
  if (isRoot) execFileSync("mount", ["-t", "tmpfs", "-o", "size=96m", "tmpfs", disk]);
});
afterEach(() => {
  if (isRoot) execFileSync("umount", ["-l", disk]);
  rmSync(dir, { recursive: true, force: true });
});

const fill = (path: string): void => {
  const file = openSync(path, "w");
  try {
    for (const block = Buffer.alloc(65_536, 1); ; ) writeSync(file, block);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOSPC")) throw error;
  } finally {
    closeSync(file);
  }
};

interface Component {
  readonly name: string;
  readonly state: string;
  readonly detail: string;
  readonly figures: Readonly<Record<string, number>>;
}

const component = async (platform: PlatformProcess, name: string): Promise<Component | undefined> => {
  const health = (await (await platform.api("/api/v1/health?always=200")).json()) as { components: Component[] };
  return health.components.find((one) => one.name === name);
};

const bodies = async (platform: PlatformProcess): Promise<readonly string[]> => {
  const { logs } = (await (await platform.api("/api/v1/logs?service_name=s&limit=10000")).json()) as {
    logs: { body: string }[];
  };
  return logs.map(({ body }) => body);
};

describe("a platform whose disk is full", () => {
  test.runIf(isRoot)(
    "says so, counts what it must drop, and loses no line of a log when there is room again",
    async () => {
      const logPath = join(dir, "s.log");
      writeFileSync(logPath, "INFO before\n");
      const config = join(dir, "homeostat.yaml");
      writeFileSync(
        config,
        `data_dir: ${join(disk, "data")}\nhttp: { port: 0 }\nagent: { logs: [{ path: ${logPath}, service: s }] }\n`,
      );
      const platform = runHomeostat(["start", "--config", config], join(disk, "data"));
      try {
        await platform.ready();
        await expect.poll(() => bodies(platform)).toEqual(["INFO before"]);
        fill(join(disk, "filler"));
        for (let line = 0; line < LINES; line += 1) appendFileSync(logPath, `INFO line ${line}\n`);
        await expect.poll(async () => (await component(platform, "agent"))?.detail).toMatch(/ENOSPC|no room/);
        rmSync(join(disk, "filler"));
        await expect.poll(async () => new Set(await bodies(platform)).size).toBe(LINES + 1);
        expect(await bodies(platform), "no line twice").toHaveLength(LINES + 1);
        await expect.poll(async () => (await component(platform, "agent"))?.state).toBe("ok");
        const figures = (await component(platform, "agent"))?.figures ?? {};
        expect(figures.produced).toBe((figures.delivered ?? 0) + (figures.spooled ?? 0) + (figures.dropped ?? 0));
      } finally {
        platform.child.kill("SIGINT");
        await platform.ended();
      }
    },
    180_000,
  );
});
