import { BYTES_PER_SERIES, growSeriesAnomaly, startSeriesAnomaly, stepSeriesAnomaly } from "@homeostat/detectors";

/** Odd, so that there is a middle one. */
const RUNS = 5;

/** Series take turns, as they do on the bus: the state of each is out of the nearest cache by its next point. */
const SERIES = 200;
const POINTS = 2016;
const STEP_MS = 300_000;
const START_UNIX_MS = 1_795_219_200_000;

/** Numerical Recipes' linear congruential generator: the same series on every machine. */
const createNoise = (seed: number): (() => number) => {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
};

/** A week of five-minute means for each series: a day's wave, noise, a rare spike. */
const generate = (): Float64Array => {
  const noise = createNoise(1);
  const values = new Float64Array(SERIES * POINTS);
  for (let row = 0; row < POINTS; row++)
    for (let slot = 0; slot < SERIES; slot++) {
      const wave = Math.sin((2 * Math.PI * row * STEP_MS) / 86_400_000 + slot);
      const spike = noise() > 0.499 ? 10 : 0;
      values[row * SERIES + slot] = 50 + 10 * wave + 2 * (noise() + noise() + noise()) + spike;
    }
  return values;
};

const pointsPerSecond = (values: Float64Array): number => {
  const state = startSeriesAnomaly();
  growSeriesAnomaly(state, SERIES);
  const before = process.cpuUsage();
  for (let row = 0; row < POINTS; row++)
    for (let slot = 0; slot < SERIES; slot++)
      stepSeriesAnomaly(state, slot, START_UNIX_MS + row * STEP_MS, values[row * SERIES + slot] ?? Number.NaN);
  const { user, system } = process.cpuUsage(before);
  return values.length / ((user + system) / 1e6);
};

/** Points of single series that one CPU-second judges, and what the state of one takes. */
export const anomalySpeed = (): { readonly anomaly_points_per_cpu_s: number; readonly bytes_per_series: number } => {
  const values = generate();
  const speeds = Array.from({ length: RUNS }, () => pointsPerSecond(values)).sort((a, b) => a - b);
  return {
    anomaly_points_per_cpu_s: Math.round(speeds[(RUNS - 1) / 2] ?? 0),
    bytes_per_series: BYTES_PER_SERIES,
  };
};
