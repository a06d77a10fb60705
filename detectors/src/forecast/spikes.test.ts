import { expect, test } from "vitest";
import { seriesOf } from "./series.fixture.ts";
import { withoutSpikes } from "./spikes.ts";

const values = seriesOf({ rows: 300, seed: 4, daily: 10 });
const withSpike = (row: number): Float64Array => values.with(row, 200);

test("a lone spike is put between its neighbours, and nothing else is touched", () => {
  const calm = withoutSpikes(withSpike(100), [24]);
  const around = [98, 99, 101, 102].map((row) => values[row] ?? Number.NaN);
  expect(calm[100]).toBeGreaterThanOrEqual(Math.min(...around));
  expect(calm[100]).toBeLessThanOrEqual(Math.max(...around));
  expect(calm.with(100, 0)).toEqual(values.with(100, 0));
});

test("what returns a season later is no spike", () => {
  const twice = withSpike(100).with(124, 200);
  expect(withoutSpikes(twice, [24])).toEqual(twice);
  expect(withoutSpikes(twice, [])).not.toEqual(twice);
});

test.each([
  ["the last rows", withSpike(299)],
  ["the first rows", withSpike(0)],
  ["a step", values.map((value, row) => (row >= 150 ? value + 200 : value))],
  ["noise", values],
  ["a constant", new Float64Array(100).fill(4)],
  ["a few rows", Float64Array.of(1, 99, 1, 1)],
] as const)("%s stay as they are", (_, given) => {
  expect(withoutSpikes(given, [24])).toEqual(given);
});
