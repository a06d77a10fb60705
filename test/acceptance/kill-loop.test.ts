import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { createClient } from "@clickhouse/client";
import { startEmbeddedStore } from "@homeostat/app";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { runHomeostat } from "./platform-process.ts";

/** Short here; on request as long as you like: HOMEOSTAT_KILLS=50 npx vitest run test/acceptance/kill-loop.test.ts */
const KILLS = Number(process.env.HOMEOSTAT_KILLS ?? 6);
/** Long enough to be killed anywhere: while starting, while redoing, while running. */
const LIFE_MS_MAX = 6000;
const LINES_PER_WRITE = 25;
const WRITE_EVERY_MS = 10;

const quietLog = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "homeostat-kill-"));
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

const startLoad = (path: string): { stop(): number } => {
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

/** Asked of the store itself, with the platform stopped. */
const countRows = async (storeDir: string): Promise<Counts> => {
  const store = await startEmbeddedStore({ dir: storeDir, log: quietLog });
  const client = createClient({ url: store.url, username: store.username, password: store.password });
  const result = await client.query({
    query: `SELECT
        (SELECT count() FROM homeostat.logs WHERE service_name = 'load')::UInt32 AS lines,
        (SELECT uniqExact(body) FROM homeostat.logs WHERE service_name = 'load')::UInt32 AS distinct_lines,
        (SELECT count() FROM homeostat.metric_samples)::UInt32 AS samples,
        (SELECT uniqExact(metric_id, fingerprint, timestamp) FROM homeostat.metric_samples)::UInt32 AS distinct_samples`,
    format: "JSONEachRow",
  });
  const [counts] = await result.json<Counts>();
  await client.close();
  await store.stop();
  if (counts === undefined) throw new Error("no counts");
  return counts;
};

describe("a platform that is killed at any moment", () => {
  test(`has every acknowledged record in the store exactly once after ${KILLS} kills under load`, async () => {
    const logPath = join(dir, "load.log");
    const dataDir = join(dir, "data");
    writeFileSync(logPath, "");
    writeFileSync(
      join(dir, "homeostat.yaml"),
      `data_dir: ${dataDir}\nhttp: { port: 0 }\nagent:\n  flush_ms: 100\n  logs:\n    - { path: ${logPath}, service: load }\n`,
    );
    const load = startLoad(logPath);
    const lives: number[] = [];
    for (let kill = 0; kill < KILLS; kill += 1) {
      const platform = runHomeostat(["start", "--config", join(dir, "homeostat.yaml")], dataDir);
      // Random by intent; what a failure needs is printed below.
      const life = Math.round(Math.random() * LIFE_MS_MAX);
      lives.push(life);
      await delay(life);
      platform.child.kill("SIGKILL");
      expect(await platform.ended(), platform.output()).toBe("SIGKILL");
    }
    const platform = runHomeostat(["start", "--config", join(dir, "homeostat.yaml")], dataDir);
    await platform.ready();
    const written = load.stop();
    await expect.poll(() => linesInStore(platform), { timeout: 60_000, interval: 250 }).toBeGreaterThanOrEqual(written);
    platform.child.kill("SIGINT");
    expect(await platform.ended(), platform.output()).toBe(0);
    const counts = await countRows(join(dataDir, "store"));
    const lifetimes = `lives of ${lives.join(", ")} ms`;
    expect(counts.distinct_lines, `no line lost; ${lifetimes}`).toBe(written);
    expect(counts.lines, `no line doubled; ${lifetimes}`).toBe(written);
    expect(counts.samples, "metrics came too").toBeGreaterThan(0);
    expect(counts.distinct_samples, `no sample doubled; ${lifetimes}`).toBe(counts.samples);
  }, 600_000);
});
