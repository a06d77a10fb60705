import fc from "fast-check";
import { expect, test } from "vitest";
import { addSeason, decompose, detectPeriods } from "./season.ts";
import { seriesOf } from "./series.fixture.ts";

const spreadOf = (values: Float64Array): number => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
};

test("both periods of a series with a day and a week are found, under a growth too", () => {
  const values = seriesOf({ rows: 700, seed: 1, daily: 5, weekly: 5, growth: 0.05 });
  expect(detectPeriods(values, [168, 24])).toEqual([24, 168]);
});

test.each([
  ["a candidate that is not there", seriesOf({ rows: 700, seed: 1, daily: 5 }), [10]],
  ["fewer than three cycles", seriesOf({ rows: 71, seed: 1, daily: 5 }), [24]],
  ["a constant", new Float64Array(700).fill(3), [24]],
  ["a period that is none", seriesOf({ rows: 700, seed: 1, daily: 5 }), [0, 1, -24, 2.5, Number.NaN]],
] as const)("%s is no season", (_, values, candidates) => {
  expect(detectPeriods(values, candidates)).toEqual([]);
});

test("what is left of a seasonal series is its noise", () => {
  const noise = 1;
  const rest = seriesOf({ rows: 700, seed: 2, daily: 10, weekly: 5, noise });
  const seasons = decompose(rest, [24, 168]);
  const before = spreadOf(rest);
  for (const season of seasons) addSeason(rest, season, -1);
  expect(before).toBeGreaterThan(7);
  expect(spreadOf(rest)).toBeLessThan(0.7 * noise);
});

test("a pattern that chance made is shrunk away", () => {
  const values = seriesOf({ rows: 240, seed: 3, noise: 1 });
  const [season] = decompose(values, [24]);
  expect(spreadOf(season?.index ?? new Float64Array(0))).toBeLessThan(0.15);
});

test("patterns sum to nought and do not depend on the level", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 10_000 }), fc.double({ min: -1e6, max: 1e6, noNaN: true }), (seed, shift) => {
      const values = seriesOf({ rows: 300, seed, daily: 5 });
      const [season] = decompose(values, [24]);
      const [shifted] = decompose(
        values.map((value) => value + shift),
        [24],
      );
      expect(season?.index.reduce((sum, value) => sum + value, 0)).toBeCloseTo(0, 6);
      shifted?.index.forEach((value, phase) => {
        expect(value).toBeCloseTo(season?.index[phase] ?? Number.NaN, 4);
      });
    }),
    { numRuns: 20 },
  );
});
