import { meanOf, slopeOf } from "./line.ts";

/** One seasonal pattern: what is added at row i is `index[i % period]`; the indices sum to nought. */
export interface Season {
  readonly period: number;
  readonly index: Float64Array;
}

/** Below this many whole cycles a pattern cannot be told from chance. */
const CYCLES_MIN = 2;

/** One-sided 10 % point of the normal distribution: a pattern that is let in by chance is shrunk to little. */
const CRITICAL = 1.28;

/** A cycle counts this much less than the one after it, so that a pattern which changes is followed. */
const CYCLE_DECAY = 0.9;

/** Of the largest value: what moves less is constant but for rounding. */
const ROUNDING = 1e-12;

const detrended = (values: Float64Array): Float64Array => {
  const middle = (values.length - 1) / 2;
  const mean = meanOf(values);
  const slope = slopeOf(values);
  return values.map((value, i) => value - mean - slope * (i - middle));
};

const sumOfProducts = (values: Float64Array, lag: number): number => {
  let sum = 0;
  for (let i = lag; i < values.length; i++) sum += (values[i] as number) * (values[i - lag] as number);
  return sum;
};

/**
 * Of the candidate periods (in rows) those at which the series without its linear trend correlates with itself,
 * shortest first; a test by Bartlett's variance, as used for Naive2 in M4 (Makridakis et al. 2020).
 */
export const detectPeriods = (values: Float64Array, candidates: readonly number[]): readonly number[] => {
  const possible = [...new Set(candidates)]
    .filter((period) => Number.isInteger(period) && period > 1 && values.length >= (CYCLES_MIN + 1) * period)
    .sort((a, b) => a - b);
  const longest = possible.at(-1);
  if (longest === undefined) return [];
  const rest = detrended(values);
  const variance = sumOfProducts(rest, 0);
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (!(variance > values.length * (ROUNDING * largest) ** 2)) return [];
  const periods: number[] = [];
  let squares = 0;
  for (let lag = 1; lag <= longest; lag++) {
    const correlation = sumOfProducts(rest, lag) / variance;
    if (possible.includes(lag) && correlation > CRITICAL * Math.sqrt((1 + 2 * squares) / values.length))
      periods.push(lag);
    squares += correlation * correlation;
  }
  return periods;
};

/** What a centred mean over one period leaves of the values; only the rows in which its window fits. */
interface Rest {
  readonly values: Float64Array;
  /** Row of the first value. */
  readonly from: number;
}

const withoutTrend = (values: Float64Array, period: number): Rest => {
  const half = period >> 1;
  const rest = new Float64Array(Math.max(0, values.length - 2 * half));
  let sum = 0;
  for (let i = 0; i < 2 * half; i++) sum += values[i] as number;
  for (let i = 0; i < rest.length; i++) {
    const first = values[i] as number;
    const last = values[i + 2 * half] as number;
    // An even window has one row too many: the two at its ends count half.
    const inside = period % 2 === 1 ? sum + last : sum + (last - first) / 2;
    rest[i] = (values[i + half] as number) - inside / period;
    sum += last - first;
  }
  return { values: rest, from: half };
};

/**
 * Means per phase, recent cycles first in weight, shrunk towards nought as far as chance alone would spread them
 * (James-Stein; Miller & Williams 2003).
 */
const seasonalIndex = ({ values, from }: Rest, period: number): Float64Array => {
  const index = new Float64Array(period);
  const weights = new Float64Array(period);
  const squares = new Float64Array(period);
  let weight = 1;
  for (let last = values.length; last > 0; last -= period) {
    const first = Math.max(0, last - period);
    for (let i = first, phase = (from + first) % period; i < last; i++) {
      index[phase] = (index[phase] as number) + weight * (values[i] as number);
      weights[phase] = (weights[phase] as number) + weight;
      squares[phase] = (squares[phase] as number) + weight * weight;
      phase = phase + 1 === period ? 0 : phase + 1;
    }
    weight *= CYCLE_DECAY;
  }
  for (let phase = 0; phase < period; phase++)
    if ((weights[phase] as number) > 0) index[phase] = (index[phase] as number) / (weights[phase] as number);
  return shrunk({ values, from }, index, { squares, weights });
};

const shrunk = (
  { values, from }: Rest,
  index: Float64Array,
  { squares, weights }: { readonly squares: Float64Array; readonly weights: Float64Array },
): Float64Array => {
  const period = index.length;
  let residual = 0;
  for (let i = 0, phase = from % period; i < values.length; i++) {
    residual += ((values[i] as number) - (index[phase] as number)) ** 2;
    phase = phase + 1 === period ? 0 : phase + 1;
  }
  const variance = residual / Math.max(1, values.length - period);
  let mean = 0;
  for (let phase = 0; phase < period; phase++) mean += (index[phase] as number) / period;
  let between = 0;
  let chance = 0;
  for (let phase = 0; phase < period; phase++) {
    index[phase] = (index[phase] as number) - mean;
    between += (index[phase] as number) ** 2;
    const weight = weights[phase] as number;
    chance += weight > 0 ? (variance * (squares[phase] as number)) / (weight * weight) : variance;
  }
  const kept = between > 0 ? Math.max(0, 1 - chance / between) : 0;
  for (let phase = 0; phase < period; phase++) index[phase] = (index[phase] as number) * kept;
  return index;
};

/** Rounds of taking each pattern from what the others leave. */
const ROUNDS = 2;

/** Additive decomposition for several periods, shortest first, around one moving average (cf. MSTL; Bandara, Hyndman & Bergmeir 2021). */
export const decompose = (values: Float64Array, periods: readonly number[]): readonly Season[] => {
  const fitting = periods.filter((period) => values.length >= CYCLES_MIN * period);
  const longest = fitting.at(-1);
  if (longest === undefined) return [];
  const rest = withoutTrend(values, longest);
  const seasons: { readonly period: number; index: Float64Array }[] = fitting.map((period) => ({
    period,
    index: new Float64Array(period),
  }));
  for (let round = 0; round < (seasons.length > 1 ? ROUNDS : 1); round++) {
    for (const season of seasons) {
      if (round > 0) addSeason(rest.values, season, 1, rest.from);
      season.index = seasonalIndex(rest, season.period);
      addSeason(rest.values, season, -1, rest.from);
    }
  }
  return seasons;
};

/** Adds `times` the pattern in place; `from` is the row of the first value. */
export const addSeason = (values: Float64Array, { period, index }: Season, times: number, from = 0): void => {
  let phase = from % period;
  for (let i = 0; i < values.length; i++) {
    values[i] = (values[i] as number) + times * (index[phase] as number);
    phase = phase + 1 === period ? 0 : phase + 1;
  }
};
