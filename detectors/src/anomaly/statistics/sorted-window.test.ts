import fc from "fast-check";
import { expect, test } from "vitest";
import { insertSorted, removeSorted, sortedMedian } from "./sorted-window.ts";

test("a sorted window is what sorting anew gives, and touches nothing around it", () => {
  const value = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.float({ noNaN: true, min: -1000, max: 1000 }));
  fc.assert(
    fc.property(fc.array(value, { minLength: 1, maxLength: 60 }), fc.integer({ min: 1, max: 12 }), (values, width) => {
      const cells = new Float32Array(width + 3).fill(7e7);
      let count = 0;
      values.forEach((next, index) => {
        if (index >= width) removeSorted(cells, 1, count--, Math.fround(values[index - width] ?? 0));
        insertSorted(cells, 1, count++, next);
        const newest = Float32Array.from(values.slice(Math.max(0, index + 1 - width), index + 1)).sort();
        expect([...cells.subarray(1, 1 + count)].map((one) => one + 0)).toEqual([...newest].map((one) => one + 0));
        expect(sortedMedian(cells, 1, count)).toBe(cells[1 + (count >>> 1)]);
      });
      expect([cells[0], cells[width + 2]]).toEqual([7e7, 7e7]);
    }),
  );
});
