import fc from "fast-check";
import { expect, test } from "vitest";
import { type Forecast, forecast, type ReadyForecast, ROWS_MAX } from "./forecast.ts";
import { seriesOf } from "./series.fixture.ts";

const HOURLY = { seasons: [24, 168], horizon: 24 };

const ready = (told: Forecast): ReadyForecast => {
  if (told.state !== "ready") throw new Error(`insufficient: ${told.reason}`);
  return told;
};

const meanAbsoluteError = (told: ArrayLike<number>, came: ArrayLike<number>): number =>
  Array.from(told, (value, step) => Math.abs(value - (came[step] ?? Number.NaN))).reduce(
    (sum, error) => sum + error,
    0,
  ) / told.length;

const shapes = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  rows: fc.integer({ min: 80, max: 300 }),
  growth: fc.double({ min: -0.05, max: 0.05, noNaN: true }),
  daily: fc.double({ min: 0, max: 20, noNaN: true }),
  noise: fc.double({ min: 0.1, max: 5, noNaN: true }),
});

const everyNumber = (told: ReadyForecast): readonly number[] =>
  [told.mean, told.lo80, told.hi80, told.lo95, told.hi95].flatMap((values) => [...values]);

test("a day's pattern, a week's pattern and a growth go on", () => {
  const whole = seriesOf({ rows: 768, seed: 7, daily: 10, weekly: 6, growth: 0.02, noise: 0.5 });
  const told = ready(forecast(whole.subarray(0, 720), { seasons: [24, 168], horizon: 48 }));
  expect(told.seasons).toContain(24);
  expect(meanAbsoluteError(told.mean, whole.subarray(720))).toBeLessThan(1);
  expect(told.backtest.mase).toBeLessThan(1);
});

test("what grows by a share of itself goes on doing so", () => {
  const noise = seriesOf({ rows: 248, seed: 31, level: 0, noise: 0.01 });
  const whole = noise.map((value, row) => Math.exp(0.02 * row + value));
  const told = ready(forecast(whole.subarray(0, 200), { seasons: [24], horizon: 48 }));
  told.mean.forEach((value, step) => {
    expect(Math.abs(value / (whole[200 + step] ?? Number.NaN) - 1)).toBeLessThan(0.15);
  });
});

test("what explodes is not foretold beyond three times its range", () => {
  const doubling = Float64Array.from({ length: 120 }, (_, row) => 2 ** (row / 4));
  const told = ready(forecast(doubling, { seasons: [24], horizon: 48 }));
  expect(Math.max(...told.mean)).toBeLessThanOrEqual(3 * (doubling.at(-1) ?? 0));
});

test("a candidate season that the values do not show is not used", () => {
  expect(ready(forecast(seriesOf({ rows: 400, seed: 3 }), HOURLY)).seasons).toEqual([]);
});

test("a constant series stays, with no width", () => {
  for (const level of [0, 5, -3, 1e-9]) {
    const told = ready(forecast(new Float64Array(200).fill(level), { ...HOURLY, limit: level + 1 }));
    for (const value of everyNumber(told)) expect(value).toBeCloseTo(level, 9);
    expect(told.crossing?.probability).toBe(0);
    expect(told.backtest).toMatchObject({ smape: 0, mase: null });
  }
});

test.each([
  ["no row", new Float64Array(0), "no_values"],
  ["no value", new Float64Array(100).fill(Number.NaN), "no_values"],
  ["less than the horizon and a little", seriesOf({ rows: 30, seed: 1 }), "too_short"],
  ["less than twice the horizon", seriesOf({ rows: 47, seed: 1 }), "too_short"],
  [
    "mostly gaps",
    seriesOf({ rows: 200, seed: 1 }).map((value, row) => (row % 3 === 0 ? value : Number.NaN)),
    "too_many_gaps",
  ],
  ["silent for longer than the horizon", seriesOf({ rows: 200, seed: 1 }).fill(Number.NaN, 150), "silent"],
] as const)("%s is insufficient data", (_, values, reason) => {
  expect(forecast(values, HOURLY)).toEqual({ state: "insufficient_data", reason });
});

test("intervals lie within each other, are finite, and as long as the horizon", () => {
  fc.assert(
    fc.property(shapes, (shape) => {
      const told = ready(forecast(seriesOf(shape), HOURLY));
      expect(everyNumber(told).every(Number.isFinite)).toBe(true);
      expect(told.mean).toHaveLength(24);
      for (let step = 0; step < 24; step++) {
        const [lo95, lo80, mean, hi80, hi95] = [told.lo95, told.lo80, told.mean, told.hi80, told.hi95].map(
          (v) => v[step] ?? Number.NaN,
        );
        expect([lo95, lo80, mean, hi80, hi95]).toEqual(
          [lo95, lo80, mean, hi80, hi95].toSorted((a = 0, b = 0) => a - b),
        );
      }
    }),
    { numRuns: 40 },
  );
});

test("weights sum to one and none is negative", () => {
  const weights = Object.values(ready(forecast(seriesOf({ rows: 300, seed: 11, daily: 4 }), HOURLY)).weights);
  expect(weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
  expect(Math.min(...weights)).toBeGreaterThanOrEqual(0);
});

test("the same values give the same answer, and are left as they were", () => {
  const values = seriesOf({ rows: 300, seed: 5, daily: 8 });
  const before = values.slice();
  expect(forecast(values, { ...HOURLY, limit: 70 })).toEqual(forecast(values.slice(), { ...HOURLY, limit: 70 }));
  expect(values).toEqual(before);
});

test("another unit gives the same forecast in that unit", () => {
  fc.assert(
    fc.property(shapes, fc.constantFrom(1e-6, 0.5, 1024, 1e9), (shape, unit) => {
      const values = seriesOf(shape);
      const plain = ready(forecast(values, { ...HOURLY, limit: 60 }));
      const scaled = ready(
        forecast(
          values.map((value) => value * unit),
          { ...HOURLY, limit: 60 * unit },
        ),
      );
      const size = Math.max(...values.map(Math.abs));
      for (let step = 0; step < 24; step++) {
        expect(Math.abs((scaled.mean[step] ?? 0) / unit - (plain.mean[step] ?? 0))).toBeLessThan(1e-6 * size);
        expect(Math.abs((scaled.hi95[step] ?? 0) / unit - (plain.hi95[step] ?? 0))).toBeLessThan(1e-6 * size);
      }
    }),
    { numRuns: 20 },
  );
});

test("another zero gives the same forecast from that zero, where logarithms have no say", () => {
  const values = seriesOf({ rows: 300, seed: 9, level: -200, daily: 8, growth: 0.02 });
  const plain = ready(forecast(values, HOURLY));
  const shifted = ready(
    forecast(
      values.map((value) => value - 300),
      HOURLY,
    ),
  );
  for (let step = 0; step < 24; step++) expect((shifted.mean[step] ?? 0) + 300).toBeCloseTo(plain.mean[step] ?? 0, 3);
});

test("only the last rows count", () => {
  const values = seriesOf({ rows: ROWS_MAX + 200, seed: 4, daily: 5 });
  expect(forecast(values, HOURLY)).toEqual(forecast(values.subarray(200), HOURLY));
});

test("gaps and infinities cost little", () => {
  const whole = seriesOf({ rows: 624, seed: 21, daily: 10, noise: 0.5 });
  const known = whole.slice(0, 600);
  known.fill(Number.NaN, 100, 112);
  known.fill(Number.POSITIVE_INFINITY, 300, 302);
  for (let row = 5; row < 600; row += 11) known[row] = Number.NaN;
  const told = ready(forecast(known, HOURLY));
  expect(meanAbsoluteError(told.mean, whole.subarray(600))).toBeLessThan(1);
});

test("lone spikes cost the forecast little, but a limit that only they reach is not forgotten", () => {
  const whole = seriesOf({ rows: 624, seed: 22, daily: 10, noise: 0.5 });
  const known = whole.slice(0, 600);
  for (let row = 7; row < 590; row += 31) known[row] = 300;
  const told = ready(forecast(known, { ...HOURLY, limit: 200 }));
  expect(meanAbsoluteError(told.mean, whole.subarray(600))).toBeLessThan(0.5);
  expect(told.crossing?.probability).toBeGreaterThan(0.1);
});

test("rows that are silent at the end are forecast over, and not told", () => {
  const whole = seriesOf({ rows: 424, seed: 8, daily: 10, noise: 0.3 });
  const known = whole.slice(0, 400);
  known.fill(Number.NaN, 394);
  const told = ready(forecast(known, HOURLY));
  expect(told.mean).toHaveLength(24);
  expect(meanAbsoluteError(told.mean, whole.subarray(400))).toBeLessThan(1);
});

test("values of any size, sign or sparseness stay finite", () => {
  const wild = fc.oneof(
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.constantFrom(0, 0, 1e300, -1e300, 1e-300, 1, -1, Number.MAX_VALUE, Number.MIN_VALUE),
  );
  fc.assert(
    fc.property(fc.array(wild, { minLength: 60, maxLength: 120 }), (values) => {
      const told = ready(forecast(Float64Array.from(values), { ...HOURLY, limit: 10 }));
      expect(everyNumber(told).every(Number.isFinite)).toBe(true);
      expect(told.crossing?.probability).toBeGreaterThanOrEqual(0);
      expect(told.crossing?.probability).toBeLessThanOrEqual(1);
    }),
    { numRuns: 60 },
  );
});

test("a series that was never negative is not foretold to be, and one with bounds stays within them", () => {
  const falling = seriesOf({ rows: 200, seed: 2, level: 40, growth: -0.2, noise: 2 }).map((value) =>
    Math.max(0, value),
  );
  expect(Math.min(...everyNumber(ready(forecast(falling, HOURLY))))).toBeGreaterThanOrEqual(0);
  const full = seriesOf({ rows: 200, seed: 2, level: 0.5, growth: 0.002, noise: 0.05 });
  const told = ready(forecast(full, { ...HOURLY, horizon: 72, bounds: { low: 0, high: 1 } }));
  expect(Math.max(...everyNumber(told))).toBeLessThanOrEqual(1);
});

test("about four in five, and nineteen in twenty, of what came lie within the intervals", () => {
  let within80 = 0;
  let within95 = 0;
  let count = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const whole = seriesOf({ rows: 424, seed, daily: 6, growth: 0.01, noise: 3 });
    const told = ready(forecast(whole.subarray(0, 400), HOURLY));
    for (let step = 0; step < 24; step++) {
      const came = whole[400 + step] ?? Number.NaN;
      count++;
      if (came >= (told.lo80[step] ?? 0) && came <= (told.hi80[step] ?? 0)) within80++;
      if (came >= (told.lo95[step] ?? 0) && came <= (told.hi95[step] ?? 0)) within95++;
    }
  }
  expect(within80 / count).toBeGreaterThan(0.75);
  expect(within80 / count).toBeLessThan(0.92);
  expect(within95 / count).toBeGreaterThan(0.92);
});

test("a growing series reaches its limit about when its line does", () => {
  const values = seriesOf({ rows: 400, seed: 6, growth: 0.1, noise: 0.5 });
  const crossing = ready(forecast(values, { seasons: [24, 168], horizon: 168, limit: 50 + 0.1 * 480 })).crossing;
  expect(crossing?.probability).toBeGreaterThan(0.9);
  expect(Math.abs((crossing?.step ?? 0) - 80)).toBeLessThan(15);
  expect(crossing?.stepLow).toBeLessThanOrEqual(crossing?.step ?? 0);
  expect(crossing?.stepHigh).toBeGreaterThanOrEqual(crossing?.step ?? 0);
});

test("a limit that only the noise reaches is found though the mean stays below it", () => {
  const values = seriesOf({ rows: 400, seed: 12, noise: 4 });
  const told = ready(forecast(values, { ...HOURLY, horizon: 48, limit: 54 }));
  expect(Math.max(...told.mean)).toBeLessThan(54);
  expect(told.crossing?.probability).toBeGreaterThan(0.35);
});

test("a disk that was cleaned goes on growing from where it stands", () => {
  const uniform = seriesOf({ rows: 500, seed: 13, level: 0, noise: 0.3 });
  const disk = uniform.map((noise, row) => 20 + 0.1 * row + noise - (row >= 440 ? 40 : 0));
  const told = ready(forecast(disk, { seasons: [24, 168], horizon: 48 }));
  const line = Array.from({ length: 48 }, (_, step) => 20 + 0.1 * (500 + step) - 40);
  expect(meanAbsoluteError(told.mean, line)).toBeLessThan(1);
});

test("a saw of several clean-ups neither falls nor takes its old peaks for a level", () => {
  const noise = seriesOf({ rows: 600, seed: 14, level: 0, noise: 0.2 });
  const saw = noise.map((value, row) => 10 + 0.2 * (row % 190) + value);
  const told = ready(forecast(saw, { seasons: [24, 168], horizon: 24 }));
  const line = Array.from({ length: 24 }, (_, step) => 10 + 0.2 * (30 + step));
  expect(meanAbsoluteError(told.mean, line)).toBeLessThan(1.5);
});
