import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BEFORE, C, cellsAt, growSeriesAnomaly, numbersAt, RECENT, startSeriesAnomaly, WINDOW } from "../state.ts";
import { levelBefore, levelRecent, pushLevel } from "./level.ts";
import { expectedAt, followShift, hourOf, learnProfile } from "./seasonal-profile.ts";

const HOUR_MS = 3_600_000;
const WEEK = 168;

const upperMedian = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >>> 1] ?? Number.NaN;

const oneSeries = () => {
  const state = startSeriesAnomaly();
  growSeriesAnomaly(state, 2);
  return { state, n: numbersAt(1), c: cellsAt(1) };
};

test("the level is the median of the newest values against that of those before them", () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: -50, max: 50 }), { minLength: 40, maxLength: 3 * WINDOW }), (values) => {
      const { state, c } = oneSeries();
      values.forEach((value, row) => {
        pushLevel(state.cells, c, row, value);
        const before = values.slice(Math.max(0, row + 1 - WINDOW), Math.max(0, row + 1 - RECENT));
        expect(before.length).toBeLessThanOrEqual(BEFORE);
        expect(levelBefore(state.cells, c, row)).toBe(before.length < 20 ? Number.NaN : upperMedian(before));
        if (row >= RECENT)
          expect(levelRecent(state.cells, c, row)).toBe(upperMedian(values.slice(row + 1 - RECENT, row + 1)));
      });
    }),
    { numRuns: 30 },
  );
});

describe("a seasonal profile", () => {
  const learnt = (hours: number, value: (hour: number) => number) => {
    const { state, n, c } = oneSeries();
    for (let hour = 0; hour < hours; hour++) learnProfile(state.cells, c, hour, value(hour), HOUR_MS);
    return { cells: state.cells, n, c, state };
  };

  test("expects nothing of an hour that it has not seen whole", () => {
    const { cells, c } = learnt(5, () => 1);
    expect(expectedAt(cells, c, 5, 1)).toBeNaN();
    expect(expectedAt(cells, c, 24 + 4, 1)).toBe(1);
    learnProfile(cells, c, 5, 1, HOUR_MS / 2);
    expect(expectedAt(cells, c, 5, 1)).toBeNaN();
    learnProfile(cells, c, 5, 1, HOUR_MS / 2);
    expect(expectedAt(cells, c, 5, 1)).toBe(1);
  });

  test("knows a day that differs from the others once it has seen it", () => {
    const quietSunday = (hour: number) => (hour % WEEK < 24 ? 10 : 100 + (hour % 24));
    const { cells, c } = learnt(3 * WEEK, quietSunday);
    expect(expectedAt(cells, c, 3 * WEEK + 5, 10)).toBeCloseTo(10, 3);
    expect(expectedAt(cells, c, 3 * WEEK + 24 + 5, 105)).toBeCloseTo(105, 3);
  });

  test("counts hours from before 1970 as well", () => {
    const { state, c } = oneSeries();
    learnProfile(state.cells, c, hourOf(-1), 3, HOUR_MS);
    expect(expectedAt(state.cells, c, -1 - WEEK, 3)).toBe(3);
    expect(state.cells[c + C.dayMean + 23]).toBe(3);
  });

  test("moves to a new level when values stay there, and not for values that come and go", () => {
    const { state, cells, n, c } = learnt(48, () => 5);
    for (let row = 0; row < 400; row++) followShift(state, n, c, { residual: row % 100 === 99 ? -3 : 3, usual: 1 });
    expect(expectedAt(cells, c, 48, 5)).toBe(5);
    const shifts = Array.from({ length: 200 }, () => followShift(state, n, c, { residual: 3, usual: 1 }));
    expect(shifts.filter((isShift) => isShift)).toHaveLength(1);
    expect(expectedAt(cells, c, 48, 5)).toBeCloseTo(8, 3);
  });
});
