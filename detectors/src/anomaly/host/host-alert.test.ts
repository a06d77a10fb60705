import { expect, test } from "vitest";
import { decide, makeHostAlert } from "./host-alert.ts";

const MINUTE_MS = 60_000;

/** What is decided for these scores, after a quiet time of so many minutes. */
const decisions = (scores: readonly number[], quietMinutes = 2000): boolean[] => {
  const alert = makeHostAlert();
  const all = [...new Array(quietMinutes).fill(0), ...scores];
  return all
    .map((score, row) =>
      decide(alert, { timeUnixMs: row * MINUTE_MS, elapsedMs: row === 0 ? 0 : MINUTE_MS, score, level: 1 }),
    )
    .slice(quietMinutes);
};

const runsIn = (decided: readonly boolean[]): number =>
  decided.filter((isOn, row) => isOn && decided[row - 1] !== true).length;

test("a score above the level is an alert at once", () => {
  expect(decisions([0.9, 1.1])).toEqual([false, true]);
});

test("a score that stays a little below the level is an alert after a few rows", () => {
  expect(decisions(new Array(8).fill(0.9)).indexOf(true)).toBe(7);
  expect(decisions([0.9, 0.9, 0.9, 0, 0, 0, 0])).not.toContain(true);
  expect(decisions(new Array(100).fill(0.79))).not.toContain(true);
});

test("a score far above the level does not begin a second alert after it", () => {
  expect(runsIn(decisions([100, 100, 0, 0, 0, 0, 0, 0.75, 0.75]))).toBe(1);
});

test("a score that dips below the level for a few rows is one alert", () => {
  expect(runsIn(decisions([2, 0, 0, 0, 2, 0.85, 0.85, 0.85, 0.85, 0.85, 0.85, 2]))).toBe(1);
});

test("an alert ends at the fifth calm row", () => {
  expect(decisions([2, 0, 0, 0, 0, 0, 0])).toEqual([true, true, true, true, true, false, false]);
});

test("an alert that comes again and again needs a higher score", () => {
  const flapping = Array.from({ length: 300 }, (_, row) => (row % 10 === 0 ? 1.3 : 0));
  expect(runsIn(decisions(flapping))).toBeLessThan(6);
  expect(runsIn(decisions(flapping.map((score) => score * 100)))).toBeGreaterThan(15);
});

test("doubt is forgiven after quiet days", () => {
  const flapping = Array.from({ length: 60 }, (_, row) => (row % 10 === 0 ? 1.3 : 0));
  const later = decisions([...flapping, ...new Array(3 * 1440).fill(0), 1.1]);
  expect(later.at(-1)).toBe(true);
});

test("nothing is said during the first day", () => {
  expect(decisions([5, 5, 5], 1000)).toEqual([false, false, false]);
});

test("an alert does not last longer than two days", () => {
  const decided = decisions(new Array(3 * 1440).fill(5));
  expect(decided.indexOf(false)).toBe(2 * 1440);
});
