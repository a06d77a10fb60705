import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type HostJudge,
  judgeRow,
  loadHostJudge,
  makeHostJudge,
  pickMetrics,
  saveHostJudge,
  topMetrics,
} from "./host-judge.ts";

const STEP_MS = 300_000;
const DAY_ROWS = 86_400_000 / STEP_MS;
const LEVEL = 1.2;

/** A small generator of our own: the same numbers for the same seed (mulberry32). */
const noise = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296 - 0.5;
  };
};

const METRICS = 8;

/** Daily waves with noise. */
const usualRows = (days: number, seed = 1): number[][] => {
  const random = noise(seed);
  return Array.from({ length: days * DAY_ROWS }, (_, row) =>
    Array.from({ length: METRICS }, (__, metric) => {
      const wave = Math.sin((2 * Math.PI * row) / DAY_ROWS + metric);
      return 10 + 4 * wave + random();
    }),
  );
};

const withFault = (rows: number[][], first: number, last: number, by: number): number[][] =>
  rows.map((row, at) =>
    at < first || at > last ? row : row.map((value, metric) => (metric < 3 ? value + by : value)),
  );

interface Run {
  readonly scores: readonly number[];
  readonly alerts: readonly number[];
}

const run = (rows: readonly (readonly number[])[], judge: HostJudge = makeHostJudge(METRICS), from = 0): Run => {
  const scores: number[] = [];
  const alerts: number[] = [];
  rows.forEach((values, row) => {
    const judged = judgeRow(judge, { timeUnixMs: (from + row) * STEP_MS, values }, LEVEL);
    scores.push(judged?.score ?? Number.NaN);
    if (judged?.isAlert === true) alerts.push(from + row);
  });
  return { scores, alerts };
};

describe("a host's metrics", () => {
  const days = 8;
  const at = 7 * DAY_ROWS + 100;

  test("without a fault make hardly an alert", () => {
    expect(run(usualRows(days)).alerts.length).toBeLessThanOrEqual(days);
  });

  test("make an alert at once when several leave their usual bands, and it ends after them", () => {
    const { alerts } = run(withFault(usualRows(days), at, at + 20, 15));
    const near = alerts.filter((row) => row >= at && row <= at + 40);
    expect(near[0]).toBeLessThanOrEqual(at + 1);
    expect(near.at(-1)).toBeLessThanOrEqual(at + 30);
  });

  test("make an alert when they are what is usual at another time of the day", () => {
    const rows = usualRows(days);
    const night = rows.map((row, index) =>
      index >= at && index < at + 20 ? (rows[at - DAY_ROWS / 2] as number[]) : row,
    );
    const quiet = run(rows).scores.slice(at + 5, at + 20);
    const { scores } = run(night);
    expect(Math.min(...scores.slice(at + 5, at + 20))).toBeGreaterThan(Math.max(...quiet));
  });

  test("stay suspect for longer after a long fault than after a short one", () => {
    const after = (rows: number): number =>
      run(withFault(usualRows(days), at, at + rows - 1, 15)).scores[at + rows + 60] as number;
    expect(after(30)).toBeGreaterThan(2 * after(3));
  });

  test("that made an alert are named first", () => {
    const judge = makeHostJudge(METRICS);
    run(withFault(usualRows(days), at, at + 20, 15).slice(0, at + 2), judge);
    expect(
      topMetrics(judge, 3)
        .map(({ metric }) => metric)
        .sort(),
    ).toEqual([0, 1, 2]);
  });

  test("that stay at a new level are the new usual after days, not at once", () => {
    const rows = withFault(usualRows(24), at, Number.POSITIVE_INFINITY, 15);
    const { scores, alerts } = run(rows);
    expect(Math.max(...scores.slice(at + 12, at + 36))).toBeGreaterThan(LEVEL);
    expect(alerts.filter((row) => row > rows.length - 3 * DAY_ROWS).length).toBeLessThanOrEqual(3);
  });

  test("say nothing during the first day", () => {
    const { alerts } = run(withFault(usualRows(1), 150, 200, 100));
    expect(alerts).toEqual([]);
  });

  test("that never change make no score", () => {
    const { scores } = run(Array.from({ length: 600 }, () => new Array(METRICS).fill(7)));
    expect(Math.max(...scores)).toBe(0);
  });

  test("that are missing altogether make no score", () => {
    const { scores } = run(Array.from({ length: 300 }, () => new Array(METRICS).fill(Number.NaN)));
    expect(Math.max(...scores)).toBe(0);
  });

  test("are judged by earlier rows only", () => {
    const rows = usualRows(3);
    const { scores } = run(rows);
    expect(run(rows.slice(0, 500)).scores).toEqual(scores.slice(0, 500));
  });
});

const shortRows = withFault(usualRows(4, 5), 3 * DAY_ROWS + 20, 3 * DAY_ROWS + 40, 12);
const SHORT = run(shortRows);

describe("scores and alerts", () => {
  test("are the same after a restart anywhere", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: shortRows.length - 1 }), (cut) => {
        const judge = makeHostJudge(METRICS);
        const before = run(shortRows.slice(0, cut), judge);
        const after = run(shortRows.slice(cut), loadHostJudge(structuredClone(saveHostJudge(judge))), cut);
        expect([...before.scores, ...after.scores]).toEqual(SHORT.scores);
        expect([...before.alerts, ...after.alerts]).toEqual(SHORT.alerts);
      }),
      { numRuns: 12 },
    );
  });

  test("do not depend on the units of the metrics", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -20, max: 30 }), { minLength: METRICS, maxLength: METRICS }), (powers) => {
        const { scores } = run(shortRows.map((row) => row.map((value, metric) => value * 2 ** (powers[metric] ?? 0))));
        scores.forEach((score, row) => {
          expect(score).toBeCloseTo(SHORT.scores[row] as number, 3);
        });
      }),
      { numRuns: 6 },
    );
  });

  test("hardly depend on what is added to a metric", () => {
    const { alerts } = run(shortRows.map((row) => row.map((value) => value + 500)));
    expect(alerts).toEqual(SHORT.alerts);
  });

  test("do not depend on the order of the metrics", () => {
    expect(run(shortRows.map((row) => row.toReversed())).scores).toEqual(SHORT.scores);
  });

  test("do not depend on the day on which a host began", () => {
    const judge = makeHostJudge(METRICS);
    expect(run(shortRows, judge, 1000 * DAY_ROWS).scores).toEqual(SHORT.scores);
  });

  test("do not change when rows come twice", () => {
    const judge = makeHostJudge(METRICS);
    const scores = shortRows.map((values, row) => {
      const judged = judgeRow(judge, { timeUnixMs: row * STEP_MS, values }, LEVEL);
      expect(judgeRow(judge, { timeUnixMs: row * STEP_MS, values }, LEVEL)).toBeNull();
      return judged?.score;
    });
    expect(scores).toEqual(SHORT.scores);
  });

  test("stay finite whatever the values are", () => {
    const strange = fc.oneof(
      fc.double(),
      fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1e308, -1e308, 5e-324),
    );
    fc.assert(
      fc.property(
        fc.array(fc.array(strange, { minLength: 3, maxLength: 3 }), { minLength: 40, maxLength: 120 }),
        (rows) => {
          const judge = makeHostJudge(3);
          const { scores } = run([...rows, ...rows, ...rows], judge);
          for (const score of scores) expect(score >= 0 && score <= 15).toBe(true);
          const again = loadHostJudge(saveHostJudge(judge));
          expect(saveHostJudge(again)).toEqual(saveHostJudge(judge));
        },
      ),
      { numRuns: 30 },
    );
  });

  test("find the fault when a tenth of the points is missing", () => {
    const random = noise(9);
    const { alerts } = run(shortRows.map((row) => row.map((value) => (random() < -0.4 ? Number.NaN : value))));
    expect(alerts.some((row) => row >= 3 * DAY_ROWS + 20 && row <= 3 * DAY_ROWS + 23)).toBe(true);
  });
});

describe("metrics that come and go", () => {
  test("leave what is known of the others alone", () => {
    const judge = makeHostJudge(METRICS);
    run(shortRows.slice(0, 700), judge);
    pickMetrics(judge, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    const { scores } = run(
      shortRows.slice(700).map((row) => [...row, Number.NaN]),
      judge,
      700,
    );
    expect(scores).toEqual(SHORT.scores.slice(700));
  });

  test("are forgotten when they are left out", () => {
    const judge = makeHostJudge(METRICS);
    run(shortRows, judge);
    pickMetrics(judge, [7, 2]);
    expect(judge.model.metrics).toBe(2);
    const bytes = Object.values(saveHostJudge(judge)).reduce((sum, { byteLength }) => sum + byteLength, 0);
    expect(bytes).toBeLessThan(2 * 2300 + 1000);
  });

  test("are learnt when a metric returns with 1e30 once", () => {
    const rows = usualRows(6, 3).map((row, at) =>
      row.map((value, metric) => (at === 700 && metric === 0 ? 1e30 : value)),
    );
    const { alerts } = run(withFault(rows, 5 * DAY_ROWS + 50, 5 * DAY_ROWS + 60, 15));
    expect(alerts.some((row) => row >= 5 * DAY_ROWS + 50 && row <= 5 * DAY_ROWS + 52)).toBe(true);
  });
});
