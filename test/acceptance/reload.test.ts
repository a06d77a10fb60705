import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

const rule = (name: string, value: string): string => `
detector: threshold
name: ${name}
title: Load is high
metric: system.cpu.load_average.1m
op: ">"
value: ${value}
`;

const detectors = async (platform: PlatformProcess): Promise<{ state: string; detail: string }> => {
  const body = (await (await platform.api("/api/v1/health?always=200")).json()) as {
    components: { name: string; state: string; detail: string }[];
  };
  const { state = "", detail = "" } = body.components.find(({ name }) => name === "detectors") ?? {};
  return { state, detail };
};

const ruleCount = async (platform: PlatformProcess): Promise<number> =>
  Number.parseInt((await detectors(platform)).detail, 10);

describe("rules of a platform that runs", () => {
  let dir: string;
  let platform: PlatformProcess;
  let rulesBefore: number;
  const rules = (name: string, text: string): void => writeFileSync(join(dir, "rules", name), text);
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-reload-"));
    mkdirSync(join(dir, "rules"));
    const config = join(dir, "homeostat.yaml");
    writeFileSync(config, `data_dir: ${join(dir, "data")}\nhttp: { port: 0 }\nrules_dir: rules\n`);
    platform = runHomeostat(["start", "--config", config], join(dir, "data"));
    await platform.ready();
    rulesBefore = await ruleCount(platform);
  });
  afterAll(async () => {
    platform.child.kill("SIGKILL");
    await platform.ended();
    rmSync(dir, { recursive: true, force: true });
  });

  test("are joined by a new file's, which is seen without being told", async () => {
    rules("load.yaml", rule("load", "1000"));
    await expect.poll(() => ruleCount(platform)).toBe(rulesBefore + 1);
  });

  test("stay as they are when a file is wrong, and the health says which key of which file", async () => {
    rules("load.yaml", rule("load", "high"));
    await expect
      .poll(async () => (await detectors(platform)).detail)
      .toMatch(/rules before it stay at work.*load\.yaml: value: .*\(line 7\)/);
    const told = runHomeostat(["reload", "--data-dir", join(dir, "data")]);
    expect(await told.ended()).toBe(1);
    expect(told.output()).toContain("load.yaml: value: ");
  });

  test("are read again at SIGHUP and by `homeostat reload`, and the platform runs on", async () => {
    rules("load.yaml", rule("other", "1000"));
    platform.child.kill("SIGHUP");
    await expect.poll(async () => (await detectors(platform)).state).toBe("ok");
    expect(await ruleCount(platform)).toBe(rulesBefore + 1);
    const told = runHomeostat(["reload", "--json", "--data-dir", join(dir, "data")]);
    expect(await told.ended(), told.output()).toBe(0);
    expect(JSON.parse(told.output())).toMatchObject({ added: [], removed: [] });
  });

  test("are tried on what is stored before they are put to work", async () => {
    const tried = join(dir, "tried.yaml");
    writeFileSync(tried, rule("tried", "-1"));
    const backtest = async (name: string, ...more: string[]) => {
      const args = ["backtest", name, "--since", "1h", "--config", join(dir, "homeostat.yaml"), ...more];
      const told = runHomeostat(args);
      return { code: await told.ended(), output: told.output() };
    };
    const rows = async (): Promise<number> => {
      const { output } = await backtest("tried", "--rules", tried, "--json");
      const report = JSON.parse(output.split("\n").find((line) => line.startsWith("{")) ?? "{}");
      return report.episodes?.length === 1 ? report.coverage.rows : 0;
    };
    await expect.poll(rows).toBeGreaterThan(0);
    const told = await backtest("tried", "--rules", tried);
    expect(told).toMatchObject({
      code: 0,
      output: expect.stringMatching(/would have fired once[\s\S]*still firing/),
    });
    expect(await backtest("unheard-of")).toMatchObject({
      code: 2,
      output: expect.stringContaining("no rule unheard-of"),
    });
    expect(await backtest("tried", "--rules", tried, "--since", "soon")).toMatchObject({ code: 2 });
  });
});
