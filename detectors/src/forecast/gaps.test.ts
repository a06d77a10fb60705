import { expect, test } from "vitest";
import { fillGaps } from "./gaps.ts";

const { NaN: gap } = Number;
const filled = (values: readonly number[], seasons: readonly number[] = []) =>
  fillGaps(Float64Array.from(values), seasons);

test("a short gap is bridged by a line", () => {
  expect(filled([1, gap, gap, 4])).toMatchObject({ values: Float64Array.of(1, 2, 3, 4), coverage: 0.5, silentRows: 0 });
});

test("a long gap is filled from one season before, the longest that reaches back into the series", () => {
  const values = [1, 2, 3, 4, 5, 6, gap, gap, gap, gap, 1];
  expect([...(filled(values, [3, 6, 24])?.values ?? [])]).toEqual([1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 1]);
});

test("a gap longer than the season repeats it", () => {
  const values = [1, 2, gap, gap, gap, gap, gap, 9];
  expect([...(filled(values, [2])?.values ?? [])]).toEqual([1, 2, 1, 2, 1, 2, 1, 9]);
});

test("gaps at the ends are cut off and told", () => {
  expect(filled([gap, Number.POSITIVE_INFINITY, 5, 6, gap, gap])).toEqual({
    values: Float64Array.of(5, 6),
    coverage: 1,
    silentRows: 2,
  });
});

test("nothing finite is nothing", () => {
  expect(filled([])).toBeNull();
  expect(filled([gap, Number.NEGATIVE_INFINITY])).toBeNull();
});
