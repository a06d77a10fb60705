import { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { play, type Sample, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import { BaselineConfig, baseline, baselineOf } from "./baseline.ts";

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const config = BaselineConfig.parse({ detector: "baseline", name: "b", title: "It is unusual", metric: "m" });
const SERIES = [seriesNamed("m")];

/** One sample a minute; noise from a fixed sequence. */
const minutes = (fromMs: number, untilMs: number, valueAt: (time: number, noise: number) => number): Sample[] => {
  const samples: Sample[] = [];
  let seed = 1;
  for (let time = fromMs; time < untilMs; time += MINUTE) {
    seed = (seed * 48_271) % 2_147_483_647;
    samples.push({ time, value: valueAt(time, seed / 2_147_483_647 - 0.5) });
  }
  return samples;
};
const byHour = (samples: readonly Sample[]) =>
  Array.from({ length: Math.ceil(samples.length / 60) }, (_, hour) => samples.slice(hour * 60, hour * 60 + 60)).flatMap(
    (hour) => hour.map((sample) => samplesWindow(SERIES, [sample])),
  );
const normal = (time: number, noise: number): number => 50 + 20 * Math.sin((2 * Math.PI * time) / DAY) + 4 * noise;

const stateAfter = (samples: readonly Sample[], options = config) => {
  let state = baseline.start(options);
  for (const sample of samples) state = baseline.step(state, samplesWindow(SERIES, [sample]), options).state;
  return state;
};

describe("a baseline", () => {
  test("is warming up for a day, then ready, and stale when nothing comes", () => {
    const samples = minutes(T0, T0 + DAY + 2 * HOUR, normal);
    const early = stateAfter(samples.slice(0, 23 * 60));
    expect(baselineOf(early, 0, T0 + 23 * HOUR)).toMatchObject({ state: "warming_up", low: null });
    const late = stateAfter(samples);
    expect(baselineOf(late, 0, T0 + DAY + 2 * HOUR)).toMatchObject({
      state: "ready",
      level: "global",
      coverageHours: 25,
    });
    expect(baselineOf(late, 0, T0 + 2 * DAY)).toMatchObject({ state: "stale" });
  });

  test("finds nothing while warming up, whatever happens", () => {
    const wild = minutes(T0, T0 + 20 * HOUR, (time, noise) => (time > T0 + 10 * HOUR ? 1e6 * noise : 1));
    expect(play(baseline, config, byHour(wild))).toEqual([]);
  });

  test("finds nothing in four weeks of a seasonal, noisy series", () => {
    const samples = minutes(T0, T0 + 28 * DAY, normal);
    expect(play(baseline, { ...config, direction: "both" }, byHour(samples))).toEqual([]);
    expect(baselineOf(stateAfter(samples), 0, T0 + 28 * DAY)).toMatchObject({ state: "ready", level: "hour_of_week" });
  });

  test("finds nothing in a constant series, and nothing in its rounding", () => {
    const flat = minutes(T0, T0 + 5 * DAY, (time) => 7 + (Math.floor(time / MINUTE) % 7 === 0 ? 0.01 : 0));
    expect(play(baseline, { ...config, direction: "both" }, byHour(flat))).toEqual([]);
  });

  test("finds a deviation after for_s and says what is usual; it resolves when it is over", () => {
    const odd = T0 + 4 * DAY + 6 * HOUR;
    const samples = minutes(T0, odd + HOUR, (time, noise) =>
      time >= odd && time < odd + 20 * MINUTE ? 150 : normal(time, noise),
    );
    const findings = play(baseline, config, byHour(samples));
    expect(findings.map(({ state }) => state)).toEqual([...Array(findings.length - 1).fill("firing"), "resolved"]);
    expect(Finding.parse(findings[0])).toMatchObject({
      started_at_unix_ms: odd,
      detected_at_unix_ms: odd + 5 * MINUTE,
      value: 150,
      labels: { baseline_level: "hour_of_day" },
    });
    expect(findings[0]?.summary).toMatch(
      /^It is unusual on h1: m is 150 for 5 min, usually .* to .* \(hour of day\)\.$/,
    );
  });

  test("takes a level that stays for the new normal instead of alerting for weeks", () => {
    const shift = T0 + 4 * DAY;
    const level = (time: number, noise: number) => normal(time, noise) + (time >= shift ? 200 : 0);
    const samples = minutes(T0, T0 + 14 * DAY, level);
    const findings = play(baseline, config, byHour(samples));
    const ends = findings.filter(({ state }) => state === "resolved");
    expect(ends).toHaveLength(1);
    expect(ends[0]?.summary).toContain("new level");
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
    expect(baselineOf(stateAfter(samples), 0, T0 + 14 * DAY)).toMatchObject({ state: "ready", level: "hour_of_day" });
    const soon = baselineOf(stateAfter(minutes(T0, shift + 5 * HOUR, level)), 0, shift + 5 * HOUR);
    expect(soon).toMatchObject({ state: "ready", center: expect.closeTo(200 + normal(shift + 4.5 * HOUR, 0), -1) });
  });

  test("finds the same whether or not it is restarted in the middle", () => {
    const odd = T0 + 2 * DAY;
    const anyOddValue = fc.oneof(fc.double({ min: -300, max: 300, noNaN: false }), fc.constant(Number.NaN));
    const history = minutes(T0, odd, normal);
    const learnt = baseline.save(stateAfter(history));
    const fromHistory: typeof baseline = { ...baseline, start: () => baseline.load(structuredClone(learnt), config) };
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(3), anyOddValue), { minLength: 20, maxLength: 120 }),
        fc.func(fc.boolean()),
        (oddities, isRestart) => {
          let time = odd;
          const windows = oddities.map(([step, value]) => {
            time += step * MINUTE;
            return samplesWindow(SERIES, [{ time, value }]);
          });
          expect(play(fromHistory, config, windows, isRestart)).toEqual(play(fromHistory, config, windows));
        },
      ),
      { numRuns: 30 },
    );
  });
});
