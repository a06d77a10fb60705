import { describe, expect, test } from "vitest";
import { addToTail, growWeight, TAIL_BINS, tailSurprise } from "./decayed-tail.ts";

/** Quantiles of a distribution with P(X > x) = (0.6 / x)^index: a past without chance. */
const paretoPast = (rows: number, index: number) => {
  const cells = new Float32Array(TAIL_BINS);
  for (let row = 0; row < rows; row++) addToTail(cells, 0, 0.6 * ((row + 0.5) / rows) ** (-1 / index), 1);
  return { cells, at: 0, mass: rows, weight: 1 };
};

describe("the tail of the past", () => {
  test.each([1, 2, 4])("tells the rareness of what it has seen, and beyond, of a power law of index %d", (index) => {
    const past = paretoPast(5000, index);
    for (const power of [1, 2, 3, 4]) {
      const value = 0.6 * 10 ** (power / index);
      if (value < 2000) expect(Math.abs(tailSurprise(past, value) - power)).toBeLessThan(0.15 * power);
    }
  });

  test("knows nothing without rows, and of an empty tail only how long it has been empty", () => {
    const cells = new Float32Array(TAIL_BINS);
    expect(tailSurprise({ cells, at: 0, mass: 10, weight: 1 }, 50)).toBe(0);
    expect(tailSurprise({ cells, at: 0, mass: 999, weight: 1 }, 50)).toBeCloseTo(3);
  });

  test("never calls a larger value less rare", () => {
    const past = paretoPast(300, 1.5);
    let before = 0;
    for (let value = 0.5; value < 5000; value *= 1.07) {
      const surprise = tailSurprise(past, value);
      expect(surprise).toBeGreaterThanOrEqual(before - 0.35);
      before = surprise;
    }
  });

  test("takes what is out of its bins without harm", () => {
    const cells = new Float32Array(TAIL_BINS + 2);
    addToTail(cells, 1, 1e-300, 1);
    addToTail(cells, 1, 1e300, 1);
    expect([cells[0], cells[TAIL_BINS], cells[TAIL_BINS + 1]]).toEqual([0, 1, 0]);
  });

  test("forgets: a value that was common long ago is rare now", () => {
    const cells = new Float32Array(TAIL_BINS);
    let mass = 0;
    let weight = 1;
    const pass = (rows: number, value: number): void => {
      for (let row = 0; row < rows; row++) {
        addToTail(cells, 0, value, weight);
        mass += weight;
        weight = growWeight(weight, 100);
      }
    };
    pass(300, 100);
    const common = tailSurprise({ cells, at: 0, mass, weight }, 100);
    pass(1000, 1);
    expect(tailSurprise({ cells, at: 0, mass, weight }, 100)).toBeGreaterThan(common + 1.5);
  });
});
