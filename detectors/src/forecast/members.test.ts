import { expect, test } from "vitest";
import { autoRegression, autoRegressionOfSteps } from "./auto-regression.ts";
import { lagRegression, lagRegressionOfSteps } from "./lag-regression.ts";
import type { Known, Member } from "./member.ts";
import { addSeason, decompose } from "./season.ts";
import { seasonalMedian } from "./seasonal-median.ts";
import { seasonalSmoothing } from "./seasonal-smoothing.ts";
import { seriesOf } from "./series.fixture.ts";
import { damped, theta } from "./smoothing.ts";

const knownOf = (values: Float64Array, periods: readonly number[]): Known => {
  const seasons = decompose(values, periods);
  const adjusted = values.slice();
  for (const season of seasons) addSeason(adjusted, season, -1);
  return { values, seasons, adjusted };
};

const told = (member: Member, values: Float64Array, periods: readonly number[] = [], steps = 12): Float64Array => {
  const known = knownOf(values, periods);
  const out = new Float64Array(steps);
  const predict = member.fit(known);
  if (predict === null) throw new Error(`${member.name} has nothing to go by`);
  predict(known, out);
  if (member.seesAdjusted) for (const season of known.seasons) addSeason(out, season, 1, values.length);
  return out;
};

const line = Float64Array.from({ length: 100 }, (_, row) => 3 + 2 * row);
const wave = Float64Array.from({ length: 20 * 12 }, (_, row) => 10 + 5 * Math.sin((row * Math.PI) / 6));
const nextOfWave = Float64Array.from({ length: 12 }, (_, step) => 10 + 5 * Math.sin((step * Math.PI) / 6));

test("Theta drifts by half the slope of a line from its end", () => {
  const steps = told(theta, line);
  expect((steps[5] ?? 0) - (steps[4] ?? 0)).toBeCloseTo(1, 6);
  expect(steps[0]).toBeCloseTo(202, 0);
});

test("the damped trend follows a line, ever more slowly", () => {
  const steps = told(damped, line);
  expect(steps[0]).toBeCloseTo(203, 0);
  const last = (steps[11] ?? 0) - (steps[10] ?? 0);
  expect(last).toBeGreaterThan(1);
  expect(last).toBeLessThan((steps[1] ?? 0) - (steps[0] ?? 0));
});

test("the autoregression of the steps follows a line to its end", () => {
  told(autoRegressionOfSteps, line).forEach((value, step) => {
    expect(value).toBeCloseTo(203 + 2 * step, 6);
  });
});

test("the autoregression returns to the mean at the rate at which the series does", () => {
  const noise = seriesOf({ rows: 2000, seed: 3, level: 0 });
  const values = new Float64Array(2000);
  for (let row = 1; row < 2000; row++) values[row] = 0.8 * (values[row - 1] ?? 0) + (noise[row] ?? 0);
  values[1999] = 10;
  const steps = told(autoRegression, values, [], 30);
  expect(steps[0]).toBeGreaterThan(6);
  expect(steps[0]).toBeLessThan(9);
  expect(Math.abs(steps[29] ?? 0)).toBeLessThan(0.5);
});

test.each([
  ["theta", theta],
  ["damped", damped],
  ["autoregression", autoRegression],
  ["autoregression of steps", autoRegressionOfSteps],
  ["seasonal smoothing", seasonalSmoothing],
  ["lag regression", lagRegression],
  ["lag regression of steps", lagRegressionOfSteps],
  ["seasonal median", seasonalMedian],
] as const)("%s repeats a wave", (_, member) => {
  told(member, wave, [12]).forEach((value, step) => {
    expect(Math.abs(value - (nextOfWave[step] ?? Number.NaN))).toBeLessThan(0.4);
  });
});

test("one bad period does not spoil the seasonal median", () => {
  const spoilt = wave.map((value, row) => (row >= 19 * 12 ? 0 : value));
  told(seasonalMedian, spoilt, [12]).forEach((value, step) => {
    expect(value).toBeCloseTo(nextOfWave[step] ?? 0, 6);
  });
});

test.each([
  ["seasonal smoothing", seasonalSmoothing],
  ["lag regression of steps", lagRegressionOfSteps],
  ["seasonal median", seasonalMedian],
])("%s says nothing without a season", (_, member) => {
  expect(member.fit(knownOf(line, []))).toBeNull();
});
