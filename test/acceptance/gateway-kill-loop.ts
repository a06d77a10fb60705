import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "vitest";
import { z } from "zod";
import { freePort } from "../fixtures/free-port.ts";
import { askStore } from "./kill-loop.ts";
import { runHomeostat } from "./platform-process.ts";

const TOKEN = "the-token-of-the-collector";
const CONNECTIONS = 4;
const ROWS_PER_REQUEST = 10;
/** Between two attempts: a platform that starts is asked again soon. */
const RETRY_MS = 20;
/** A platform that is alive has answered by then: what is sent again without a kill would be there twice. */
const ATTEMPT_MS_MAX = 60_000;
const DRAIN_MS_MAX = 60_000;
/** Long enough to be killed anywhere: while starting, while redoing, while taking requests. */
const LIFE_MS_MAX = 6000;

const Health = z.object({
  components: z.array(z.object({ name: z.string(), figures: z.record(z.string(), z.number()) })),
});

const bodyOf = (request: number): string => {
  const timeUnixNano = `${Date.now()}000000`;
  const logRecords = Array.from({ length: ROWS_PER_REQUEST }, (_, row) => ({
    timeUnixNano,
    body: { stringValue: `${request} ${row}` },
  }));
  const attributes = [
    { key: "host.name", value: { stringValue: `web-${request % 7}` } },
    { key: "service.name", value: { stringValue: "load" } },
  ];
  return JSON.stringify({ resourceLogs: [{ resource: { attributes }, scopeLogs: [{ logRecords }] }] });
};

/** Sends each request, the same bytes again and again, until it is acknowledged; some at the same time. */
const startSender = (port: number) => {
  const acknowledged = new Set<number>();
  const underWay = new Set<number>();
  let requests = 0;
  let isStopped = false;

  const attempt = async (body: string): Promise<boolean> => {
    try {
      const response = await fetch(`http://127.0.0.1:${port}/v1/logs`, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `Bearer ${TOKEN}` },
        body,
        signal: AbortSignal.timeout(ATTEMPT_MS_MAX),
      });
      await response.text();
      return response.status === 200;
    } catch {
      // Nobody listens, or who listened was killed.
      return false;
    }
  };
  const work = async (): Promise<void> => {
    while (!isStopped) {
      const request = requests++;
      const body = bodyOf(request);
      underWay.add(request);
      while (!(await attempt(body))) await delay(RETRY_MS);
      acknowledged.add(request);
      underWay.delete(request);
    }
  };
  const workers = Array.from({ length: CONNECTIONS }, work);
  return {
    acknowledged,
    underWay,
    /** Resolves when all that was begun is acknowledged. */
    stop: async () => {
      isStopped = true;
      await Promise.all(workers);
    },
  };
};

interface Found {
  /** By request, how often its rows are in the store: the least and the most of them. */
  readonly copies: ReadonlyMap<number, { readonly rows: number; readonly most: number }>;
  readonly acknowledged: ReadonlySet<number>;
  /** Requests that had no answer yet when the platform was killed. */
  readonly cutOff: ReadonlySet<number>;
  readonly inFlightAtKills: number;
  readonly lives: string;
}

const readCopies = async (storeDir: string): Promise<Found["copies"]> => {
  const rows = await askStore<{ request: number; rows: number; most: number }>(
    storeDir,
    `SELECT request, count()::UInt32 AS rows, max(copies)::UInt32 AS most
     FROM (SELECT splitByChar(' ', body)[1]::UInt32 AS request, body, count() AS copies
           FROM homeostat.logs WHERE service_name = 'load' GROUP BY request, body)
     GROUP BY request`,
  );
  return new Map(rows.map(({ request, rows, most }) => [request, { rows, most }]));
};

/** Runs, kills and runs the platform while a sender posts to its receiver; then compares the store with what was acknowledged. */
export const gatewayKillLoop = async ({ dir, kills }: { dir: string; kills: number }): Promise<Found> => {
  const dataDir = join(dir, "data");
  const configPath = join(dir, "homeostat.yaml");
  const port = await freePort();
  writeFileSync(join(dir, "token"), TOKEN);
  writeFileSync(
    configPath,
    `data_dir: ${dataDir}
http: { port: 0 }
parts: [receivers, ingest, detectors, remediation, control, api]
receivers:
  http: { port: ${port} }
  senders: [{ name: collector, token: { file: ${join(dir, "token")} } }]
`,
  );
  const sender = startSender(port);
  const cutOff = new Set<number>();
  const lives: number[] = [];
  let inFlightAtKills = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const platform = runHomeostat(["start", "--config", configPath], dataDir);
    // Random by intent; a failure prints it.
    const life = Math.round(Math.random() * LIFE_MS_MAX);
    lives.push(life);
    await delay(life);
    platform.child.kill("SIGKILL");
    for (const request of sender.underWay) cutOff.add(request);
    inFlightAtKills += sender.underWay.size;
    const end = await platform.ended();
    if (end !== "SIGKILL") throw new Error(`the platform ended by itself with ${end}: ${platform.output()}`);
  }
  const platform = runHomeostat(["start", "--config", configPath], dataDir);
  await platform.ready();
  await sender.stop();
  const deadline = Date.now() + DRAIN_MS_MAX;
  const isDrained = async (): Promise<boolean> => {
    const { components } = Health.parse(await (await platform.api("/api/v1/health")).json());
    return components.some(({ name, figures }) => name === "ingest" && figures.lag === 0);
  };
  while (!(await isDrained()) && Date.now() < deadline) await delay(250);
  platform.child.kill("SIGINT");
  const end = await platform.ended();
  if (end !== 0) throw new Error(`the platform stopped with ${end}: ${platform.output()}`);
  const copies = await readCopies(join(dataDir, "store"));
  return {
    copies,
    acknowledged: sender.acknowledged,
    cutOff,
    inFlightAtKills,
    lives: `lives of ${lives.join(", ")} ms`,
  };
};

/** What must hold after it. */
export const expectAcknowledgedOnce = ({ copies, acknowledged, cutOff, inFlightAtKills, lives }: Found): void => {
  const lost = [...acknowledged].filter((request) => copies.get(request)?.rows !== ROWS_PER_REQUEST);
  const doubled = [...copies].filter(([, { most }]) => most > 1).map(([request]) => request);
  expect(acknowledged.size, `the sender was heard; ${lives}`).toBeGreaterThan(0);
  expect(lost, `no acknowledged record lost; ${lives}`).toEqual([]);
  expect(
    doubled.filter((request) => !cutOff.has(request)),
    `nothing doubled but what a kill cut off before its answer; ${lives}`,
  ).toEqual([]);
  const extra = [...copies.values()].reduce((sum, { most }) => sum + most - 1, 0);
  expect(extra, `no more repetitions than requests in flight at the kills; ${lives}`).toBeLessThanOrEqual(
    inFlightAtKills,
  );
};
