import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUCKETS_PER_RANGE_MAX, boundsOfExponential, type ExponentialBuckets } from "./exponential-buckets.ts";

const NONE = { offset: 0, counts: [] };
const of = (more: Partial<ExponentialBuckets>): ExponentialBuckets => ({
  scale: 0,
  zeroCount: 0,
  zeroThreshold: 0,
  positive: NONE,
  negative: NONE,
  ...more,
});

describe("the bounds of an exponential histogram", () => {
  const cases: readonly [string, Partial<ExponentialBuckets>, { bounds: number[]; counts: number[] }][] = [
    ["of nothing are none", {}, { bounds: [], counts: [] }],
    ["of zeros alone are 0", { zeroCount: 3 }, { bounds: [0], counts: [3] }],
    [
      "begin with the lower bound of the first bucket",
      { positive: { offset: -1, counts: [2, 1] } },
      { bounds: [0.5, 1, 2], counts: [0, 2, 1] },
    ],
    [
      "of scale 1 are powers of the square root of two",
      { scale: 1, positive: { offset: 2, counts: [1] } },
      { bounds: [2, 2 ** 1.5], counts: [0, 1] },
    ],
    [
      "of scale -1 are powers of four",
      { scale: -1, positive: { offset: 1, counts: [1] } },
      { bounds: [4, 16], counts: [0, 1] },
    ],
    [
      "mirror negative buckets",
      { negative: { offset: 0, counts: [1, 0, 2] } },
      { bounds: [-8, -4, -2, -1], counts: [0, 2, 0, 1] },
    ],
    [
      "keep zeros apart from negative buckets",
      { zeroCount: 5, negative: { offset: 0, counts: [1] } },
      { bounds: [-2, -1, -Number.MIN_VALUE, 0], counts: [0, 1, 0, 5] },
    ],
    [
      "take a bucket into a wider zero bucket",
      { zeroCount: 5, zeroThreshold: 2, positive: { offset: 0, counts: [1, 4] } },
      { bounds: [2, 4], counts: [6, 4] },
    ],
  ];
  it.each(cases)("%s", (_name, given, { bounds, counts }) => {
    expect(boundsOfExponential(of(given))).toMatchObject({ bounds, counts });
  });

  it("of a range that is too long are made coarser until it fits, and both ranges alike", () => {
    const counts = new Array<number>(BUCKETS_PER_RANGE_MAX * 2).fill(1);
    const result = boundsOfExponential(
      of({ scale: 3, positive: { offset: 0, counts }, negative: { offset: 4, counts: [7] } }),
    );
    const positive = (result?.bounds ?? []).filter((bound) => bound > 0);
    // One more than buckets: the first is a lower bound.
    expect(positive.length).toBe(BUCKETS_PER_RANGE_MAX + 1);
    expect((positive[2] ?? 0) / (positive[1] ?? 1)).toBeCloseTo(2 ** 0.25, 12);
    expect(result?.bounds.filter((bound) => bound < 0)).toEqual([-(2 ** 0.75), -(2 ** 0.5)]);
  });

  const extremes: readonly [string, Partial<ExponentialBuckets>][] = [
    ["an index beyond the largest double", { positive: { offset: 5000, counts: [1] } }],
    ["an index below the smallest double", { positive: { offset: -5000, counts: [1] } }],
    ["a scale that is no scale", { scale: -(2 ** 31), positive: { offset: 7, counts: [1] } }],
  ];
  it.each(extremes)("of %s there are none", (_name, given) => {
    expect(boundsOfExponential(of(given))).toBeNull();
  });

  it("ascend strictly and hold every count, whatever the buckets", () => {
    const range = fc.record({
      offset: fc.integer({ min: -600, max: 600 }),
      counts: fc.array(fc.nat({ max: 3 }), { maxLength: 400 }),
    });
    const buckets = fc.record({
      scale: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 })),
      zeroCount: fc.nat({ max: 2 }),
      zeroThreshold: fc.double({ min: 0, max: 100, noNaN: true }),
      positive: range,
      negative: range,
    });
    fc.assert(
      fc.property(buckets, (given) => {
        const result = boundsOfExponential(given);
        if (result === null) return;
        const { bounds, counts } = result;
        expect(counts.length).toBe(bounds.length);
        for (let index = 1; index < bounds.length; index++)
          expect(bounds[index]).toBeGreaterThan(bounds[index - 1] ?? Number.NaN);
        const sum = (list: readonly number[]): number => list.reduce((total, count) => total + count, 0);
        expect(sum(counts)).toBe(sum(given.positive.counts) + sum(given.negative.counts) + given.zeroCount);
      }),
      { numRuns: 400 },
    );
  });
});
