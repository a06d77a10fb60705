import { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DEFAULT_RULES } from "../default-rules.ts";
import { play, type Sample, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import { ThresholdConfig, threshold } from "./threshold.ts";

const rule = (more: Partial<ThresholdConfig> = {}): ThresholdConfig =>
  ThresholdConfig.parse({ detector: "threshold", name: "r", title: "It", metric: "m", op: ">", value: 10, ...more });

const defaultRule = (name: string): ThresholdConfig => {
  const found = DEFAULT_RULES.find((one) => one.name === name);
  return ThresholdConfig.parse(found);
};

const SERIES = [seriesNamed("m")];

/** One value a second from T0; a number of windows as large as the list. */
const perSecond = (values: readonly number[], startMs = T0): Sample[] =>
  values.map((value, second) => ({ time: startMs + second * 1000, value }));

const windowsOf = (samples: readonly Sample[]) => samples.map((sample) => samplesWindow(SERIES, [sample]));

const story = (findings: readonly Finding[]): readonly string[] =>
  findings.map(({ state, severity, detected_at_unix_ms, started_at_unix_ms }) =>
    state === "firing"
      ? `${severity} since ${(started_at_unix_ms - T0) / 1000} at ${(detected_at_unix_ms - T0) / 1000}`
      : state,
  );

describe("a threshold", () => {
  test.each<{ name: string; config: Partial<ThresholdConfig>; values: readonly number[]; expected: readonly string[] }>(
    [
      { name: "says nothing below the limit", config: {}, values: [1, 10, 9], expected: [] },
      { name: "fires at once without for_s", config: {}, values: [1, 11], expected: ["warning since 1 at 1"] },
      {
        name: "waits for for_s, and counts from the first breach",
        config: { for_s: 2 },
        values: [1, 11, 11, 11],
        expected: ["warning since 1 at 3"],
      },
      {
        name: "forgets a breach that was too short",
        config: { for_s: 2 },
        values: [11, 11, 1, 11, 11, 1],
        expected: [],
      },
      {
        name: "resolves after clear_for_s on the good side of clear_value",
        config: { clear_value: 5, clear_for_s: 2 },
        values: [11, 7, 4, 4, 4],
        expected: ["warning since 0 at 0", "resolved"],
      },
      {
        name: "does not resolve between clear_value and value",
        config: { clear_value: 5, clear_for_s: 2 },
        values: [11, 7, 7, 7, 7, 7],
        expected: ["warning since 0 at 0"],
      },
      {
        name: "rises to critical, and does not sink again within the episode",
        config: { critical_value: 20 },
        values: [11, 21, 12],
        expected: ["warning since 0 at 0", "critical since 0 at 0"],
      },
      {
        name: "passes over NaN and infinities",
        config: { for_s: 1 },
        values: [Number.NaN, Number.POSITIVE_INFINITY, 1],
        expected: [],
      },
      {
        name: "does not let NaN break a breach",
        config: { for_s: 2 },
        values: [11, Number.NaN, 11],
        expected: ["warning since 0 at 2"],
      },
      {
        name: "gives a new series its grace",
        config: { grace_s: 5 },
        values: [11, 11, 11, 11, 11, 11],
        expected: ["warning since 0 at 5"],
      },
      { name: "is at ease with a constant series", config: {}, values: Array(50).fill(3), expected: [] },
    ],
  )("$name", ({ config, values, expected }) => {
    expect(story(play(threshold, rule(config), windowsOf(perSecond(values))))).toEqual(expected);
  });

  test("composes findings that keep the schema and that a person can read", () => {
    const series = [seriesNamed("homeostat.service.up", { labels: { "host.name": "h1", "service.name": "shop" } })];
    const samples = perSecond([1, 1, 1, 1, 1, 1, 0, 0, 0]);
    const windows = samples.map((sample) => samplesWindow(series, [sample]));
    const [finding, ...others] = play(threshold, defaultRule("service-down"), windows);
    expect(others).toEqual([]);
    expect(Finding.parse(finding)).toMatchObject({
      rule: "service-down",
      severity: "critical",
      entity: { host: "h1", service: "shop" },
      started_at_unix_ms: T0 + 6000,
      detected_at_unix_ms: T0 + 8000,
      summary: "Service shop is down on h1: homeostat.service.up is 0, expected at least 1, for 2 s.",
      labels: { metric: "homeostat.service.up", "service.name": "shop" },
      evidence: [{ query: "metric_range", params: { metric_name: "homeostat.service.up", host_name: "h1" } }],
    });
  });

  test("is told again once a minute while it lasts", () => {
    const findings = play(threshold, rule(), windowsOf(perSecond(Array(150).fill(11))));
    expect(findings).toHaveLength(3);
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
    expect(new Set(findings.map(({ detected_at_unix_ms }) => detected_at_unix_ms))).toEqual(new Set([T0]));
  });

  test("keeps to the first of two samples of one time, and to time's direction", () => {
    const samples = [
      { time: T0 + 5000, value: 1 },
      { time: T0 + 5000, value: 11 },
      { time: T0 + 4000, value: 11 },
    ];
    expect(play(threshold, rule(), windowsOf(samples))).toEqual([]);
  });

  test("does not count time between samples that are further apart than max_gap_s", () => {
    const samples = [
      { time: T0, value: 11 },
      { time: T0 + 3_600_000, value: 11 },
      { time: T0 + 3_601_000, value: 1 },
    ];
    expect(play(threshold, rule({ for_s: 2 }), windowsOf(samples))).toEqual([]);
  });

  test("announces nothing from samples that are older than the present, and announces what still lasts when they are of the present again", () => {
    const now = T0 + 3_600_000;
    const old = perSecond([11, 11]).map((sample) => samplesWindow(SERIES, [sample], { nowUnixMs: now }));
    const present = samplesWindow(SERIES, [{ time: T0 + 2000, value: 11 }], { nowUnixMs: T0 + 2000 });
    expect(play(threshold, rule(), old)).toEqual([]);
    expect(story(play(threshold, rule(), [...old, present]))).toEqual(["warning since 0 at 2"]);
  });

  test("takes a counter by its rate, and a reset for no rate at all", () => {
    const series = [seriesNamed("m", { isCounter: true, unit: "By" })];
    const windows = perSecond([1000, 1005, 1030, 3, 6]).map((sample) => samplesWindow(series, [sample]));
    const [finding, ...others] = play(threshold, rule(), windows);
    expect(others).toEqual([]);
    expect(finding).toMatchObject({ value: 25, unit: "By/s" });
  });

  test("says no_data once when a firing series goes silent, and firing again when it is back", () => {
    const tick = (seconds: number) =>
      samplesWindow(SERIES, [], { isTick: true, nowUnixMs: T0 + seconds * 1000, observingSinceUnixMs: T0 });
    const windows = [
      samplesWindow(SERIES, [{ time: T0, value: 11 }]),
      tick(59),
      tick(60),
      tick(61),
      samplesWindow(SERIES, [{ time: T0 + 62_000, value: 11 }]),
    ];
    expect(play(threshold, rule(), windows).map(({ state }) => state)).toEqual(["firing", "no_data", "firing"]);
  });

  test("resolves what it forgets, and keeps the rest under its new slot", () => {
    const config = rule();
    const series = [seriesNamed("m"), seriesNamed("m", { fingerprint: "bb" })];
    const both = [0, 1].map((slot) => ({ slot, time: T0, value: 11 }));
    const { state } = threshold.step(threshold.start(config), samplesWindow(series, both), config);
    const forgotten = threshold.forget(state, Uint32Array.of(1), T0);
    expect(forgotten.findings.map((finding) => finding.state)).toEqual(["resolved"]);
    const more = samplesWindow(series.slice(1), [
      { time: T0 + 1000, value: 1 },
      { time: T0 + 3000, value: 1 },
    ]);
    expect(threshold.step(forgotten.state, more, config).findings.map((finding) => finding.state)).toEqual([
      "resolved",
    ]);
  });

  test.each([
    { name: "a clear value that is itself a breach", config: { clear_value: 11 }, path: "clear_value" },
    { name: "a critical value that is milder", config: { critical_value: 9 }, path: "critical_value" },
    { name: "an unknown key", config: { colour: "red" }, path: "" },
  ])("refuses $name", ({ config, path }) => {
    const parsed = ThresholdConfig.safeParse({ ...rule(), ...config });
    expect(parsed.error?.issues[0]?.path.join(".")).toBe(path);
  });

  const anyValue = fc.oneof(fc.integer({ min: 0, max: 25 }), fc.constant(Number.NaN));
  const anySamples = fc.array(
    fc.record({ slot: fc.nat(2), time: fc.nat(120).map((s) => T0 + s * 500), value: anyValue }),
    {
      maxLength: 200,
    },
  );
  const config = rule({ for_s: 1, clear_for_s: 1, critical_value: 20, clear_value: 8 });
  const THREE = [0, 1, 2].map((n) => seriesNamed("m", { fingerprint: String(n) }));
  const windowsByFive = (samples: readonly Sample[]) =>
    Array.from({ length: Math.ceil(samples.length / 5) }, (_, at) =>
      samplesWindow(THREE, samples.slice(at * 5, at * 5 + 5), { nowUnixMs: T0 + 60_000 }),
    );

  test("finds the same whether or not it is restarted in the middle, whatever comes", () => {
    fc.assert(
      fc.property(anySamples, fc.func(fc.boolean()), (samples, isRestart) => {
        const windows = windowsByFive(samples);
        expect(play(threshold, config, windows, isRestart)).toEqual(play(threshold, config, windows));
      }),
    );
  });

  test("finds nothing new in what it has seen already, whatever comes", () => {
    fc.assert(
      fc.property(anySamples, (samples) => {
        const windows = windowsByFive(samples);
        const doubled = windows.flatMap((window) => [window, window]);
        expect(play(threshold, config, doubled)).toEqual(play(threshold, config, windows));
      }),
    );
  });

  test("never has two episodes of one series at once, and resolves only what fires", () => {
    fc.assert(
      fc.property(anySamples, (samples) => {
        const open = new Map<string, string>();
        for (const finding of play(threshold, config, windowsByFive(samples))) {
          const subject = finding.evidence[0]?.params.fingerprint as string;
          if (finding.state === "resolved") expect(open.get(subject)).toBe(finding.finding_id);
          else expect(open.get(subject) ?? finding.finding_id).toBe(finding.finding_id);
          if (finding.state === "resolved") open.delete(subject);
          else open.set(subject, finding.finding_id);
        }
      }),
    );
  });
});

describe("the default rules", () => {
  const upSeries = [seriesNamed("homeostat.service.up", { labels: { "host.name": "h1", "service.name": "shop" } })];
  const up = (values: readonly number[], startMs = T0) =>
    perSecond(values, startMs).map((sample) => samplesWindow(upSeries, [sample]));

  test.each([
    { name: "a service that takes four seconds to start", windows: up([0, 0, 0, 0, 1, 1, 1]) },
    { name: "a service that is back within a second", windows: up([1, 1, 1, 1, 1, 1, 1, 0, 1, 1]) },
    {
      name: "a service that was down when the agent stopped and is starting when it is back",
      windows: [...up([1, 1, 1, 1, 1, 1, 1, 0]), ...up([0, 0, 0, 1, 1], T0 + 60_000)],
    },
  ])("are at ease with $name", ({ windows }) => {
    expect(play(threshold, defaultRule("service-down"), windows)).toEqual([]);
  });

  test("find a crash within five seconds of the first telling sample, with jitter in the samples' times", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -200, max: 200 }), { minLength: 20, maxLength: 20 }), (jitter) => {
        const windows = jitter.map((ms, second) =>
          samplesWindow(upSeries, [{ time: T0 + second * 1000 + ms, value: second < 10 ? 1 : 0 }]),
        );
        const [finding] = play(threshold, defaultRule("service-down"), windows);
        expect(finding?.detected_at_unix_ms).toBeLessThanOrEqual((finding?.started_at_unix_ms ?? 0) + 5000);
      }),
    );
  });

  test("find a path that fills, and rise to critical", () => {
    const series = [seriesNamed("homeostat.path.utilization", { labels: { "path.name": "dumps" } })];
    const windows = perSecond([0.1, 0.4, 0.92, 0.93, 0.94, 0.94, 0.96, 0.96]).map((sample) =>
      samplesWindow(series, [sample]),
    );
    const findings = play(threshold, defaultRule("path-filling"), windows);
    expect(story(findings)).toEqual(["warning since 2 at 5", "critical since 2 at 5"]);
    expect(findings[0]?.summary).toBe(
      "Path dumps is filling up on h1: homeostat.path.utilization is 94 %, expected at most 90 %, for 3 s.",
    );
    expect(findings[0]?.entity).toEqual({ host: "h1", path: "dumps" });
  });
});
