import { appendFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@clickhouse/client";
import { startEmbeddedStore } from "@homeostat/app";
import { expect } from "vitest";
import { z } from "zod";
import { runHomeostat } from "./platform-process.ts";

const DRAIN_MS_MAX = 60_000;
/** Long enough to be killed anywhere: while starting, while redoing, while running. */
const LIFE_MS_MAX = 6000;
const LINES_PER_WRITE = 25;
const WRITE_EVERY_MS = 10;

const quietLog = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

const startLoad = (path: string): { stop(): number } & Disposable => {
  let lines = 0;
  const timer = setInterval(() => {
    let text = "";
    for (let i = 0; i < LINES_PER_WRITE; i += 1) text += `INFO line ${lines++} of the load\n`;
    appendFileSync(path, text);
  }, WRITE_EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      return lines;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
};

const Histogram = z.object({ histogram: z.array(z.object({ count: z.int() })) });

const linesInStore = async (platform: ReturnType<typeof runHomeostat>): Promise<number> => {
  const response = await platform.api("/api/v1/logs/histogram?service_name=load&step_ms=3600000");
  return Histogram.parse(await response.json()).histogram.reduce((sum, { count }) => sum + count, 0);
};

interface Counts {
  readonly lines: number;
  readonly distinct_lines: number;
  readonly samples: number;
  readonly distinct_samples: number;
}

/** Asks the store itself, with the platform stopped. */
export const askStore = async <Row>(storeDir: string, query: string): Promise<Row[]> => {
  const store = await startEmbeddedStore({ dir: storeDir, log: quietLog });
  const client = createClient({ url: store.url, username: store.username, password: store.password });
  const rows = await (await client.query({ query, format: "JSONEachRow" })).json<Row>();
  await client.close();
  await store.stop();
  return rows;
};

const countRows = async (storeDir: string): Promise<Counts> => {
  const [counts] = await askStore<Counts>(
    storeDir,
    `SELECT
        (SELECT count() FROM homeostat.logs WHERE service_name = 'load')::UInt32 AS lines,
        (SELECT uniqExact(body) FROM homeostat.logs WHERE service_name = 'load')::UInt32 AS distinct_lines,
        (SELECT count() FROM homeostat.metric_samples)::UInt32 AS samples,
        (SELECT uniqExact(metric_id, fingerprint, timestamp) FROM homeostat.metric_samples)::UInt32 AS distinct_samples`,
  );
  if (counts === undefined) throw new Error("no counts");
  return counts;
};

export interface KillLoop {
  /** A folder of its own. */
  readonly dir: string;
  readonly kills: number;
  /** More configuration, in YAML. */
  readonly config: string;
}

/** Runs, kills and runs the platform under load; then counts what reached the store against what was written. */
export const killLoop = async ({
  dir,
  kills,
  config,
}: KillLoop): Promise<Counts & { written: number; lives: string }> => {
  const logPath = join(dir, "load.log");
  const dataDir = join(dir, "data");
  const configPath = join(dir, "homeostat.yaml");
  writeFileSync(logPath, "");
  writeFileSync(
    configPath,
    `data_dir: ${dataDir}\nhttp: { port: 0 }\nagent:\n  flush_ms: 100\n  logs:\n    - { path: ${logPath}, service: load }\n${config}`,
  );
  using load = startLoad(logPath);
  const lives: number[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    const platform = runHomeostat(["start", "--config", configPath], dataDir);
    // Random by intent; a failure prints it.
    const life = Math.round(Math.random() * LIFE_MS_MAX);
    lives.push(life);
    await delay(life);
    platform.child.kill("SIGKILL");
    const end = await platform.ended();
    if (end !== "SIGKILL") throw new Error(`the platform ended by itself with ${end}: ${platform.output()}`);
  }
  const platform = runHomeostat(["start", "--config", configPath], dataDir);
  await platform.ready();
  const written = load.stop();
  const deadline = Date.now() + DRAIN_MS_MAX;
  while ((await linesInStore(platform)) < written && Date.now() < deadline) await delay(250);
  platform.child.kill("SIGINT");
  const end = await platform.ended();
  if (end !== 0) throw new Error(`the platform stopped with ${end}: ${platform.output()}`);
  return { ...(await countRows(join(dataDir, "store"))), written, lives: `lives of ${lives.join(", ")} ms` };
};

/** What must hold after it. */
export const expectExactlyOnce = ({ written, lives, ...counts }: Awaited<ReturnType<typeof killLoop>>): void => {
  expect(counts.distinct_lines, `no line lost; ${lives}`).toBe(written);
  expect(counts.lines, `no line doubled; ${lives}`).toBe(written);
  expect(counts.samples, "metrics came too").toBeGreaterThan(0);
  expect(counts.distinct_samples, `no sample doubled; ${lives}`).toBe(counts.samples);
};
