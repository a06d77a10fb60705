import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, type Store } from "@homeostat/analytics";
import { DetectorsConfig, Rule } from "@homeostat/detectors";
import { BatchBuilder, type Log, metricId, seriesFingerprint } from "@homeostat/schemas";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type EmbeddedStore, startEmbeddedStore } from "../embedded/store/index.ts";
import { createHourMemory } from "../hour-memory.ts";
import { parseOptions } from "../options.ts";
import { type BacktestReport, backtest } from "./backtest.ts";

const nothing = () => undefined;
const silent: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };

const HOUR_MS = 3_600_000;
/** Noon of yesterday: nothing is so old that its retention drops it. */
const NOON = Math.floor(Date.now() / 86_400_000) * 86_400_000 - 43_200_000;
const DURING = { fromUnixMs: NOON, toUnixMs: NOON + HOUR_MS };

let sequence = 0;
const stamp = () => ({ producer: "test", sequence: sequence++ });

const insertMetric = async (store: Store, host: string, valueAt: (second: number) => number | null): Promise<void> => {
  const labels = { "host.name": host };
  const identity = { metric_id: metricId("m"), fingerprint: seriesFingerprint("m", labels) };
  const series = new BatchBuilder("metric_series");
  const samples = new BatchBuilder("metric_samples");
  const more = { metric_name: "m", kind: "gauge", unit: "1", host_name: host, service_name: "", attributes: labels };
  series.append({ ...identity, seen_at: NOON, ...more });
  for (let second = -3600; second < 3600; second++) {
    const value = valueAt(second);
    if (value !== null) samples.append({ ...identity, timestamp: NOON + second * 1000, value });
  }
  const { rowCount } = samples;
  const dedupToken = `${host}-${sequence}`;
  await store.insertNative({ table: "metric_series", frames: [series.finish(stamp())], dedupToken, rowCount: 1 });
  await store.insertNative({ table: "metric_samples", frames: [samples.finish(stamp())], dedupToken, rowCount });
};

const insertLogs = async (store: Store): Promise<void> => {
  const logs = new BatchBuilder("logs");
  const line = (second: number, severity_number: number, body: string): void =>
    logs.append({
      timestamp: BigInt(NOON + second * 1000) * 1_000_000n,
      severity_number,
      service_name: "shop",
      host_name: "a",
      trace_id: "",
      span_id: "",
      body,
      attributes: {},
    });
  for (let second = -600; second < 1200; second++) {
    line(second, 9, `order ${second} reserved`);
    if (second >= 900 && second < 960) for (let n = 0; n < 5; n++) line(second, 17, `order ${n} failed`);
  }
  const rowCount = logs.rowCount;
  await store.insertNative({ table: "logs", frames: [logs.finish(stamp())], dedupToken: "logs", rowCount });
};

describe("a backtest on a real engine", () => {
  let dir: string;
  let engine: EmbeddedStore;
  let store: Store;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "homeostat-backtest-"));
    engine = await startEmbeddedStore({ dir, log: silent });
    const { url, username, password } = engine;
    const { analytics } = parseOptions("", "defaults");
    store = createStore({ url, username, password, config: analytics, now: Date.now, log: silent });
    await store.migrate();
    const breaches = [-1800, 600, 1800];
    await insertMetric(store, "a", (second) => (breaches.some((at) => second >= at && second < at + 30) ? 9 : 1));
    await insertMetric(store, "b", (second) => (second >= 1000 && second < 1100 ? null : 1));
    await insertLogs(store);
  });
  afterAll(async () => {
    await store.close();
    await engine.stop();
    await rm(dir, { recursive: true, force: true });
  });

  const run = (rule: unknown, range = DURING): Promise<BacktestReport> =>
    backtest(Rule.parse(rule), DetectorsConfig.parse({}), range, {
      store,
      memory: createHourMemory(() => store),
      onProgress: nothing,
      signal: new AbortController().signal,
    });
  const threshold = { detector: "threshold", name: "t", title: "M", metric: "m", op: ">", value: 5, for_s: 10 };
  const spans = ({ episodes }: BacktestReport) =>
    episodes.map(({ entity, started_at_unix_ms, resolved_at_unix_ms }) => [
      entity.host,
      (started_at_unix_ms - NOON) / 1000,
      resolved_at_unix_ms === null ? null : (resolved_at_unix_ms - NOON) / 1000,
    ]);

  test("tells each episode of a threshold in the range, and none that ended before it", async () => {
    const report = await run(threshold);
    expect(spans(report)).toEqual([
      ["a", 600, 633],
      ["a", 1800, 1833],
    ]);
    expect(Object.values(report.per_day)).toEqual([2]);
    expect(report.coverage).toMatchObject({ hours: 1, hours_with_rows: 1, rows: 7100, subjects: 2 });
    expect(report.episodes[0]).toMatchObject({ severity: "warning", summary: expect.stringContaining("m is 9") });
  });

  test("finds the very same under the very same ids when it is asked again", async () => {
    expect(await run(threshold)).toEqual(await run(threshold));
  });

  test("says of an episode that it was still firing at the end", async () => {
    const report = await run(threshold, { fromUnixMs: NOON, toUnixMs: NOON + 620_000 });
    expect(spans(report)).toEqual([["a", 600, null]]);
  });

  test("hears which host was silent while others spoke", async () => {
    const report = await run({ detector: "silence", name: "s", for_s: 60 });
    expect(spans(report)).toEqual([["b", 999, 1101]]);
    expect(report.coverage.subjects).toBe(2);
    const absence = await run({ detector: "absence", name: "n", title: "M", metric: "m", for_s: 60 });
    expect(spans(absence)).toEqual([]);
  });

  test("replays logs through the rules on logs", async () => {
    const report = await run({ detector: "log_templates", name: "l" });
    expect(report.episodes.map(({ entity }) => entity)).toContainEqual({ host: "a", service: "shop" });
    expect(report.coverage).toMatchObject({ subjects: 1, hours_with_rows: 1 });
  });

  test("says that a baseline was still warming up, and that a rule without data was not tried", async () => {
    const learning = await run({ detector: "baseline", name: "b", title: "M", metric: "m" });
    expect(learning.coverage.warming_up).toBe(2);
    expect(learning.notes.join(" ")).toContain("2 of 2 series were still warming up");
    const untried = await run({ ...threshold, metric: "unheard of" });
    expect(untried.notes.join(" ")).toContain("has not been tried");
  });

  test("lets a baseline know what the store remembers of the weeks before", async () => {
    const weekAgo = NOON - 48 * HOUR_MS;
    const hours = Array.from({ length: 46 }, (_, hour) => weekAgo + hour * HOUR_MS);
    await store.insertJson({
      table: "metric_hours",
      rows: hours.map((at) => ({
        metric_id: metricId("m").toString(),
        fingerprint: seriesFingerprint("m", { "host.name": "a" }).toString(),
        hour: at / 1000,
        minutes: 60,
        mean: 1,
        low: 1,
        median: 1,
        high: 1,
        version: 1,
      })),
      dedupToken: "hours",
    });
    const rule = { detector: "baseline", name: "b", title: "M", metric: "m", for_s: 60, clear_for_s: 60 };
    const report = await run(rule);
    expect(report.coverage.warming_up).toBe(1);
    expect(report.episodes.map(({ started_at_unix_ms }) => (started_at_unix_ms - NOON) / 1000)).toEqual([600, 1800]);
  });
});
