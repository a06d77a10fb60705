import { type Backtest, backtestOf, planOf, residualsOf } from "./backtest.ts";
import { backtestErrors, combine, weightsFrom } from "./combine.ts";
import { type Crossing, crossingOf } from "./crossing.ts";
import { runMembers } from "./ensemble.ts";
import { fillGaps } from "./gaps.ts";
import { intervalWidths } from "./interval.ts";
import { levelShifts, withoutShifts } from "./level-shift.ts";
import { detectPeriods } from "./season.ts";
import { withoutSpikes } from "./spikes.ts";

export interface ForecastSetting {
  /** Candidate seasons in rows, as 24 and 168 for hours; those that the values do not show are not used. */
  readonly seasons: readonly number[];
  /** Rows to forecast. */
  readonly horizon: number;
  /** Reached when a value is at or above it. */
  readonly limit?: number;
  /** What the quantity cannot leave, as 0 and 1 of a utilization. A series that was never negative stays so unasked. */
  readonly bounds?: { readonly low: number; readonly high: number };
}

export interface ReadyForecast {
  readonly state: "ready";
  /** By step; step 0 is the row after the last one given. */
  readonly mean: Float64Array;
  readonly lo80: Float64Array;
  readonly hi80: Float64Array;
  readonly lo95: Float64Array;
  readonly hi95: Float64Array;
  /** Null without a limit. */
  readonly crossing: Crossing | null;
  readonly backtest: Backtest;
  /** The seasons that the values show, in rows. */
  readonly seasons: readonly number[];
  /** Of the methods; they sum to one. */
  readonly weights: Readonly<Record<string, number>>;
}

export type InsufficientReason = "no_values" | "too_short" | "too_many_gaps" | "silent";

export type Forecast = ReadyForecast | { readonly state: "insufficient_data"; readonly reason: InsufficientReason };

/** Older rows are not looked at: a month of hours is four weeks and a little, and cost grows with rows. */
export const ROWS_MAX = 720;
const COVERAGE_MIN = 0.5;
/** Methods that run away are held within so many ranges of the series beyond its extremes. */
const RUNAWAY_RANGES = 2;

const insufficient = (reason: InsufficientReason): Forecast => ({ state: "insufficient_data", reason });

const clampRunaways = (values: Float64Array, steps: Float64Array): void => {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  const room = RUNAWAY_RANGES * (high - low);
  for (let i = 0; i < steps.length; i++) steps[i] = Math.min(high + room, Math.max(low - room, steps[i] as number));
};

const largest = (values: Float64Array): number => {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
};

/**
 * Forecasts one series of equally spaced values (what is not finite is a gap) by the weighted, trimmed mean of classical methods
 * on the values and on their logarithms, weighted by their back-test. Intervals and the crossing of the limit come from the
 * back-test's errors. Same input, same answer.
 */
export const forecast = (raw: Float64Array, setting: ForecastSetting): Forecast => {
  const recent = raw.subarray(Math.max(0, raw.length - ROWS_MAX));
  const filled = fillGaps(recent, setting.seasons);
  if (filled === null) return insufficient("no_values");
  if (filled.coverage < COVERAGE_MIN) return insufficient("too_many_gaps");
  if (filled.silentRows > setting.horizon) return insufficient("silent");
  const horizon = setting.horizon + filled.silentRows;
  const plan = planOf(filled.values.length, horizon);
  if (plan === null) return insufficient("too_short");

  // Squares of what is near the largest number would not be finite.
  const unit = largest(filled.values) || 1;
  const scaled = filled.values.map((value) => value / unit);
  const calm = withoutSpikes(scaled, setting.seasons);
  const found = detectPeriods(calm, setting.seasons);
  const shifts = levelShifts(calm, found[0] ?? 1);
  const learnt = withoutShifts(calm, shifts);
  const seasons = shifts.length > 0 ? detectPeriods(learnt, setting.seasons) : found;

  const runs = runMembers(learnt, { origins: plan.origins, horizon, periods: seasons });
  // Methods learn from calm rows, but are judged by what came: spikes belong into the intervals and the odds of a limit.
  const values = withoutShifts(scaled, shifts);
  clampRunaways(values, runs.steps);
  const errors = backtestErrors(values, runs);
  const weights = weightsFrom(errors, runs.names.length, -1);
  const mean = new Float64Array(horizon);
  combine(runs, plan.origins.length - 1, weights, mean);
  const residuals = residualsOf(values, runs, errors, plan.spacing);
  const { half80, half95 } = intervalWidths(residuals);

  const bounds = setting.bounds ?? { low: scaled.every((value) => value >= 0) ? 0 : -Infinity, high: Infinity };
  const told = (sign: number, half: Float64Array): Float64Array =>
    mean
      .map((value, step) => inside((value + sign * (half[step] as number)) * unit, bounds))
      .subarray(filled.silentRows);
  return {
    state: "ready",
    mean: told(0, half80),
    lo80: told(-1, half80),
    hi80: told(1, half80),
    lo95: told(-1, half95),
    hi95: told(1, half95),
    crossing:
      setting.limit === undefined
        ? null
        : crossingOf(mean, residuals, { limit: setting.limit / unit, skipped: filled.silentRows }),
    backtest: backtestOf(values, runs, residuals, seasons[0] ?? 1),
    seasons,
    weights: Object.fromEntries(runs.names.map((name, index) => [name, weights[index] as number])),
  };
};

const inside = (value: number, { low, high }: { readonly low: number; readonly high: number }): number =>
  Math.min(high, Number.MAX_VALUE, Math.max(low, -Number.MAX_VALUE, value));
