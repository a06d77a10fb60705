import { combine, weightsFrom } from "./combine.ts";
import type { Runs } from "./ensemble.ts";
import type { Residuals } from "./interval.ts";

export interface Backtest {
  /** Symmetric mean absolute percentage error, 0..200. */
  readonly smape: number;
  /** Mean absolute error over that of the (seasonal) naive forecast within the series; null for a series that does not move. */
  readonly mase: number | null;
  /** Origins that were forecast from. */
  readonly origins: number;
}

/** Fewer rows before the first origin of the back-test say nothing. */
const KNOWN_ROWS_MIN = 12;
/** The first origin keeps this share of the rows. */
const KNOWN_SHARE = 0.4;
const ORIGINS_MAX = 10;
/** What is foretold must have been seen once, and once more to check. */
const ROWS_PER_STEP_MIN = 2;
/** Two origins at the least: one to weigh the methods by, one to check. */
const ORIGINS_MIN = 2;
/** Origins of the back-test lie this share of the horizon apart, where there are rows enough. */
const ORIGIN_SPACING = 1 / 3;

/** Where the back-test stands: `origins` ascending, the last the end of the series; the others lie `spacing` rows apart. */
export interface Plan {
  readonly origins: readonly number[];
  readonly spacing: number;
}

/** Null when there are too few rows to forecast so far. */
export const planOf = (rows: number, horizon: number): Plan | null => {
  const knownMin = Math.max(KNOWN_ROWS_MIN, Math.ceil(rows * KNOWN_SHARE));
  const room = rows - horizon - knownMin;
  if (room < ORIGINS_MIN - 1 || rows < ROWS_PER_STEP_MIN * horizon) return null;
  const spacing = Math.max(1, Math.min(Math.floor(horizon * ORIGIN_SPACING), Math.floor(room / (ORIGINS_MAX - 1))));
  const count = Math.min(ORIGINS_MAX, 1 + Math.floor(room / spacing));
  const origins = Array.from({ length: count }, (_, index) => rows - horizon - (count - 1 - index) * spacing);
  return { origins: [...origins, rows], spacing };
};

/** Each origin is forecast with weights that know nothing of it, so that its errors are honest. */
export const residualsOf = (values: Float64Array, runs: Runs, errors: Float64Array, spacing: number): Residuals => {
  const { horizon } = runs;
  const origins = runs.origins.length - 1;
  const residuals = new Float64Array(origins * horizon);
  for (let row = 0; row < origins; row++) {
    const out = residuals.subarray(row * horizon, (row + 1) * horizon);
    combine(runs, row, weightsFrom(errors, runs.names.length, row), out);
    const origin = runs.origins[row] as number;
    for (let step = 0; step < horizon; step++) out[step] = (values[origin + step] as number) - (out[step] as number);
  }
  return { origins, horizon, errors: residuals, windows: 1 + ((origins - 1) * spacing) / horizon };
};

export const backtestOf = (
  values: Float64Array,
  runs: Runs,
  { errors, origins, horizon }: Residuals,
  season: number,
): Backtest => {
  let absolute = 0;
  let percentage = 0;
  for (let row = 0; row < origins; row++) {
    for (let step = 0; step < horizon; step++) {
      const error = errors[row * horizon + step] as number;
      const value = values[(runs.origins[row] as number) + step] as number;
      const size = Math.abs(value) + Math.abs(value - error);
      absolute += Math.abs(error);
      percentage += size > 0 ? (200 * Math.abs(error)) / size : 0;
    }
  }
  let naive = 0;
  for (let i = season; i < values.length; i++)
    naive += Math.abs((values[i] as number) - (values[i - season] as number));
  naive /= values.length - season;
  const count = origins * horizon;
  return { smape: percentage / count, mase: naive > 0 ? absolute / count / naive : null, origins };
};
