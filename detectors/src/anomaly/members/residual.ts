import { deviationOf, judge, learnScale } from "../judge.ts";
import { N, RESIDUAL_SPANS, type SeriesAnomalies } from "../state.ts";

/** What is left after the expected value, as it is and smoothed exponentially: spikes, and faults too small for one point to show. */
export const judgeResidual = (
  state: SeriesAnomalies,
  n: number,
  c: number,
  residual: number,
  rounding: number,
): void => {
  const { numbers } = state;
  for (let member = 0; member < RESIDUAL_SPANS.length; member++) {
    const before = numbers[n + N.smooth + member] as number;
    const smooth = before + (residual - before) / (RESIDUAL_SPANS[member] as number);
    numbers[n + N.smooth + member] = smooth;
    judge(state, n, c, member, deviationOf(numbers, n, member, smooth, rounding));
    learnScale(numbers, n, member, Math.abs(smooth));
  }
};

/** The level has moved: what was smoothed before says nothing any more. */
export const forgetResidual = (numbers: Float64Array, n: number): void => {
  numbers.fill(0, n + N.smooth, n + N.smooth + RESIDUAL_SPANS.length);
};
