import { meanOf } from "./line.ts";
import type { Member } from "./member.ts";
import type { Season } from "./season.ts";

/** Rows just before. */
const NEAR = 6;
/** Rows on either side of one period before. */
const AROUND = 1;
/** Two periods before are looked at with at least so many cycles. */
const CYCLES_FOR_SECOND = 4;
/** Ridge, as a share of the lags' mean sum of squares: it steadies lags that say the same. */
const RIDGE = 1e-3;

const lagsFor = (count: number, periods: readonly number[]): Int32Array => {
  const lags = new Set<number>();
  for (let lag = 1; lag <= NEAR; lag++) lags.add(lag);
  for (const period of periods) {
    for (let beside = -AROUND; beside <= AROUND; beside++) {
      lags.add(period + beside);
      if (count > CYCLES_FOR_SECOND * period) lags.add(2 * period + beside);
    }
  }
  return Int32Array.from([...lags].filter((lag) => lag > 0)).sort();
};

/** Solves `matrix · x = right` in place of `right`; the matrix (row by row, lower half) is positive definite. */
const solve = (matrix: Float64Array, right: Float64Array): void => {
  const size = right.length;
  for (let row = 0; row < size; row++) {
    for (let column = 0; column <= row; column++) {
      let sum = matrix[row * size + column] as number;
      for (let k = 0; k < column; k++)
        sum -= (matrix[row * size + k] as number) * (matrix[column * size + k] as number);
      matrix[row * size + column] =
        row === column ? Math.sqrt(Math.max(sum, Number.MIN_VALUE)) : sum / (matrix[column * size + column] as number);
    }
  }
  for (let row = 0; row < size; row++) {
    let sum = right[row] as number;
    for (let k = 0; k < row; k++) sum -= (matrix[row * size + k] as number) * (right[k] as number);
    right[row] = sum / (matrix[row * size + row] as number);
  }
  for (let row = size - 1; row >= 0; row--) {
    let sum = right[row] as number;
    for (let k = row + 1; k < size; k++) sum -= (matrix[k * size + row] as number) * (right[k] as number);
    right[row] = sum / (matrix[row * size + row] as number);
  }
};

/**
 * The sum of `rest[i - lag] · rest[i - other]` over the rows from `from` on. Where that of both lags less one is known, only the ends differ:
 * one product comes in and one goes.
 */
const productOf = (rest: Float64Array, from: number, lag: number, other: number, known: number): number => {
  if (!Number.isNaN(known)) {
    const end = rest.length;
    const comes = (rest[from - lag] as number) * (rest[from - other] as number);
    return known + comes - (rest[end - lag] as number) * (rest[end - other] as number);
  }
  let sum = 0;
  for (let i = from; i < rest.length; i++) sum += (rest[i - lag] as number) * (rest[i - other] as number);
  return sum;
};

const regress = (values: Float64Array, lags: Int32Array): Float64Array => {
  const size = lags.length;
  const mean = meanOf(values);
  const rest = values.map((value) => value - mean);
  const from = lags[size - 1] as number;
  const matrix = new Float64Array(size * size);
  const weights = new Float64Array(size);
  const follows = (at: number): boolean => at > 0 && lags[at] === (lags[at - 1] as number) + 1;
  const knownBefore = (row: number, column: number): number =>
    follows(row) && follows(column) ? (matrix[(row - 1) * size + column - 1] as number) : Number.NaN;
  let trace = 0;
  for (let row = 0; row < size; row++) {
    const lag = lags[row] as number;
    let product = 0;
    for (let i = from; i < rest.length; i++) product += (rest[i - lag] as number) * (rest[i] as number);
    weights[row] = product;
    for (let column = 0; column <= row; column++)
      matrix[row * size + column] = productOf(rest, from, lag, lags[column] as number, knownBefore(row, column));
    trace += matrix[row * size + row] as number;
  }
  for (let row = 0; row < size; row++)
    matrix[row * size + row] = (matrix[row * size + row] as number) + (RIDGE * trace) / size + Number.MIN_VALUE;
  solve(matrix, weights);
  return weights;
};

interface LagModel {
  readonly lags: Int32Array;
  readonly weights: Float64Array;
}

/** Null when there are too few rows for so many lags. */
const fitLags = (values: Float64Array, periods: readonly number[]): LagModel | null => {
  const lags = lagsFor(values.length, periods);
  const reach = lags[lags.length - 1] as number;
  return values.length - reach < 2 * lags.length ? null : { lags, weights: regress(values, lags) };
};

/** Steps are chained: each is known to the next. */
const continueByLags = (values: Float64Array, { lags, weights }: LagModel, out: Float64Array): void => {
  const reach = lags[lags.length - 1] as number;
  const mean = meanOf(values);
  const path = new Float64Array(reach + out.length);
  for (let i = 0; i < reach; i++) path[i] = (values[values.length - reach + i] as number) - mean;
  for (let step = 0; step < out.length; step++) {
    let next = 0;
    for (let j = 0; j < lags.length; j++)
      next += (weights[j] as number) * (path[reach + step - (lags[j] as number)] as number);
    path[reach + step] = next;
    out[step] = next + mean;
  }
};

const periodsOf = (seasons: readonly Season[]): readonly number[] => seasons.map(({ period }) => period);

/** Least squares on the rows just before and around one and two periods before, on the values themselves. */
export const lagRegression: Member = {
  name: "lag_regression",
  seesAdjusted: false,
  fit: (first) => {
    const model = fitLags(first.values, periodsOf(first.seasons));
    return model && (({ values }, out) => continueByLags(values, model, out));
  },
};

const seasonalSteps = (values: Float64Array, period: number): Float64Array => {
  const steps = new Float64Array(values.length - period);
  for (let i = 0; i < steps.length; i++) steps[i] = (values[i + period] as number) - (values[i] as number);
  return steps;
};

/** The same of the steps from one period to the next, the shortest: it takes the pattern from the last period. */
export const lagRegressionOfSteps: Member = {
  name: "lag_regression_steps",
  seesAdjusted: false,
  fit: (first) => {
    const period = first.seasons[0]?.period;
    if (period === undefined) return null;
    const model = fitLags(seasonalSteps(first.values, period), periodsOf(first.seasons));
    return (
      model &&
      (({ values }, out) => {
        continueByLags(seasonalSteps(values, period), model, out);
        for (let step = 0; step < out.length; step++) {
          const before = step < period ? values[values.length - period + step] : out[step - period];
          out[step] = (out[step] as number) + (before as number);
        }
      })
    );
  },
};
