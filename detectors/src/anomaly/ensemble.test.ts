import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stepSeriesAnomaly } from "./ensemble.ts";
import { memberName, reasonOf } from "./reason.ts";
import { SeriesAnomalyConfig } from "./series-anomaly.ts";
import {
  BYTES_PER_SERIES,
  growSeriesAnomaly,
  loadSeriesAnomaly,
  pickSeriesAnomaly,
  saveSeriesAnomaly,
  startSeriesAnomaly,
} from "./state.ts";

const SCORE_MIN = SeriesAnomalyConfig.shape.score_min.parse(undefined);
const STEP_MS = 300_000;
const DAY = 288;
/** 2026-11-23 00:00:00 UTC, a Monday. */
const T0 = 1_795_392_000_000;

interface Point {
  readonly time: number;
  readonly value: number;
}

const noiseFrom = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
};

/** A day's wave and noise, in eighths, so that sums with whole numbers and powers of two are exact. */
const wave = (rows: number, change: (value: number, row: number) => number = (value) => value, seed = 1): Point[] => {
  const noise = noiseFrom(seed);
  return Array.from({ length: rows }, (_, row) => {
    const value = 40 + 20 * Math.sin((2 * Math.PI * row) / DAY) + 2 * (noise() + noise() + noise());
    return { time: T0 + row * STEP_MS, value: Math.round(change(value, row) * 8) / 8 };
  });
};

const scoresOf = (points: readonly Point[]): number[] => {
  const state = startSeriesAnomaly();
  growSeriesAnomaly(state, 1);
  return points.map(({ time, value }) => stepSeriesAnomaly(state, 0, time, value));
};

/** Rows at which something was told, and why. */
const story = (points: readonly Point[]) => {
  const state = startSeriesAnomaly();
  growSeriesAnomaly(state, 1);
  let alertRows = 0;
  const told = points.flatMap(({ time, value }, row) => {
    const score = stepSeriesAnomaly(state, 0, time, value);
    if (state.verdict.isAlert) alertRows++;
    const reason = reasonOf(state.verdict, value, (number) => number.toFixed(0));
    return score > 0 ? [{ row, score, member: memberName(state.verdict.member), reason }] : [];
  });
  return { told, alertRows };
};

const DAYS_10 = 10 * DAY;

describe("the ensemble", () => {
  test.each<{ name: string; change: (value: number, row: number) => number; withinRows: number; toldMax: number }>([
    {
      name: "a spike",
      change: (value, row) => (row === DAYS_10 + 50 ? value + 15 : value),
      withinRows: 51,
      toldMax: 1,
    },
    { name: "a dip", change: (value, row) => (row === DAYS_10 + 50 ? value - 15 : value), withinRows: 51, toldMax: 1 },
    { name: "a level shift", change: (value, row) => (row >= DAYS_10 ? value + 15 : value), withinRows: 3, toldMax: 5 },
    {
      name: "a daily peak that does not come",
      change: (value, row) => (Math.floor(row / DAY) === 10 ? Math.min(value, 40) : value),
      withinRows: 40,
      toldMax: 5,
    },
    {
      name: "a value that is frozen",
      change: (value, row) => (row >= DAYS_10 ? 40 : value),
      withinRows: 60,
      toldMax: 12,
    },
    {
      name: "noise that grows fivefold",
      change: (value, row) => (row >= DAYS_10 && row % 2 === 0 ? value + 8 : value),
      withinRows: 15,
      toldMax: 8,
    },
  ])("tells of $name soon, and not for ever", ({ change, withinRows, toldMax }) => {
    const { told } = story(wave(14 * DAY, change));
    expect(told.filter(({ row }) => row < DAYS_10).length).toBeLessThanOrEqual(1);
    const after = told.filter(({ row }) => row >= DAYS_10);
    expect(after[0]?.row).toBeLessThan(DAYS_10 + withinRows);
    expect(after.length).toBeLessThanOrEqual(toldMax);
  });

  test.each<{ name: string; value: (row: number, noise: () => number) => number; toldMax: number }>([
    { name: "a constant", value: () => 5, toldMax: 0 },
    { name: "rounding about a constant", value: (row) => 0.1 + 0.2 * (row % 2) - 0.2 * (row % 2), toldMax: 0 },
    { name: "a slow drift", value: (row, noise) => row / 100 + noise(), toldMax: 1 },
    { name: "noise", value: (_, noise) => noise() + noise() + noise(), toldMax: 1 },
    { name: "two states that alternate by day", value: (row) => (row % DAY < 100 ? 1 : 9), toldMax: 2 },
  ])("hardly ever tells more of $name than the platform's rules tell by default", ({ value, toldMax }) => {
    const noise = noiseFrom(3);
    const points = Array.from({ length: 14 * DAY }, (_, row) => ({
      time: T0 + row * STEP_MS,
      value: value(row, noise),
    }));
    const findings = story(points).told.filter(({ score }) => score >= SCORE_MIN);
    expect(findings.length).toBeLessThanOrEqual(toldMax);
  });

  test("tells when a series that has always been constant is no more, and takes the new value for normal in the end", () => {
    const points = wave(DAYS_10, (_, row) => (row < 5 * DAY ? 5 : 6));
    const { told, alertRows } = story(points);
    expect(told[0]?.row).toBe(5 * DAY);
    expect(told.length).toBeLessThanOrEqual(3);
    expect(alertRows).toBeLessThan(DAY);
  });

  test("says which member spoke, and what it saw", () => {
    const spike = story(wave(11 * DAY, (value, row) => (row === DAYS_10 + 72 ? 100 : value))).told.at(-1);
    expect(spike?.member).toBe("residual");
    expect(spike?.reason).toMatch(
      /^is 100, expected about (59|60|61) \(\d+ times the usual deviation\); about one moment in [\d,]+/,
    );
  });

  test("still works when its weights have been brought back to one", () => {
    const rows = 80_000;
    const points = wave(rows, (value, row) => (row === rows - 5 ? value + 20 : value));
    expect(scoresOf(points).slice(-5)[0]).toBeGreaterThan(0.3);
  });

  test("takes less than 8 KiB a series", () => {
    expect(BYTES_PER_SERIES).toBeLessThan(8192);
  });
});

describe("scores do not depend on", () => {
  const change = (value: number, row: number) => (row % 700 === 650 ? value + 12 : row > 1800 ? value - 20 : value);
  const points = wave(2200, change);
  const expected = scoresOf(points);
  const sample = { numRuns: 8 };

  test("anything: they are told at all", () => {
    expect(expected.filter((score) => score > 0).length).toBeGreaterThan(2);
    expect(expected.every((score) => score >= 0 && score <= 1)).toBe(true);
  });

  test("the zero of the scale", () => {
    fc.assert(
      fc.property(fc.integer({ min: -1_000_000_000, max: 1_000_000_000 }), (offset) => {
        expect(scoresOf(points.map(({ time, value }) => ({ time, value: value + offset })))).toEqual(expected);
      }),
      sample,
    );
  });

  test("the unit", () => {
    fc.assert(
      fc.property(fc.integer({ min: -30, max: 30 }), (power) => {
        expect(scoresOf(points.map(({ time, value }) => ({ time, value: value * 2 ** power })))).toEqual(expected);
      }),
      sample,
    );
  });

  test("the week", () => {
    fc.assert(
      fc.property(fc.integer({ min: -3000, max: 3000 }), (weeks) => {
        const shift = weeks * 7 * 86_400_000;
        expect(scoresOf(points.map(({ time, value }) => ({ time: time + shift, value })))).toEqual(expected);
      }),
      sample,
    );
  });

  test("points that come twice or late, and values that are no numbers", () => {
    const strange = fc.record({
      after: fc.integer({ min: 0, max: points.length - 1 }),
      back: fc.integer({ min: 0, max: 500 }),
      value: fc.constantFrom(1e9, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e300),
    });
    fc.assert(
      fc.property(fc.array(strange, { maxLength: 30 }), (all) => {
        const state = startSeriesAnomaly();
        growSeriesAnomaly(state, 1);
        const scores = points.map(({ time, value }, row) => {
          const score = stepSeriesAnomaly(state, 0, time, value);
          for (const { after, back, value: wrong } of all)
            if (after === row)
              expect(stepSeriesAnomaly(state, 0, Math.abs(wrong) < 1e10 ? time - back : time + 1, wrong)).toBe(0);
          return score;
        });
        expect(scores).toEqual(expected);
      }),
      sample,
    );
  });

  test("a restart in the middle, nor on the series beside it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: points.length }), (restart) => {
        let state = startSeriesAnomaly();
        growSeriesAnomaly(state, 1);
        const other = wave(2200, change, 9);
        const scores = points.map(({ time, value }, row) => {
          if (row === 100) growSeriesAnomaly(state, 40);
          if (row === restart) state = loadSeriesAnomaly(structuredClone(saveSeriesAnomaly(state)));
          if (row === 900) pickSeriesAnomaly(state, Uint32Array.of(7, 0));
          const neighbour = row < 900 ? 7 : 0;
          if (row >= 100) stepSeriesAnomaly(state, neighbour, time, other[row]?.value ?? 0);
          return stepSeriesAnomaly(state, row < 900 ? 0 : 1, time, value);
        });
        expect(scores).toEqual(expected);
      }),
      sample,
    );
  });
});

test("the anomalies survive missing points", () => {
  const spike = 10 * DAY + 50;
  const noise = noiseFrom(5);
  const points = wave(11 * DAY, (value, row) => (row === spike ? value + 20 : value));
  const thinned = points.filter((_, row) => row === spike || noise() > -0.2);
  const { told } = story(thinned);
  expect(told.map(({ row }) => thinned[row]?.time)).toContain(points[spike]?.time);
  expect(told.length).toBeLessThanOrEqual(3);
});

test("a saved state of another layout is refused", () => {
  expect(() => loadSeriesAnomaly({ numbers: new Float64Array(5), cells: new Float64Array(7) })).toThrow(RangeError);
});
