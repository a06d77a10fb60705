import type { Runs } from "./ensemble.ts";

/** Weight falls with this power of the back-test's error: steep enough to leave a method that fails, flat enough not to trust luck. */
const STEEPNESS = 4;

/** Of the weight, this share is cut off at each end before the mean is taken. */
const TRIM = 0.3;

/** Error of each method at each origin of the back-test: the sum over the steps that can be checked. */
export const backtestErrors = (values: Float64Array, { names, origins, horizon, steps }: Runs): Float64Array => {
  const errors = new Float64Array((origins.length - 1) * names.length);
  for (let row = 0; row < origins.length - 1; row++) {
    const origin = origins[row] as number;
    const known = Math.min(horizon, values.length - origin);
    for (let method = 0; method < names.length; method++) {
      const at = (row * names.length + method) * horizon;
      let sum = 0;
      for (let step = 0; step < known; step++)
        sum += Math.abs((steps[at + step] as number) - (values[origin + step] as number));
      errors[row * names.length + method] = sum;
    }
  }
  return errors;
};

/** Weights from all origins but `without` (-1: from all); they sum to one. A method that said nothing finite weighs nought. */
export const weightsFrom = (errors: Float64Array, methods: number, without: number): Float64Array => {
  const weights = new Float64Array(methods);
  const rows = errors.length / methods;
  let least = Number.POSITIVE_INFINITY;
  for (let method = 0; method < methods; method++) {
    let sum = 0;
    for (let row = 0; row < rows; row++)
      if (row !== without || rows === 1) sum += errors[row * methods + method] as number;
    weights[method] = sum;
    if (sum < least) least = sum;
  }
  let total = 0;
  for (let method = 0; method < methods; method++) {
    const error = weights[method] as number;
    const weight = error === least ? 1 : (least / error) ** STEEPNESS;
    weights[method] = Number.isFinite(weight) ? weight : 0;
    total += weights[method] as number;
  }
  for (let method = 0; method < methods; method++) weights[method] = (weights[method] as number) / total;
  return weights;
};

/** The weighted mean of the middle of what the methods say, step by step. */
export const combine = (runs: Runs, row: number, weights: Float64Array, out: Float64Array): void => {
  const { names, horizon, steps } = runs;
  const said = new Float64Array(names.length);
  const weight = new Float64Array(names.length);
  for (let step = 0; step < horizon; step++) {
    let count = 0;
    for (let method = 0; method < names.length; method++) {
      const value = steps[(row * names.length + method) * horizon + step] as number;
      const heft = weights[method] as number;
      if (heft === 0 || Number.isNaN(value)) continue;
      let at = count++;
      for (; at > 0 && (said[at - 1] as number) > value; at--) {
        said[at] = said[at - 1] as number;
        weight[at] = weight[at - 1] as number;
      }
      said[at] = value;
      weight[at] = heft;
    }
    out[step] = trimmedMean(said, weight, count);
  }
};

/** Of values in ascending order. */
const trimmedMean = (values: Float64Array, weights: Float64Array, count: number): number => {
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[i] as number;
  const from = total * TRIM;
  const to = total * (1 - TRIM);
  let passed = 0;
  let sum = 0;
  let share = 0;
  for (let i = 0; i < count; i++) {
    const weight = weights[i] as number;
    const inside = Math.min(to, passed + weight) - Math.max(from, passed);
    if (inside > 0) {
      sum += inside * (values[i] as number);
      share += inside;
    }
    passed += weight;
  }
  return sum / share;
};
