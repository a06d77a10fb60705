import { forecast } from "@homeostat/detectors";

const SERIES = 200;
const ROWS = 700;
const HORIZON = 48;
/** One more is run first, so that the compiler's work is not measured. */
const RUNS = 5;

/** A small generator (Marsaglia 2003, xorshift32): the same series on every machine. */
const uniformFrom = (seed: number): (() => number) => {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
};

/** A month of hours of a busy server: days, weeks, a slow growth, noise that lingers. */
const seriesOf = (seed: number): Float64Array => {
  const uniform = uniformFrom(seed);
  const daily = 5 + 20 * uniform();
  const weekly = 10 * uniform();
  const growth = 0.02 * uniform();
  let lingering = 0;
  return Float64Array.from({ length: ROWS }, (_, hour) => {
    lingering = 0.8 * lingering + 4 * (uniform() - 0.5);
    const isWeekend = Math.floor(hour / 24) % 7 > 4;
    return 60 + growth * hour + daily * Math.sin((hour * Math.PI) / 12) - (isWeekend ? weekly : 0) + lingering;
  });
};

const runOnce = (all: readonly Float64Array[]): number => {
  const before = process.cpuUsage();
  for (const series of all) forecast(series, { seasons: [24, 168], horizon: HORIZON, limit: 120 });
  const { user, system } = process.cpuUsage(before);
  return all.length / ((user + system) / 1_000_000);
};

/** Forecasts of hourly series of 700 points, 48 steps ahead, per CPU-second of this process; the median of several runs. */
export const forecastSpeed = async (): Promise<{ readonly forecast_series_per_cpu_s: number }> => {
  const all = Array.from({ length: SERIES }, (_, index) => seriesOf(index + 1));
  runOnce(all);
  const runs = Array.from({ length: RUNS }, () => runOnce(all)).sort((a, b) => a - b);
  return { forecast_series_per_cpu_s: Math.round(runs[RUNS >> 1] ?? 0) };
};
