import { Finding } from "@homeostat/schemas";
import { describe, expect, test } from "vitest";
import { play, type Sample, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import type { Series } from "../series.ts";
import { SeriesAnomalyConfig, seriesAnomaly } from "./series-anomaly.ts";

const STEP_MS = 60_000;
const DAY = 1440;
const HOUR = 60;

const rule = (more: Partial<SeriesAnomalyConfig> = {}): SeriesAnomalyConfig =>
  SeriesAnomalyConfig.parse({ detector: "series_anomaly", name: "odd", title: "Queue is odd", metric: "m", ...more });

const noiseFrom = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
};

/** One sample a minute, a level of 50 with noise, for three days and what `change` makes of it. */
const minutes = (change: (value: number, row: number) => number, rows = 3 * DAY + 6 * HOUR, slot = 0): Sample[] => {
  const noise = noiseFrom(slot + 1);
  return Array.from({ length: rows }, (_, row) => ({
    slot,
    time: T0 + row * STEP_MS,
    value: change(50 + noise() + noise(), row),
  }));
};

const SERIES = [seriesNamed("m", { unit: "By" })];

/** An hour to a window. */
const windowsOf = (samples: readonly Sample[], series: readonly Series[] = SERIES) => {
  const byHour = Map.groupBy(samples, ({ time }) => Math.floor((time - T0) / (HOUR * STEP_MS)));
  return [...byHour.values()].map((some) => samplesWindow(series, some));
};

/** A minute to a window: findings come while they are fresh. */
const minuteWindows = (samples: readonly Sample[], series: readonly Series[] = SERIES) =>
  samples.map((sample) => samplesWindow(series, [sample]));

const FAULT = 3 * DAY + 100;
const spike = (value: number, row: number): number => (row >= FAULT && row < FAULT + 5 ? value + 40 : value);
const drop = (value: number, row: number): number => (row >= FAULT && row < FAULT + 5 ? value - 40 : value);

const live = (change: (value: number, row: number) => number, config: SeriesAnomalyConfig = rule()) => {
  const samples = minutes(change);
  const old = samples.filter(({ time }) => time < T0 + 3 * DAY * STEP_MS);
  const windows = [...windowsOf(old), ...minuteWindows(samples.slice(old.length))];
  return { windows, findings: play(seriesAnomaly, config, windows).map((finding) => Finding.parse(finding)) };
};

const told = (findings: readonly Finding[]) => findings.map(({ state }) => state);

describe("a series anomaly", () => {
  test("is told with a reason, refreshed, and over when the series is as usual again", () => {
    const { findings } = live(spike);
    const [first] = findings;
    expect(first).toMatchObject({
      detector: "series_anomaly",
      rule: "odd",
      state: "firing",
      severity: "info",
      started_at_unix_ms: T0 + FAULT * STEP_MS,
      detected_at_unix_ms: T0 + (FAULT + 1) * STEP_MS,
      labels: { metric: "m" },
    });
    expect(first?.summary).toMatch(
      /^Queue is odd on h1: m is [89]\d\.?\d* B, expected about (49|50|51)\.?\d* B \(.*\); about one moment in [\d,]+( or fewer)?\.$/,
    );
    expect(first?.evidence[0]).toMatchObject({ query: "metric_range", from_unix_ms: T0 + (FAULT - 5) * STEP_MS });
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
    expect(told(findings).at(-1)).toBe("resolved");
    expect(findings.at(-1)?.summary).toContain("as usual again");
    expect(findings.at(-1)?.detected_at_unix_ms).toBe(first?.detected_at_unix_ms);
  });

  test("ends with a word of the new level when a shift stays", () => {
    const { findings } = live((value, row) => (row >= FAULT ? value + 40 : value));
    expect(told(findings)[0]).toBe("firing");
    expect(findings.at(-1)).toMatchObject({ state: "resolved" });
    expect(findings.at(-1)?.summary).toContain("new level");
  });

  test.each<{ name: string; config: Partial<SeriesAnomalyConfig>; change: typeof spike; isTold: boolean }>([
    { name: "a spike, to one who asks for what is above", config: { direction: "above" }, change: spike, isTold: true },
    { name: "no drop, to one who asks for what is above", config: { direction: "above" }, change: drop, isTold: false },
    { name: "a drop, to one who asks for what is below", config: { direction: "below" }, change: drop, isTold: true },
    { name: "nothing smaller than the floor", config: { floor_absolute: 60 }, change: spike, isTold: false },
    { name: "nothing during the warm-up", config: { warm_up_hours: 168 }, change: spike, isTold: false },
  ])("tells $name", ({ config, change, isTold }) => {
    expect(live(change, rule(config)).findings.length > 0).toBe(isTold);
  });

  test("finds the same after restarts", () => {
    const { windows, findings } = live(spike);
    expect(findings.length).toBeGreaterThan(1);
    expect(play(seriesAnomaly, rule(), windows, (index) => index % 7 === 3)).toEqual(findings);
  });

  test("announces nothing of a backlog", () => {
    const windows = windowsOf(minutes(spike)).map((window) => ({ ...window, nowUnixMs: T0 + 10 * DAY * STEP_MS }));
    expect(play(seriesAnomaly, rule(), windows)).toEqual([]);
  });

  test("judges the rate of a counter, and passes over its resets", () => {
    const series = [seriesNamed("m", { isCounter: true })];
    let sum = 0;
    const counts = minutes(spike).map(({ time, value }, row) => {
      sum = row % 500 === 499 ? 0 : sum + value * 60;
      return { time, value: sum };
    });
    const findings = play(seriesAnomaly, rule(), minuteWindows(counts, series));
    expect(findings[0]?.value).toBeGreaterThan(80);
    expect(findings[0]?.unit).toBe("/s");
    expect(told(findings).at(-1)).toBe("resolved");
  });

  test("tells once that a firing series has fallen silent", () => {
    const samples = minutes(spike).filter((_, row) => row <= FAULT + 2);
    const tick = (minute: number) =>
      samplesWindow(SERIES, [], {
        isTick: true,
        nowUnixMs: T0 + (FAULT + minute) * STEP_MS,
        observingSinceUnixMs: 0,
      });
    const findings = play(seriesAnomaly, rule(), [...minuteWindows(samples), tick(3), tick(10), tick(11)]);
    expect(told(findings).slice(-2)).toEqual(["firing", "no_data"]);
  });

  test("forgets series and keeps the others", () => {
    const series = [seriesNamed("m"), seriesNamed("m", { fingerprint: "00000000000000bb" })];
    const both = [...minutes(spike, FAULT + 3, 0), ...minutes(spike, FAULT + 3, 1)].toSorted((a, b) => a.time - b.time);
    const config = rule();
    let state = seriesAnomaly.start(config);
    for (const window of minuteWindows(both, series)) state = seriesAnomaly.step(state, window, config).state;
    const { state: left, findings } = seriesAnomaly.forget(state, Uint32Array.of(1, 5), T0);
    expect(findings).toMatchObject([
      { state: "resolved", evidence: [{ params: { fingerprint: "00000000000000aa" } }] },
    ]);
    expect(left.columns.slots).toBe(1);
    const calm = minutes((value) => value, FAULT + 40, 1)
      .slice(FAULT + 3)
      .map((sample) => ({ ...sample, slot: 0 }));
    const later = minuteWindows(calm, series.slice(1)).flatMap(
      (window) => seriesAnomaly.step(left, window, config).findings,
    );
    expect(later.at(-1)).toMatchObject({
      state: "resolved",
      evidence: [{ params: { fingerprint: "00000000000000bb" } }],
    });
  });

  test("does not watch series beyond its cap", () => {
    const series = [seriesNamed("m"), seriesNamed("m")];
    const both = [...minutes(spike, FAULT + 3, 0), ...minutes(spike, FAULT + 3, 1)].toSorted((a, b) => a.time - b.time);
    const state = seriesAnomaly.step(
      seriesAnomaly.start(rule()),
      samplesWindow(series, both),
      rule({ series_max: 1 }),
    ).state;
    expect(state.columns.slots).toBe(1);
    expect(state.anomalies.slots).toBe(1);
  });
});
