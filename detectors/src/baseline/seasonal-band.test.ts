import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  bandFor,
  coverageHours,
  HOURS,
  levelOffset,
  settleShift,
  summariseHour,
  VISIT_WIDTH,
  VISITS,
} from "./seasonal-band.ts";

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

const OTHER = { ...OPTIONS, floor: { absolute: 0, relative: 0 } };

describe("a shift of level", () => {
  const hour = 500_000;
  const byDay = (past: number): number => 50 + (past % 24) * 10;
  const since = hour - 3;

  test("is the median of how far the hours since are from what the weeks before say", () => {
    const moved = (past: number): number => byDay(past) + (past > since ? 1000 : 0);
    const visits = visitsBefore(hour, 3 * HOURS, moved);
    expect(levelOffset(visits, { sinceHour: since, hour, median: byDay(hour) + 1000 }, OPTIONS)).toBe(1000);
    const oneOdd = { sinceHour: since, hour, median: byDay(hour) - 77 };
    expect(levelOffset(visits, oneOdd, OPTIONS)).toBe(1000);
  });

  test("is not known where the time before says nothing", () => {
    const visits = visitsBefore(hour, 10, byDay);
    expect(levelOffset(visits, { sinceHour: since, hour, median: 1 }, OPTIONS)).toBeNull();
  });

  test("moves the band by as much and keeps its width, and is the same once it is settled", () => {
    fc.assert(
      fc.property(fc.integer({ min: -5000, max: 5000 }), fc.integer({ min: 0, max: 500 }), (offset, back) => {
        const visits = visitsBefore(hour, 3 * HOURS, byDay);
        const shift = { sinceHour: hour, offset };
        const [plain, moved] = [bandFor(visits, hour + back, OTHER), bandFor(visits, hour + back, OTHER, shift)];
        settleShift(visits, shift);
        const settled = bandFor(visits, hour + back, OTHER);
        expect(settled?.level).toBe(plain?.level);
        for (const edge of ["low", "center", "high"] as const) {
          expect(moved?.[edge]).toBeCloseTo((plain?.[edge] ?? Number.NaN) + offset, 6);
          expect(settled?.[edge]).toBeCloseTo(moved?.[edge] ?? Number.NaN, 6);
        }
      }),
      { numRuns: 30 },
    );
  });
});

test("a band keeps its place among the values whatever their unit and zero are", () => {
  const hour = 500_000;
  const levels = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 24, maxLength: 24 });
  fc.assert(
    fc.property(
      levels,
      fc.integer({ min: -8, max: 8 }),
      fc.integer({ min: -1000, max: 1000 }),
      (byHour, power, zero) => {
        const factor = 2 ** power;
        const level = (past: number): number => byHour[past % 24] ?? 0;
        const one = bandFor(visitsBefore(hour, 10 * 24, level), hour, OTHER);
        const other = bandFor(
          visitsBefore(hour, 10 * 24, (past) => level(past) * factor + zero, factor),
          hour,
          OTHER,
        );
        for (const edge of ["low", "center", "high"] as const)
          expect(other?.[edge]).toBeCloseTo((one?.[edge] ?? Number.NaN) * factor + zero, 6);
      },
    ),
  );
});
