import { expect, test } from "vitest";
import { backtestErrors, combine, weightsFrom } from "./combine.ts";
import type { Runs } from "./ensemble.ts";

/** Three methods at two origins and at the end of a series of ones: the first is right, the second off by one, the third says nothing. */
const runs: Runs = {
  names: ["right", "off", "silent"],
  origins: [2, 3, 5],
  horizon: 2,
  steps: Float64Array.from([
    1,
    1,
    2,
    2,
    Number.NaN,
    Number.NaN,
    1,
    1.5,
    2,
    2,
    Number.NaN,
    Number.NaN,
    5,
    5,
    6,
    6,
    7,
    7,
  ]),
};
const values = new Float64Array(5).fill(1);

test("errors are summed by origin and method", () => {
  expect([...backtestErrors(values, runs)]).toEqual([0, 2, Number.NaN, 0.5, 2, Number.NaN]);
});

test("weight falls with the fourth power of the error; silence weighs nothing", () => {
  const weights = weightsFrom(Float64Array.of(1, 2, Number.NaN), 3, -1);
  expect([...weights]).toEqual([16 / 17, 1 / 17, 0]);
});

test("an origin that is left out has no say in the weights", () => {
  const errors = backtestErrors(values, runs);
  expect(weightsFrom(errors, 3, 0)[1]).toBeCloseTo(1 / (1 + 4 ** 4), 2);
  expect(weightsFrom(errors, 3, 1)[1]).toBe(0);
});

test("methods without an error share the weight", () => {
  expect([...weightsFrom(Float64Array.of(0, 0, 1), 3, -1)]).toEqual([0.5, 0.5, 0]);
});

test("a method with little weight does not draw the mean, however far it is off", () => {
  const out = new Float64Array(2);
  const far: Runs = { ...runs, origins: [5], steps: Float64Array.of(5, 5, 6, 6, 1e9, -1e9) };
  combine(far, 0, Float64Array.of(0.4, 0.4, 0.2), out);
  expect(out[0]).toBeCloseTo(5.75, 9);
  expect(out[1]).toBeCloseTo(5.25, 9);
});
