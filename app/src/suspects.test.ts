import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStore, type Store, StoreConfig } from "@homeostat/analytics";
import { BatchBuilder, type Incident, type Log, metricId, seriesFingerprint } from "@homeostat/schemas";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startEmbeddedStore } from "./embedded/store/index.ts";
import { createReports } from "./reports.ts";
import { findSuspects } from "./suspects.ts";

const nothing = () => undefined;
const log: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const MINUTE_MS = 60_000;
/** Two hours ago, a full minute: no retention drops it. */
const BEGUN = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS - 120 * MINUTE_MS;

const incident: Incident = {
  incident_id: "i-1",
  state: "open",
  state_since_unix_ms: BEGUN,
  severity: "critical",
  title: "shop is slow",
  entity: { host: "h1", service: "shop" },
  findings: [],
  run_ids: [],
  times: {
    started_at_unix_ms: BEGUN,
    detected_at_unix_ms: BEGUN + 5000,
    opened_at_unix_ms: BEGUN + 5000,
    diagnosed_at_unix_ms: null,
    mitigation_started_at_unix_ms: null,
    recovered_at_unix_ms: null,
    closed_at_unix_ms: null,
  },
  acknowledged: null,
  timeline: [],
  version: 1,
};

/** A gauge every ten seconds from an hour before to five minutes after. */
const gauge = (name: string, service: string, valueAt: (second: number) => number) => ({
  name,
  labels: { "host.name": "h1", "service.name": service },
  points: Array.from({ length: 390 }, (_, step): readonly [number, number] => {
    const second = step * 10 - 3600;
    return [second, valueAt(second)];
  }),
});

const wave = (second: number): number => Math.sin(second / 40);

const fill = async (store: Store): Promise<void> => {
  const series = new BatchBuilder("metric_series");
  const samples = new BatchBuilder("metric_samples");
  const all = [
    gauge("process.cpu.utilization", "shop", (second) => 0.2 + 0.01 * wave(second)),
    gauge("process.cpu.utilization", "stock", (second) => 0.1 + 0.01 * wave(second) + (second >= 0 ? 0.7 : 0)),
    gauge("process.memory.usage", "mail", (second) => 1e8 + 1e6 * wave(second)),
  ];
  for (const { name, labels, points } of all) {
    const id = { metric_id: metricId(name), fingerprint: seriesFingerprint(name, labels) };
    series.append({
      ...id,
      seen_at: BEGUN,
      metric_name: name,
      kind: "gauge",
      unit: "1",
      host_name: "h1",
      service_name: labels["service.name"],
      attributes: labels,
    });
    for (const [second, value] of points) samples.append({ ...id, timestamp: BEGUN + second * 1000, value });
  }
  const counts = { metric_series: series.rowCount, metric_samples: samples.rowCount };
  await store.insertNative({
    table: "metric_series",
    frames: [series.finish({ producer: "h1/test", sequence: 1 })],
    dedupToken: "series",
    rowCount: counts.metric_series,
  });
  await store.insertNative({
    table: "metric_samples",
    frames: [samples.finish({ producer: "h1/test", sequence: 2 })],
    dedupToken: "samples",
    rowCount: counts.metric_samples,
  });
};

describe("where an incident may have begun", () => {
  let dir: string;
  let store: Store;
  let stop: () => Promise<void>;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-suspects-"));
    const engine = await startEmbeddedStore({ dir, log });
    const { url, username, password } = engine;
    store = await createStore({ url, username, password, config: StoreConfig.parse({}), now: Date.now, log });
    await store.migrate();
    await fill(store);
    stop = async () => {
      await store.close();
      await engine.stop();
    };
  });
  afterAll(async () => {
    await stop();
    rmSync(dir, { recursive: true, force: true });
  });

  test("is the service whose metric moved, though another one was found slow", async () => {
    const [first, ...others] = await findSuspects(store, incident);
    expect(first).toMatchObject({ name: "stock on h1", why_not: null });
    expect(first?.reasons.join()).toContain("process.cpu.utilization");
    for (const { score, why_not } of others) {
      expect(score).toBeLessThan(first?.score ?? 0);
      expect(why_not).not.toBeNull();
    }
  });

  test("stands in the report, and so does why it could not be looked at", async () => {
    await store.insertJson({
      table: "incidents",
      rows: [
        {
          incident_id: incident.incident_id,
          state: incident.state,
          severity: incident.severity,
          host_name: "h1",
          service_name: "shop",
          opened_at: incident.times.opened_at_unix_ms,
          version: 1,
          record: JSON.stringify({ event: "open", at_unix_ms: BEGUN, incident }),
        },
      ],
      dedupToken: "incident",
    });
    expect(await createReports(() => store)("i-1", "markdown")).toMatch(
      /## Where it may have begun\n\n1\. \*\*stock on h1\*\*/,
    );
    const deaf: Store = {
      ...store,
      run: (query, params, options) =>
        query.name === "incident_metrics"
          ? Promise.reject(new Error("the store is away"))
          : store.run(query, params, options),
    };
    expect(await createReports(() => deaf)("i-1", "markdown")).toContain("Could not be looked at: the store is away");
  });
});
