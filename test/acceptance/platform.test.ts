import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type PlatformProcess, runHomeostat } from "./platform-process.ts";

const writeConfig = (dir: string, more = ""): string => {
  const path = join(dir, "homeostat.yaml");
  writeFileSync(path, `data_dir: ${join(dir, "data")}\nhttp: { port: 0 }\n${more}`);
  return path;
};

const processesUnder = (pid: number): readonly number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);

/** A zombie has ended: whether somebody fetches it is up to the machine. */
const isRunning = (pid: number): boolean => {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
};

const componentStates = async (platform: PlatformProcess): Promise<Record<string, string>> => {
  const { components } = (await (await platform.api("/api/v1/health?always=200")).json()) as {
    components: { name: string; state: string }[];
  };
  return Object.fromEntries(components.map(({ name, state }) => [name, state]));
};

const pointsOf = async (platform: PlatformProcess, metric: string): Promise<number> => {
  const response = await platform.api(`/api/v1/metrics/query?metric_name=${metric}&step_ms=1000`);
  const body = (await response.json()) as { series?: { points: unknown[] }[] };
  return (body.series ?? []).reduce((sum, { points }) => sum + points.length, 0);
};

const WELL = { store: "ok", agent: "ok", control: "ok", ingest: "ok", detectors: "ok", remediation: "ok" };

describe("a platform on its embedded default", () => {
  let dir: string;
  let platform: PlatformProcess;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-platform-"));
    platform = runHomeostat(["start", "--config", writeConfig(dir)], join(dir, "data"));
    await platform.ready();
  });
  afterAll(async () => {
    platform.child.kill("SIGKILL");
    await platform.ended();
    rmSync(dir, { recursive: true, force: true });
  });

  test("says what runs where, what it watches, and what to try next", () => {
    const text = platform.output();
    for (const word of ["ready in", "watches", "heals", "bus", "store", "API", "Try next", "Ctrl-C"])
      expect(text).toContain(word);
  });

  test("is well in every part", async () => {
    await expect.poll(() => componentStates(platform)).toEqual(WELL);
  });

  test("answers with this machine's own processor load within seconds", async () => {
    await expect.poll(() => pointsOf(platform, "system.cpu.utilization")).toBeGreaterThan(0);
  });

  test("refuses a decision without its token", async () => {
    const init = {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"approved":true,"by":"x"}',
    };
    expect((await platform.api("/api/v1/runs/none/decision", init)).status).toBe(401);
  });

  test("tells its state to a program", async () => {
    const told = async () => {
      const status = runHomeostat(["status", "--data-dir", join(dir, "data"), "--json"]);
      return { code: await status.ended(), ...JSON.parse(status.output()) };
    };
    await expect.poll(told).toMatchObject({ code: 0, status: "ok" });
  });

  test("refuses a second platform on the same data, and lives on", async () => {
    const second = runHomeostat(["start", "--config", join(dir, "homeostat.yaml")]);
    expect(await second.ended()).toBe(1);
    expect(second.output()).toMatch(/another process|in use|locked/i);
    await expect.poll(() => componentStates(platform)).toEqual(WELL);
  });

  test("starts its store again when the engine dies, and loses nothing meanwhile", async () => {
    const engineOf = () => processesUnder(platform.child.pid ?? 0)[0];
    const before = engineOf();
    if (before === undefined) throw new Error("no engine runs");
    process.kill(before, "SIGKILL");
    // It says so while it lasts, which may be no longer than we take to ask.
    const states: (string | undefined)[] = [];
    await expect
      .poll(async () => {
        states.push((await componentStates(platform)).store);
        return states.includes("failing") || (engineOf() ?? before) !== before;
      })
      .toBe(true);
    await expect.poll(() => componentStates(platform)).toEqual(WELL);
    expect(engineOf()).not.toBe(before);
  });

  test("stops on Ctrl-C with everything that it started", async () => {
    const children = processesUnder(platform.child.pid ?? 0);
    expect(children.length).toBeGreaterThan(0);
    platform.child.kill("SIGINT");
    expect(await platform.ended(), platform.output()).toBe(0);
    expect(children.filter(isRunning)).toEqual([]);
  });
});

describe("a configuration that is wrong", () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-config-"));
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test("is refused at the start with all problems and their paths", async () => {
    const path = writeConfig(
      dir,
      "colour: blue\nagent: { interval_ms: fast, logs: [{ path: relative.log, service: x }] }\nparts: [ingest]\n",
    );
    const platform = runHomeostat(["start", "--config", path]);
    expect(await platform.ended()).toBe(1);
    for (const problem of ["colour: unknown key", "agent.interval_ms:", "agent.logs[0].path:"])
      expect(platform.output()).toContain(problem);
  });
});

describe("a bus that cannot be reached", () => {
  test("is waited for, with a word of what is missing, until Ctrl-C", async () => {
    const dir = mkdtempSync(join(tmpdir(), "homeostat-waiting-"));
    const config = writeConfig(dir, 'bus: { kind: kafka, brokers: ["127.0.0.1:1"] }\n');
    const platform = runHomeostat(["start", "--config", config]);
    await expect.poll(() => platform.output()).toContain("waiting for Kafka");
    platform.child.kill("SIGINT");
    expect(await platform.ended(), platform.output()).toBe(130);
    expect(platform.output()).toContain("stopped before it was ready");
    rmSync(dir, { recursive: true, force: true });
  });
});

describe("an incident", () => {
  let dir: string;
  let receiver: Server;
  let platform: PlatformProcess;
  const received: { status: string; version: string }[] = [];
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-incident-"));
    let calls = 0;
    receiver = createServer((request, response) => {
      let body = "";
      request.on("data", (chunk) => {
        body += chunk;
      });
      request.on("end", () => {
        calls += 1;
        // The first attempt fails: the outbox must come back with it.
        if (calls > 1) received.push(JSON.parse(body));
        response.writeHead(calls > 1 ? 200 : 503).end();
      });
    });
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve));
    const { port } = receiver.address() as AddressInfo;
    const config = writeConfig(
      dir,
      `agent:
  services:
    - { name: sleeper, manager: process, command: /bin/sleep, args: ["1000"], stop_with_agent: true }
remediation:
  guards: { start_up_grace_ms: 1000 }
  receivers: [{ name: hook, kind: webhook, url: "http://127.0.0.1:${port}/" }]
`,
    );
    platform = runHomeostat(["start", "--config", config], join(dir, "data"));
    await platform.ready();
  });
  afterAll(async () => {
    platform.child.kill("SIGINT");
    await platform.ended();
    receiver.close();
    rmSync(dir, { recursive: true, force: true });
  });

  test("is healed, told to a webhook in Alertmanager's form in spite of a failure, and reported", async () => {
    const pidOf = (): number => {
      const pids = processesUnder(platform.child.pid ?? 0);
      return pids.find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "sleep") ?? 0;
    };
    await expect.poll(pidOf).toBeGreaterThan(0);
    const before = pidOf();
    // The rule gives a service five seconds to come up; a crash before that is a start, not a fault.
    await expect.poll(() => pointsOf(platform, "homeostat.service.up")).toBeGreaterThan(7);
    process.kill(before, "SIGKILL");
    const incidents = async () =>
      (
        (await (await platform.api("/api/v1/incidents")).json()) as {
          incidents: { incident_id: string; state: string }[];
        }
      ).incidents;
    await expect.poll(async () => (await incidents())[0]?.state).toBe("resolved");
    expect(pidOf()).not.toBe(before);
    await expect.poll(() => received.map(({ status }) => status)).toContain("resolved");
    expect(received.map(({ version }) => version)).toEqual(received.map(() => "4"));
    expect(received.map(({ status }) => status)).toContain("firing");
    const [incident] = await incidents();
    const report = await platform.api(`/api/v1/incidents/${incident?.incident_id}/report?format=markdown`);
    expect(await report.text()).toContain("Root cause");
  }, 120_000);
});
