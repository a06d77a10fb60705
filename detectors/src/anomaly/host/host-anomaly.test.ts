import { Finding } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { play, type Sample, samplesWindow, seriesNamed, T0 } from "../../play.fixture.ts";
import type { Series } from "../../series.ts";
import type { MetricWindow } from "../../window.ts";
import { HostAnomalyConfig, hostAnomaly } from "./host-anomaly.ts";

const config = HostAnomalyConfig.parse({
  detector: "host_anomaly",
  name: "host-unusual",
  title: "Metrics are unusual together",
  metrics: ["cpu", "load", "disk", "net", "requests"],
  step_s: 300,
});

const STEP_MS = 300_000;
const DAYS = 3;
const FAULT_ROW = 800;
const FAULT_ROWS = 10;

const series: readonly Series[] = [
  seriesNamed("cpu", { fingerprint: "0000000000000001", labels: { "host.name": "h1", state: "user" } }),
  seriesNamed("load", { fingerprint: "0000000000000002" }),
  seriesNamed("disk", { fingerprint: "0000000000000003", unit: "By" }),
  seriesNamed("net", { fingerprint: "0000000000000004" }),
  seriesNamed("requests", { fingerprint: "0000000000000005", isCounter: true }),
];

/** A repeating pattern that is no simple wave. */
const jitter = (row: number, slot: number): number => ((row * 7919 + slot * 104_729) % 1009) / 1009;

const samplesAt = (row: number, slots: readonly number[], faultRow: number): Sample[] => {
  const isFault = row >= faultRow && row < faultRow + FAULT_ROWS;
  return slots.map((slot) => {
    const usual = 5 + Math.sin((2 * Math.PI * row) / 288 + slot) + jitter(row, slot);
    const value = isFault && slot < 2 ? usual + 20 : usual;
    return { slot, time: T0 + row * STEP_MS + 1000 * slot, value: slot === 4 ? 1000 * row : value };
  });
};

const windows = (rows: number, slots = [0, 1, 2, 3, 4], all = series, faultRow = FAULT_ROW): MetricWindow[] =>
  Array.from({ length: rows }, (_, row) => samplesWindow(all, samplesAt(row, slots, faultRow)));

describe("host_anomaly", () => {
  const findings = play(hostAnomaly, config, windows(DAYS * 288 + 60));

  test("tells once that metrics of a host left their bands together, names them, and takes it back", () => {
    const atFault = findings.filter(({ started_at_unix_ms }) => started_at_unix_ms >= T0 + FAULT_ROW * STEP_MS);
    expect(new Set(atFault.map(({ finding_id }) => finding_id)).size).toBe(1);
    const [first] = atFault;
    expect(Finding.parse(first)).toEqual(first);
    expect(first?.state).toBe("firing");
    expect(first?.entity).toEqual({ host: "h1" });
    expect(first?.started_at_unix_ms).toBeLessThanOrEqual(T0 + (FAULT_ROW + 2) * STEP_MS);
    expect(first?.summary).toMatch(/^Metrics are unusual together on h1: \d of 5 series are far from usual\. /);
    expect(first?.summary).toMatch(/cpu \(user\) is 2\d(\.\d+)?, usually \d/);
    expect(first?.evidence.slice(0, 2).map(({ params }) => params.metric_name)).toEqual(
      expect.arrayContaining(["cpu", "load"]),
    );
    expect(atFault.at(-1)?.state).toBe("resolved");
  });

  test("says the same after restarts in between", () => {
    expect(play(hostAnomaly, config, windows(DAYS * 288 + 60), (index) => index % 97 === 0)).toEqual(findings);
  });

  test("says the same when samples come twice", () => {
    const doubled = windows(DAYS * 288 + 60).map((window, row) =>
      samplesWindow(
        series,
        [...samplesAt(row, [0, 1, 2, 3, 4], FAULT_ROW), ...samplesAt(row, [0, 1, 2, 3, 4], FAULT_ROW)],
        { nowUnixMs: window.nowUnixMs },
      ),
    );
    expect(play(hostAnomaly, config, doubled)).toEqual(findings);
  });

  test("says the same when samples are not numbers in between", () => {
    const broken = windows(DAYS * 288 + 60).map((window, row) =>
      samplesWindow(
        series,
        [
          { slot: 1, time: T0 + row * STEP_MS, value: Number.NaN },
          { slot: 1, time: Number.NaN, value: 3 },
          ...samplesAt(row, [0, 1, 2, 3, 4], FAULT_ROW),
          { slot: 2, time: T0 + row * STEP_MS + 3000, value: Number.POSITIVE_INFINITY },
        ],
        { nowUnixMs: window.nowUnixMs },
      ),
    );
    expect(play(hostAnomaly, config, broken)).toEqual(findings);
  });

  test("looks at each host by itself", () => {
    const others = series.map((one, index) => ({ ...one, host: "h2", fingerprint: `00000000000000b${index}` }));
    const both = windows(DAYS * 288 + 60, [0, 1, 2, 3, 4], [...series, ...others]);
    expect(play(hostAnomaly, config, both)).toEqual(findings);
  });

  test("says nothing of what is long past", () => {
    const late = windows(DAYS * 288 + 60).map((window) => ({ ...window, nowUnixMs: T0 + 30 * 86_400_000 }));
    expect(play(hostAnomaly, config, late)).toEqual([]);
  });

  test("tells that there is no data when the host falls silent", () => {
    const upToFault = windows(FAULT_ROW + 4);
    const silence = samplesWindow(series, [], {
      isTick: true,
      nowUnixMs: T0 + (FAULT_ROW + 10) * STEP_MS,
      observingSinceUnixMs: T0,
    });
    expect(play(hostAnomaly, config, [...upToFault, silence]).at(-1)?.state).toBe("no_data");
  });
});

test("a host is warming up, ready, and stale when nothing comes any more", () => {
  let state = hostAnomaly.start(config);
  const at = (rows: number): number => T0 + rows * STEP_MS;
  const all = windows(400);
  for (const window of all.slice(0, 100)) state = hostAnomaly.step(state, window, config).state;
  expect(hostAnomaly.readiness?.(state, at(100))).toEqual({ ready: 0, warming_up: 1, stale: 0 });
  for (const window of all.slice(100)) state = hostAnomaly.step(state, window, config).state;
  expect(hostAnomaly.readiness?.(state, at(400))).toEqual({ ready: 1, warming_up: 0, stale: 0 });
  expect(hostAnomaly.readiness?.(state, at(420))).toEqual({ ready: 0, warming_up: 0, stale: 1 });
});

describe("series of a host", () => {
  test("beyond the caps are not watched", () => {
    const capped = { ...config, series_per_host_max: 2, hosts_max: 1 };
    const others = [seriesNamed("cpu", { host: "h2" })];
    const { state } = hostAnomaly.step(hostAnomaly.start(capped), samplesWindow([...series, ...others], []), capped);
    expect(state.hostOf).toEqual([0, 0, -1, -1, -1, -1]);
    expect(state.hosts.map(({ judge }) => judge.model.metrics)).toEqual([2]);
  });

  test("that are forgotten take what was learnt with them, and a host without series is taken back", () => {
    let state = hostAnomaly.start(config);
    for (const window of windows(FAULT_ROW + 4)) state = hostAnomaly.step(state, window, config).state;
    const without = hostAnomaly.forget(state, Uint32Array.of(3, 1), 0);
    expect(without.state.hosts.map(({ slots, judge }) => [slots, judge.model.metrics])).toEqual([[[1, 0], 2]]);
    expect(without.findings).toEqual([]);
    const none = hostAnomaly.forget(without.state, new Uint32Array(0), 0);
    expect(none.state.hosts).toEqual([]);
    expect(none.findings.map(({ state: told }) => told)).toEqual(["resolved"]);
  });

  test("go on as before when a new one appears", () => {
    const grown = [...series, seriesNamed("disk", { fingerprint: "0000000000000006" })];
    const rows = DAYS * 288 + 60;
    const found = play(hostAnomaly, config, [
      ...windows(400),
      ...Array.from({ length: rows - 400 }, (_, at) =>
        samplesWindow(grown, samplesAt(400 + at, [0, 1, 2, 3, 4, 5], FAULT_ROW)),
      ),
    ]);
    expect(found.some(({ started_at_unix_ms }) => started_at_unix_ms >= T0 + FAULT_ROW * STEP_MS)).toBe(true);
  });
});
