import { expect, test } from "vitest";
import { crossingOf } from "./crossing.ts";
import { intervalWidths, type Residuals } from "./interval.ts";
import { uniformFrom } from "./series.fixture.ts";

const residuals = (rows: readonly (readonly number[])[], windows = rows.length): Residuals => ({
  origins: rows.length,
  horizon: rows[0]?.length ?? 0,
  errors: Float64Array.from(rows.flat()),
  windows,
});

const many = (() => {
  const uniform = uniformFrom(5);
  return residuals(Array.from({ length: 400 }, () => Array.from({ length: 4 }, () => 2 * uniform() - 1)));
})();

test("with many errors the widths are their quantiles", () => {
  const { half80, half95 } = intervalWidths(many);
  for (const half of half80) expect(half).toBeCloseTo(0.8, 1);
  for (const half of half95) expect(half).toBeCloseTo(0.95, 1);
});

test("few windows widen, the outer interval more than the inner", () => {
  const plenty = intervalWidths(many);
  const few = intervalWidths({ ...many, windows: 2 });
  const wider80 = (few.half80[0] ?? 0) / (plenty.half80[0] ?? 0);
  expect(wider80).toBeGreaterThan(1.1);
  expect((few.half95[0] ?? 0) / (plenty.half95[0] ?? 0)).toBeGreaterThan(wider80);
});

test("widths do not shrink with the horizon, and do not care for the sign of an error", () => {
  const rows = [
    [1, -3, 1, 4],
    [-1, 1, 2, -5],
    [2, -2, 1, 6],
  ];
  const { half80 } = intervalWidths(residuals(rows));
  expect([...half80]).toEqual([...half80].sort((a, b) => a - b));
  expect(intervalWidths(residuals(rows.map((row) => row.map((error) => -error)))).half80).toEqual(half80);
});

test("no errors, no width", () => {
  expect([
    ...intervalWidths(
      residuals([
        [0, 0],
        [0, 0],
      ]),
    ).half95,
  ]).toEqual([0, 0]);
});

const flat = Float64Array.of(10, 10, 10, 10);
const spiky = residuals([
  [0, 4, 0, 0],
  [0, 0, 0, 0],
]);

test("a path that reaches the limit counts though the mean does not", () => {
  const crossing = crossingOf(flat, spiky, { limit: 13, skipped: 0 });
  expect(crossing.probability).toBeGreaterThan(0);
  expect(crossing.probability).toBeLessThan(0.5);
  expect(crossing.step).toBe(1);
});

test("steps that passed unseen are not counted", () => {
  expect(crossingOf(flat, spiky, { limit: 13, skipped: 2 })).toMatchObject({ probability: 0, step: null });
  expect(crossingOf(flat, spiky, { limit: 13, skipped: 1 }).step).toBe(0);
});

test("a limit below the forecast is reached at once and surely; one far above never", () => {
  expect(crossingOf(flat, spiky, { limit: 5, skipped: 0 })).toEqual({
    probability: 1,
    step: 0,
    stepLow: 0,
    stepHigh: 0,
  });
  expect(crossingOf(flat, spiky, { limit: 99, skipped: 0 })).toEqual({
    probability: 0,
    step: null,
    stepLow: null,
    stepHigh: null,
  });
});

test("a higher limit is not reached more often", () => {
  const odds = [9, 10, 11, 12, 13, 14, 16, 18].map(
    (limit) => crossingOf(flat, spiky, { limit, skipped: 0 }).probability,
  );
  expect(odds).toEqual(odds.toSorted((a, b) => b - a));
});
