import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

const TOKEN = "a-token-of-this-test-only";

let dir: string;
let platform: PlatformProcess;
let agent: PlatformProcess;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-relay-"));
  writeFileSync(join(dir, "token"), `${TOKEN}\n`);
  writeFileSync(
    join(dir, "platform.yaml"),
    `data_dir: ${join(dir, "platform")}
http: { port: 0 }
agent: { host: control }
relay: { agents: [{ host: edge, token: { file: ${join(dir, "token")} } }] }
remediation: { guards: { start_up_grace_ms: 1000 } }
`,
  );
  platform = runHomeostat(["start", "--config", join(dir, "platform.yaml")], join(dir, "platform"));
  await platform.ready();
  const { url } = JSON.parse(readFileSync(join(dir, "platform", "platform.json"), "utf8"));
  writeFileSync(
    join(dir, "agent.yaml"),
    `data_dir: ${join(dir, "agent")}
parts: [agent]
agent_link: { kind: relay, url: "${url}", token: { file: ${join(dir, "token")} } }
trust: { command_keys: [${join(dir, "platform", "command-key.pub.pem")}] }
agent:
  host: edge
  services:
    - { name: sleeper, manager: process, command: /bin/sleep, args: ["1000"], stop_with_agent: true }
`,
  );
  agent = runHomeostat(["start", "--config", join(dir, "agent.yaml")]);
  await agent.ready();
});
afterAll(async () => {
  for (const one of [agent, platform]) {
    one.child.kill("SIGINT");
    await one.ended();
  }
  rmSync(dir, { recursive: true, force: true });
});

const agents = async (): Promise<readonly string[]> => {
  const body = (await (await platform.api("/api/v1/agents")).json()) as { agents: { host: string }[] };
  return body.agents.map(({ host }) => host).sort();
};

describe("an agent on a machine of its own, without credentials for the bus", () => {
  test("is seen by the platform", async () => {
    await expect.poll(agents, { timeout: 20_000 }).toEqual(["control", "edge"]);
  });

  test("has its crashed service restarted by a signed command through the relay", async () => {
    const points = async (): Promise<number> => {
      const path = "/api/v1/metrics/query?metric_name=homeostat.service.up&host_name=edge&step_ms=1000";
      const { series } = (await (await platform.api(path)).json()) as { series: { points: unknown[] }[] };
      return series.reduce((sum, one) => sum + one.points.length, 0);
    };
    await expect.poll(points, { timeout: 30_000 }).toBeGreaterThan(7);
    const sleeper = (): number => {
      const children = readFileSync(`/proc/${agent.child.pid}/task/${agent.child.pid}/children`, "utf8");
      const pids = children.split(" ").filter(Boolean).map(Number);
      return pids.find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "sleep") ?? 0;
    };
    const before = sleeper();
    process.kill(before, "SIGKILL");
    const states = async (): Promise<readonly string[]> => {
      const { incidents } = (await (await platform.api("/api/v1/incidents?host_name=edge")).json()) as {
        incidents: { state: string }[];
      };
      return incidents.map(({ state }) => state);
    };
    await expect.poll(states, { timeout: 60_000 }).toEqual(["resolved"]);
    expect(sleeper()).not.toBe(before);
    expect(sleeper()).toBeGreaterThan(0);
  }, 120_000);
});
