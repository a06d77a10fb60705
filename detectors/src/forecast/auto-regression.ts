import { meanOf } from "./line.ts";
import type { Member } from "./member.ts";

/** A day of hours and a little. */
const ORDER_MAX = 26;

interface AutoRegression {
  readonly mean: number;
  readonly weights: Float64Array;
}

/** Yule-Walker by Levinson's recursion; the order by Akaike's criterion. */
const fitAutoRegression = (values: Float64Array): AutoRegression => {
  const count = values.length;
  const mean = meanOf(values);
  const rest = new Float64Array(count);
  for (let i = 0; i < count; i++) rest[i] = (values[i] as number) - mean;
  const orders = Math.min(ORDER_MAX, count >> 2);
  const covariance = new Float64Array(orders + 1);
  for (let lag = 0; lag <= orders; lag++) {
    let sum = 0;
    for (let i = lag; i < count; i++) sum += (rest[i] as number) * (rest[i - lag] as number);
    covariance[lag] = sum / count;
  }
  let error = covariance[0] as number;
  const weights = new Float64Array(orders);
  const before = new Float64Array(orders);
  let best = new Float64Array(0);
  if (!(error > 0)) return { mean, weights: best };
  let least = count * Math.log(error);
  for (let order = 1; order <= orders; order++) {
    let sum = covariance[order] as number;
    for (let j = 1; j < order; j++) sum -= (weights[j - 1] as number) * (covariance[order - j] as number);
    const reflection = sum / error;
    before.set(weights);
    weights[order - 1] = reflection;
    for (let j = 1; j < order; j++)
      weights[j - 1] = (before[j - 1] as number) - reflection * (before[order - j - 1] as number);
    error *= 1 - reflection * reflection;
    if (!(error > 0)) break;
    const criterion = count * Math.log(error) + 2 * order;
    if (criterion < least) {
      least = criterion;
      best = weights.slice(0, order);
    }
  }
  return { mean, weights: best };
};

const continueSeries = (values: Float64Array, { mean, weights }: AutoRegression, out: Float64Array): void => {
  const order = weights.length;
  const path = new Float64Array(order + out.length);
  for (let i = 0; i < order; i++) path[i] = (values[values.length - order + i] as number) - mean;
  for (let step = 0; step < out.length; step++) {
    let next = 0;
    for (let j = 0; j < order; j++) next += (weights[j] as number) * (path[order + step - 1 - j] as number);
    path[order + step] = next;
    out[step] = next + mean;
  }
};

/** Returns to its mean. */
export const autoRegression: Member = {
  name: "ar",
  seesAdjusted: true,
  fit: (first) => {
    const model = fitAutoRegression(first.adjusted);
    return ({ adjusted }, out) => {
      continueSeries(adjusted, { mean: meanOf(adjusted), weights: model.weights }, out);
    };
  },
};

const differences = (values: Float64Array): Float64Array => {
  const steps = new Float64Array(values.length - 1);
  for (let i = 0; i < steps.length; i++) steps[i] = (values[i + 1] as number) - (values[i] as number);
  return steps;
};

/** The same of the steps from row to row: it goes on from where the series stands, with its mean step as drift. */
export const autoRegressionOfSteps: Member = {
  name: "ar_steps",
  seesAdjusted: true,
  fit: (first) => {
    const model = fitAutoRegression(differences(first.adjusted));
    return ({ adjusted }, out) => {
      const steps = differences(adjusted);
      continueSeries(steps, { mean: meanOf(steps), weights: model.weights }, out);
      let level = adjusted[adjusted.length - 1] as number;
      for (let step = 0; step < out.length; step++) {
        level += out[step] as number;
        out[step] = level;
      }
    };
  },
};
