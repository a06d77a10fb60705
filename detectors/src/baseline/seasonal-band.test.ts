import { describe, expect, test } from "vitest";
import { bandFor, coverageHours, HOURS, summariseHour, VISIT_WIDTH, VISITS } from "./seasonal-band.ts";

const OPTIONS = { warmUpHours: 24, margin: 3, floor: { absolute: 0, relative: 0.05 } };

/** Visits for the hours before `hour`, each with the quantiles that `levelOf` gives. */
const visitsBefore = (hour: number, count: number, levelOf: (hour: number) => number, spread = 1) => {
  const hours = new Float64Array(HOURS * VISITS).fill(Number.NaN);
  const quantiles = new Float64Array(HOURS * VISITS * VISIT_WIDTH).fill(Number.NaN);
  for (let past = hour - count; past < hour; past++) {
    const place = (past % HOURS) * VISITS + (Math.floor(past / HOURS) % VISITS);
    hours[place] = past;
    quantiles.set([levelOf(past) - spread, levelOf(past), levelOf(past) + spread], place * VISIT_WIDTH);
  }
  return { hours, quantiles };
};

describe("a seasonal band", () => {
  // By hand, from definition 7 of Hyndman and Fan (R: quantile(c(2, 4, 4, 5, 7, 9, 11), c(.05, .5, .95))).
  test("takes quantiles by the usual definition", () => {
    expect(summariseHour(Float64Array.of(11, 4, 2, 9, 5, 4, 7))).toEqual([
      expect.closeTo(2.6, 9),
      5,
      expect.closeTo(10.4, 9),
    ]);
  });

  const hour = 500_000;
  const byDay = (past: number): number => (past % 24 === hour % 24 ? 100 : 10);
  test.each([
    { name: "nothing", count: 0, level: null },
    { name: "23 hours", count: 23, level: null },
    { name: "a day", count: 24, level: "global" },
    { name: "two days", count: 48, level: "global" },
    { name: "three days", count: 72, level: "hour_of_day" },
    { name: "three weeks", count: 3 * HOURS, level: "hour_of_week" },
  ])("knows after $name: $level", ({ count, level }) => {
    const visits = visitsBefore(hour, count, byDay);
    expect(bandFor(visits, hour, OPTIONS)?.level ?? null).toBe(level);
    expect(coverageHours(visits, hour)).toBe(Math.min(count, HOURS));
  });

  test("holds every hour of the day as long as it knows no hour in particular", () => {
    const band = bandFor(visitsBefore(hour, 24, byDay), hour, OPTIONS);
    expect(band?.low).toBeLessThan(10);
    expect(band?.high).toBeGreaterThan(100);
  });

  test("knows a busy hour for what it is, and is narrow about it", () => {
    const band = bandFor(visitsBefore(hour, 72, byDay), hour, OPTIONS);
    expect(band?.low).toBeGreaterThan(80);
    expect(band?.high).toBeLessThan(120);
  });

  test("is not moved by one odd week", () => {
    const odd = (past: number): number => (past > hour - HOURS - 5 ? 9000 : byDay(past));
    const band = bandFor(visitsBefore(hour, 3 * HOURS, odd), hour, OPTIONS);
    expect(band?.high).toBeLessThan(120);
  });

  test("has a floor for flat series", () => {
    const band = bandFor(
      visitsBefore(hour, 72, () => 100, 0),
      hour,
      OPTIONS,
    );
    expect(band).toMatchObject({ low: 85, center: 100, high: 115 });
  });

  test("does not trust visits of long ago", () => {
    expect(bandFor(visitsBefore(hour, 3 * HOURS, byDay), hour + 6 * HOURS, OPTIONS)).toBeNull();
  });
});
