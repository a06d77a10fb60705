import { expect, test } from "vitest";
import { levelShifts, withoutShifts } from "./level-shift.ts";
import { seriesOf } from "./series.fixture.ts";

const cleaned = seriesOf({ rows: 300, seed: 1, level: 40, growth: 0.1 }).map(
  (value, row) => value - (row >= 200 ? 30 : 0),
);

test("a clean-up is found at its row", () => {
  expect(levelShifts(cleaned, 24)).toEqual([200]);
});

test("a jump upwards is found as well", () => {
  expect(
    levelShifts(
      cleaned.map((value) => -value),
      24,
    ),
  ).toEqual([200]);
});

test("without it, what came before joins on, and the last stretch is as it was", () => {
  const aligned = withoutShifts(cleaned, [200]);
  expect(aligned.subarray(200)).toEqual(cleaned.subarray(200));
  expect(Math.abs((aligned[200] ?? 0) - (aligned[199] ?? 0))).toBeLessThan(2);
  expect((aligned[299] ?? 0) - (aligned[0] ?? 0)).toBeGreaterThan(25);
});

test.each([
  ["noise", seriesOf({ rows: 300, seed: 2 })],
  ["a growth", seriesOf({ rows: 300, seed: 2, growth: 0.5 })],
  [
    "a spike that comes back",
    seriesOf({ rows: 300, seed: 2 }).map((value, row) => (row >= 150 && row < 154 ? value + 50 : value)),
  ],
  [
    "a saw with the teeth of one day",
    seriesOf({ rows: 300, seed: 2, noise: 0.1 }).map((value, row) => value + (row % 24)),
  ],
  [
    "a fall in the last rows, which may come back",
    seriesOf({ rows: 300, seed: 2 }).map((value, row) => (row >= 297 ? value - 50 : value)),
  ],
  ["a constant", new Float64Array(300).fill(7)],
  ["a short series", cleaned.slice(190, 210)],
] as const)("%s is no shift", (_, values) => {
  expect(levelShifts(values, 24)).toEqual([]);
});
