import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

interface Detail {
  readonly incident: { readonly state: string };
  readonly runs: readonly { readonly run_id: string; readonly state: string }[];
  readonly results: readonly { readonly state: string }[];
}

let dir: string;
let marker: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-restart-"));
  // An argument that no other process of this machine has.
  marker = String(100_000 + (Math.floor(performance.now() * 1000) % 800_000));
});
afterEach(() => {
  for (const pid of sleepers()) process.kill(pid, "SIGKILL");
  rmSync(dir, { recursive: true, force: true });
});

const sleepers = (): readonly number[] =>
  readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8") === `/bin/sleep\0${marker}\0`;
      } catch {
        // It ended while we looked.
        return false;
      }
    })
    .map(Number);

const pointsOf = async (platform: PlatformProcess): Promise<number> => {
  const response = await platform.api("/api/v1/metrics/query?metric_name=homeostat.service.up&step_ms=1000");
  const { series } = (await response.json()) as { series: { points: unknown[] }[] };
  return series.reduce((sum, { points }) => sum + points.length, 0);
};

const detailOf = async (platform: PlatformProcess): Promise<Detail | null> => {
  const { incidents } = (await (await platform.api("/api/v1/incidents")).json()) as {
    incidents: { incident_id: string }[];
  };
  const [incident] = incidents;
  if (incident === undefined) return null;
  return (await (await platform.api(`/api/v1/incidents/${incident.incident_id}`)).json()) as Detail;
};

describe("a platform that is killed while it verifies a repair", () => {
  test("goes on with the very run after its restart, and repairs nothing twice", async () => {
    const config = join(dir, "homeostat.yaml");
    writeFileSync(
      config,
      `data_dir: ${join(dir, "data")}
http: { port: 0 }
agent:
  services: [{ name: sleeper, manager: process, command: /bin/sleep, args: ["${marker}"] }]
remediation: { guards: { start_up_grace_ms: 1000 } }
`,
    );
    const first = runHomeostat(["start", "--config", config], join(dir, "data"));
    await first.ready();
    await expect.poll(() => pointsOf(first)).toBeGreaterThan(7);
    process.kill(sleepers()[0] ?? 0, "SIGKILL");
    await expect.poll(async () => (await detailOf(first))?.incident.state, { interval: 20 }).toBe("verifying");
    const [repaired] = sleepers();
    expect(repaired, "the service runs again").toBeDefined();
    first.child.kill("SIGKILL");
    await first.ended();

    const second = runHomeostat(["start", "--config", config], join(dir, "data"));
    try {
      await second.ready();
      await expect.poll(async () => (await detailOf(second))?.runs.map(({ state }) => state)).toEqual(["succeeded"]);
      await expect.poll(async () => (await detailOf(second))?.incident.state).toBe("resolved");
      expect(
        (await detailOf(second))?.results.map(({ state }) => state),
        "one command, once",
      ).toEqual(["succeeded"]);
      expect(sleepers(), "the same process, adopted").toEqual([repaired]);
    } finally {
      second.child.kill("SIGINT");
      await second.ended();
    }
  }, 180_000);
});
