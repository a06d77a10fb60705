import { autoRegression, autoRegressionOfSteps } from "./auto-regression.ts";
import { lagRegression, lagRegressionOfSteps } from "./lag-regression.ts";
import type { Known, Member, Predict } from "./member.ts";
import { addSeason, decompose } from "./season.ts";
import { seasonalMedian } from "./seasonal-median.ts";
import { seasonalSmoothing } from "./seasonal-smoothing.ts";
import { damped, theta } from "./smoothing.ts";

const MEMBERS: readonly Member[] = [
  theta,
  damped,
  autoRegression,
  autoRegressionOfSteps,
  seasonalSmoothing,
  lagRegression,
  lagRegressionOfSteps,
  seasonalMedian,
];

/** What every method says at every origin, one row of `horizon` numbers after another; NaN where it says nothing. */
export interface Runs {
  readonly names: readonly string[];
  /** Rows known at each origin, ascending; the last is the whole series: its runs are the forecast, the others the back-test. */
  readonly origins: readonly number[];
  readonly horizon: number;
  /** By origin, then by method, then by step. */
  readonly steps: Float64Array;
}

const knownAt = (values: Float64Array, origin: number, periods: readonly number[]): Known => {
  const known = values.slice(0, origin);
  const seasons = decompose(known, periods);
  const adjusted = known.slice();
  for (const season of seasons) addSeason(adjusted, season, -1);
  return { values: known, seasons, adjusted };
};

/** Parameters are fitted at the first origin for the whole back-test, so that none of it has seen what it foretells, and anew for the forecast. */
const runScale = (runs: Runs, values: Float64Array, periods: readonly number[], offset: number): void => {
  const { origins, horizon, steps, names } = runs;
  let predict: readonly (Predict | null)[] = [];
  origins.forEach((origin, row) => {
    const known = knownAt(values, origin, periods);
    if (row === 0 || row === origins.length - 1) predict = MEMBERS.map((member) => member.fit(known));
    MEMBERS.forEach(({ seesAdjusted }, index) => {
      const at = (row * names.length + offset + index) * horizon;
      const out = steps.subarray(at, at + horizon);
      predict[index]?.(known, out);
      if (seesAdjusted) for (const season of known.seasons) addSeason(out, season, 1, origin);
    });
  });
};

/** Runs every method at every origin, on the values and, where all are positive, on their logarithms. */
export const runMembers = (
  values: Float64Array,
  setting: { readonly origins: readonly number[]; readonly horizon: number; readonly periods: readonly number[] },
): Runs => {
  const isPositive = values.every((value) => value > 0);
  const plain = MEMBERS.map(({ name }) => name);
  const names = isPositive ? [...plain, ...plain.map((name) => `${name}_log`)] : plain;
  const { origins, horizon, periods } = setting;
  const steps = new Float64Array(origins.length * names.length * horizon).fill(Number.NaN);
  const runs: Runs = { names, origins, horizon, steps };
  runScale(runs, values, periods, 0);
  if (isPositive) {
    runScale(runs, values.map(Math.log), periods, plain.length);
    exponentiate(runs, plain.length);
  }
  return runs;
};

const exponentiate = ({ origins, names, horizon, steps }: Runs, offset: number): void => {
  for (let row = 0; row < origins.length; row++) {
    const from = (row * names.length + offset) * horizon;
    const to = (row + 1) * names.length * horizon;
    for (let at = from; at < to; at++) steps[at] = Math.exp(steps[at] as number);
  }
};
