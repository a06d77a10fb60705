import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { growColumns, makeColumns } from "../columns.ts";
import { gapNats } from "./arrival-gaps.ts";
import { isFall, isRise, joinRates, learnCount, learnZeros, RATE_LAYOUT, tailNats } from "./count-scales.ts";

/** P(X ≥ count) of a Poisson variable, summed. */
const poissonTail = (count: number, mean: number): number => {
  let [term, below] = [Math.exp(-mean), 0];
  for (let k = 0; k < count; k++) {
    below += term;
    term *= mean / (k + 1);
  }
  return 1 - below;
};

/** P(X ≤ count) of a negative binomial variable of this mean and shape, summed. */
const binomialHead = (count: number, mean: number, shape: number): number => {
  let term = (shape / (shape + mean)) ** shape;
  let sum = 0;
  for (let k = 0; k <= count; k++) {
    sum += term;
    term *= ((k + shape) / (k + 1)) * (mean / (shape + mean));
  }
  return sum;
};

const pair = () => {
  const columns = makeColumns(RATE_LAYOUT);
  growColumns(columns, RATE_LAYOUT, 2);
  return columns.at;
};
const limits = { factor: 3, countMin: 10, nats: 20 };

describe("the tail bound", () => {
  test.each([
    [10, 2],
    [20, 5],
    [40, 20],
    [3, 0.2],
  ])("of %i where %d are expected is above the probability, and not far", (count, mean) => {
    const bound = Math.exp(-tailNats(count, mean, 0));
    expect(bound).toBeGreaterThan(poissonTail(count, mean));
    expect(bound).toBeLessThan(poissonTail(count, mean) * 20);
  });

  test.each([
    [0, 5, 2],
    [1, 20, 4],
    [10, 100, 10],
  ])("of %i or fewer where %d are expected with shape %d holds too", (count, mean, shape) => {
    const bound = Math.exp(-tailNats(count, mean, 1 / shape));
    expect(bound).toBeGreaterThanOrEqual(binomialHead(count, mean, shape) - 1e-12);
    expect(bound).toBeLessThan(binomialHead(count, mean, shape) * 20);
  });

  test("is less sure the more the rate varies, and surer the further the count is away", () => {
    const anyMean = fc.double({ min: 0.01, max: 1000, noNaN: true });
    fc.assert(
      fc.property(anyMean, fc.double({ min: 1.5, max: 50, noNaN: true }), (mean, times) => {
        const nats = [0, 0.1, 1].map((dispersion) => tailNats(times * mean, mean, dispersion));
        expect(nats.toSorted((a, b) => b - a)).toEqual(nats);
        expect(tailNats(times * mean * 2, mean, 0.1)).toBeGreaterThan(nats[1] ?? 0);
        expect(tailNats(mean, mean, 0.1)).toBeCloseTo(0, 6);
      }),
    );
  });
});

describe("a template's counts", () => {
  test("that are nought teach the same one by one and all at once", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(100), { maxLength: 100 }), fc.nat(100), (counts, zeros) => {
        const at = pair();
        at.learnt.fill(0);
        for (const count of counts) for (const one of [0, 1]) learnCount(at, one, 0, count);
        for (let n = 0; n < zeros; n++) learnCount(at, 0, 0, 0);
        learnZeros(at, 1, 0, zeros);
        expect(at.mean[3]).toBeCloseTo(at.mean[0] ?? 0, 9);
        expect(at.square[3]).toBeCloseTo(at.square[0] ?? 0, 6);
        expect(at.learnt[3]).toBe(at.learnt[0]);
      }),
    );
  });

  test("are no news before they are known, whatever they are", () => {
    const at = pair();
    at.learnt.fill(0);
    for (let n = 0; n < 100; n++) learnCount(at, 0, 0, 20);
    expect(isRise(at, { pair: 0, scale: 0, count: 1e6 }, limits)).toBe(false);
    for (let n = 0; n < 100; n++) learnCount(at, 0, 0, 20);
    expect(isRise(at, { pair: 0, scale: 0, count: 100 }, limits)).toBe(true);
    expect(isRise(at, { pair: 0, scale: 0, count: 59 }, limits)).toBe(false);
    expect(isFall(at, { pair: 0, scale: 0, count: 0 }, { ...limits, nats: 15 })).toBe(true);
    expect(isFall(at, { pair: 0, scale: 0, count: 10 }, limits)).toBe(false);
  });

  test("of two that are joined are as those of one", () => {
    const at = pair();
    at.learnt.fill(0);
    for (let n = 0; n < 200; n++) {
      learnCount(at, 0, 0, 10);
      learnCount(at, 1, 0, 5);
    }
    joinRates(at, 0, 1);
    expect(at.mean[3]).toBeCloseTo(15, 9);
    expect(at.square[3]).toBeCloseTo(225, 9);
  });
});

test("a gap's bound is above the probability of a Poisson process, and clocks are missed sooner", () => {
  for (const times of [2, 5, 20]) expect(Math.exp(-gapNats(times, 1))).toBeGreaterThan(Math.exp(-times));
  expect(gapNats(3, 0.1)).toBeGreaterThan(gapNats(3, 1));
  expect(gapNats(0.5, 1)).toBe(0);
});
