import { DEVIATION_MAX, judge, learnScale, WARM_ROWS } from "../judge.ts";
import { N, type SeriesAnomalies, VARIABILITY } from "../state.ts";

/** Variability is the mean of so many steps from point to point. */
const SPAN = 12;

/** Damps its ratio to the usual: standing still is 20 times less than usual, not infinitely. */
const DAMPING = 0.05;

/** How much the series moves, against how much it usually does: noise that grows, a value that is frozen. */
export const judgeVariability = (state: SeriesAnomalies, n: number, c: number, step: number): void => {
  const { numbers } = state;
  const before = numbers[n + N.smooth + VARIABILITY] as number;
  const count = numbers[n + N.count + VARIABILITY] as number;
  const smooth = before + (step - before) / Math.min(SPAN, count + 1);
  numbers[n + N.smooth + VARIABILITY] = smooth;
  const usual = numbers[n + N.scale + VARIABILITY] as number;
  let deviation = 0;
  if (count >= WARM_ROWS) {
    // A series that has always stood still does so again: that is no news, and the past is to know it.
    const share = smooth === 0 ? 0 : smooth / usual;
    const ratio = (share + DAMPING) / (1 + DAMPING);
    deviation = ratio >= 1 ? Math.min(DEVIATION_MAX, ratio - 1) : 1 - 1 / ratio;
  }
  judge(state, n, c, VARIABILITY, deviation);
  learnScale(numbers, n, VARIABILITY, smooth);
};
