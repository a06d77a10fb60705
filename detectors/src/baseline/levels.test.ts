import type { Finding } from "@homeostat/schemas";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { History } from "../detector.ts";
import { play, type Sample, samplesWindow, seriesNamed, T0 } from "../play.fixture.ts";
import { BaselineConfig, type BaselineState, baseline, baselineOf } from "./baseline.ts";
import { HOUR_MS, summariseHour, VISIT_WIDTH } from "./seasonal-band.ts";

const MINUTE = 60_000;
const DAY = 24 * HOUR_MS;
const config = BaselineConfig.parse({
  detector: "baseline",
  name: "b",
  title: "It is unusual",
  metric: "m",
  direction: "both",
});
const SERIES = [seriesNamed("m")];

type ValueAt = (time: number, noise: number) => number;

/** One sample a minute; noise from -0.5 to 0.5 from a fixed sequence. */
const minutes = (fromMs: number, untilMs: number, valueAt: ValueAt): Sample[] => {
  let seed = 1;
  return Array.from({ length: (untilMs - fromMs) / MINUTE }, (_, index) => {
    seed = (seed * 48_271) % 2_147_483_647;
    const time = fromMs + index * MINUTE;
    return { time, value: valueAt(time, seed / 2_147_483_647 - 0.5) };
  });
};
/** The first Monday is like no day before it; what is told after three weeks counts. */
const LEARNT = T0 + 21 * DAY;
const told = (samples: readonly Sample[]): readonly Finding[] =>
  play(baseline, config, windowsOf(samples)).filter(({ started_at_unix_ms }) => started_at_unix_ms >= LEARNT);
const windowsOf = (samples: readonly Sample[]) => samples.map((sample) => samplesWindow(SERIES, [sample]));

/** Offices: busy from 8 to 18 on weekdays; T0 is a Saturday. */
const isWeekend = (time: number): boolean => Math.floor((time - T0) / DAY) % 7 < 2;
const busy = (time: number): boolean => !isWeekend(time) && (time % DAY) / HOUR_MS >= 8 && (time % DAY) / HOUR_MS < 18;
const office: ValueAt = (time, noise) => (busy(time) ? 500 : 100) + 20 * noise;
const quiet: ValueAt = (_, noise) => 100 + 20 * noise;

describe("a baseline and its levels", () => {
  const holiday = T0 + 30 * DAY; // a Monday
  const withHoliday: ValueAt = (time, noise) =>
    time >= holiday && time < holiday + DAY ? quiet(time, noise) : office(time, noise);

  test("is not spoilt by a holiday: it says so on the day, and neither on the next days nor a week later", () => {
    const findings = told(minutes(T0, T0 + 45 * DAY, withHoliday));
    const days = new Set(findings.map(({ started_at_unix_ms }) => Math.floor((started_at_unix_ms - T0) / DAY)));
    expect([...days]).toEqual([30]);
    expect(findings.at(-1)?.state).toBe("resolved");
  });

  test("still finds a busy night a week after a holiday", () => {
    const night = holiday + 7 * DAY + 2 * HOUR_MS;
    const busyNight: ValueAt = (time, noise) =>
      time >= night && time < night + HOUR_MS ? 500 : withHoliday(time, noise);
    const findings = told(minutes(T0, night + DAY, busyNight));
    expect(findings.some(({ started_at_unix_ms }) => started_at_unix_ms === night)).toBe(true);
  });

  test("keeps the shape of the week when the level moves, and does not alert again", () => {
    const shift = T0 + 24 * DAY + 3 * HOUR_MS;
    const moved: ValueAt = (time, noise) => office(time, noise) + (time >= shift ? 1000 : 0);
    const findings = told(minutes(T0, T0 + 45 * DAY, moved));
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
    expect(findings.at(-1)).toMatchObject({ state: "resolved", summary: expect.stringContaining("new level") });
  });

  test("says nothing when an old level comes back the day after", () => {
    const shift = T0 + 24 * DAY + 3 * HOUR_MS;
    const there: ValueAt = (time, noise) => office(time, noise) + (time >= shift && time < shift + DAY ? 1000 : 0);
    const findings = told(minutes(T0, T0 + 31 * DAY, there));
    expect(new Set(findings.map(({ finding_id }) => finding_id)).size).toBe(1);
  });

  test("finds the same in another unit", () => {
    const stories = (factor: number) =>
      told(minutes(T0 + 5 * DAY, T0 + 32 * DAY, (time, noise) => withHoliday(time, noise) * factor)).map(
        ({ state, started_at_unix_ms, detected_at_unix_ms }) => [state, started_at_unix_ms, detected_at_unix_ms],
      );
    const ones = stories(1);
    expect(ones.length).toBeGreaterThan(0);
    fc.assert(
      fc.property(fc.integer({ min: -20, max: 20 }), (power) => {
        expect(stories(2 ** power)).toEqual(ones);
      }),
      { numRuns: 3 },
    );
  });

  test("finds the same when it is restarted in the middle of a holiday", () => {
    const windows = windowsOf(minutes(T0 + 5 * DAY, T0 + 32 * DAY, withHoliday));
    const straight = play(baseline, config, windows);
    const restarted = play(baseline, config, windows, (index) => index % 1777 === 0);
    expect(straight.length).toBeGreaterThan(0);
    expect(restarted).toEqual(straight);
  });
});

/** What the store tells of these samples: each whole hour. */
const historyOf = (samples: readonly Sample[]): History => {
  const hours: number[] = [];
  const quantiles: number[] = [];
  for (let at = 0; at + 60 <= samples.length; at += 60) {
    const hour = samples.slice(at, at + 60);
    hours.push(Math.floor((hour[0]?.time ?? 0) / HOUR_MS));
    quantiles.push(...summariseHour(Float64Array.from(hour, ({ value }) => value)));
  }
  return {
    fingerprint: SERIES[0]?.fingerprint ?? "",
    hours: Float64Array.from(hours),
    quantiles: Float64Array.from(quantiles),
  };
};

const learn = (state: BaselineState, samples: readonly Sample[]): BaselineState => {
  for (const sample of samples) baseline.step(state, samplesWindow(SERIES, [sample]), config);
  return state;
};

describe("a baseline that is told its history", () => {
  const now = T0 + 22 * DAY;
  const past = minutes(T0, now, office);
  const today = minutes(now, now + 3 * HOUR_MS, office);

  test("is ready with the first hour, and knows what it would have learnt", () => {
    const state = baseline.start(config);
    expect(baseline.memory?.lacking(state, 1)).toEqual([0]);
    baseline.memory?.recall(state, 0, historyOf(past), config);
    expect(baseline.memory?.lacking(state, 1)).toEqual([]);
    const learnt = baselineOf(learn(baseline.start(config), [...past, ...today]), 0, now + 3 * HOUR_MS);
    expect(learnt).toMatchObject({ state: "ready", level: "hour_of_week" });
    expect(baselineOf(learn(state, today), 0, now + 3 * HOUR_MS)).toEqual(learnt);
  });

  test("keeps what the stream taught it, whatever the store says of those hours", () => {
    const state = learn(baseline.start(config), [...past, ...today]);
    const before = baselineOf(state, 0, now + 3 * HOUR_MS);
    const wrong = historyOf(past.map(({ time }) => ({ time, value: 9999 })));
    baseline.memory?.recall(state, 0, wrong, config);
    expect(baselineOf(state, 0, now + 3 * HOUR_MS)).toEqual(before);
  });

  test("goes on warming up when the store knows nothing", () => {
    const state = baseline.start(config);
    baseline.memory?.recall(state, 0, null, config);
    learn(state, today);
    expect(baseline.readiness?.(state, now + 3 * HOUR_MS)).toEqual({ ready: 0, warming_up: 1, stale: 0 });
    expect(historyOf(past).quantiles).toHaveLength(22 * 24 * VISIT_WIDTH);
  });
});
