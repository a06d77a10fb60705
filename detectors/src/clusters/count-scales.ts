/*
 * How many lines of a template come in ten seconds, a minute and ten minutes, and whether a count is beyond what the template is like.
 * Counts are taken for negative binomial: a Poisson process whose rate varies. A count is judged by the Chernoff bound of its tail
 * (Chernoff 1952), which needs no sums and errs on the quiet side, with a dispersion that is learnt, and is wider while little is known
 * (the posterior predictive of a gamma prior).
 */

export const SCALES_S = [10, 60, 600] as const;
export const SCALES = SCALES_S.length;

/** Intervals that a mean looks back; as an exponential average's weight, as in Holt's smoothing. */
const MEMORY = 60;
/** Intervals of a scale that only teach, and they must make so many seconds. */
const WARM_INTERVALS = 30;
const WARM_S = 1800;
const WARM = SCALES_S.map((seconds) => Math.max(WARM_INTERVALS, WARM_S / seconds));
/** A count is news when it is so many times what the last one to two days have seen, or so small a part of it: what comes each hour is not. */
const MARGIN = 2;

export const RATE_LAYOUT = {
  /** Lines in all, and how many there were when the current interval of each scale began. */
  total: { fill: 0 },
  start: { fill: 0, width: SCALES },
  /** Intervals learnt from; -1 is for the first, which began before the template did. */
  learnt: { fill: -1, width: SCALES },
  mean: { fill: 0, width: SCALES },
  /** The mean of squares. */
  square: { fill: 0, width: SCALES },
  /** Extremes of this day and of the one before. */
  peak: { fill: 0, width: SCALES },
  peakBefore: { fill: 0, width: SCALES },
  low: { fill: Number.POSITIVE_INFINITY, width: SCALES },
  lowBefore: { fill: Number.POSITIVE_INFINITY, width: SCALES },
  /** The total from which on the current count may be news. */
  check: { fill: Number.POSITIVE_INFINITY },
  /** While the rate is another: since which second, on which scale, up (1) or down (-1), and since when it has been as before. */
  rateStarted: { fill: Number.NaN },
  rateScale: { fill: 0 },
  rateSign: { fill: 0 },
  rateClear: { fill: Number.NaN },
} as const;
export type RateColumns = { readonly [Name in keyof typeof RATE_LAYOUT]: Float64Array };

export interface RateLimits {
  readonly factor: number;
  readonly countMin: number;
  /** −ln of the probability below which a count is news. */
  readonly nats: number;
}

/** −ln of the Chernoff bound of a tail of the negative binomial: P(X ≥ count) above the mean, P(X ≤ count) below. Dispersion 0 is Poisson. */
export const tailNats = (count: number, mean: number, dispersion: number): number => {
  const own = count > 0 ? count * Math.log(count / mean) : 0;
  if (dispersion < 1e-9) return own - (count - mean);
  const shape = 1 / dispersion;
  return own - (count + shape) * Math.log((count + shape) / (mean + shape));
};

export const countOf = (at: RateColumns, pair: number, scale: number): number =>
  (at.total[pair] as number) - (at.start[pair * SCALES + scale] as number);

export const isWarm = (at: RateColumns, pair: number, scale: number): boolean =>
  (at.learnt[pair * SCALES + scale] as number) >= (WARM[scale] as number);

/** What a weighted mean over so many intervals is worth in independent ones. */
const worth = (at: RateColumns, place: number): number => Math.min(at.learnt[place] as number, 2 * MEMORY - 1);

/** Never nought: what has not been seen in n intervals may come once in as many. */
export const expectedOf = (at: RateColumns, pair: number, scale: number): number => {
  const place = pair * SCALES + scale;
  return Math.max(at.mean[place] as number, 1 / Math.max(1, worth(at, place)));
};

const natsOf = (at: RateColumns, place: number, count: number, mean: number): number => {
  const variance = Math.max((at.square[place] as number) - (at.mean[place] as number) ** 2, mean);
  const dispersion = (variance - mean + variance / worth(at, place)) / mean ** 2;
  return tailNats(count, mean, dispersion);
};

const peakOf = (at: RateColumns, place: number): number =>
  Math.max(at.peak[place] as number, at.peakBefore[place] as number);

const lowOf = (at: RateColumns, place: number): number =>
  Math.min(at.low[place] as number, at.lowBefore[place] as number);

/** The least count that may be news. */
const riseMin = (at: RateColumns, pair: number, scale: number, { countMin, factor }: RateLimits): number =>
  Math.max(countMin, factor * expectedOf(at, pair, scale), MARGIN * peakOf(at, pair * SCALES + scale) + 1);

export const isRise = (
  at: RateColumns,
  { pair, scale, count }: { readonly pair: number; readonly scale: number; readonly count: number },
  limits: RateLimits,
): boolean =>
  isWarm(at, pair, scale) &&
  count >= riseMin(at, pair, scale, limits) &&
  natsOf(at, pair * SCALES + scale, count, expectedOf(at, pair, scale)) >= limits.nats;

export const isFall = (
  at: RateColumns,
  { pair, scale, count }: { readonly pair: number; readonly scale: number; readonly count: number },
  { countMin, factor, nats }: RateLimits,
): boolean => {
  if (!isWarm(at, pair, scale)) return false;
  const place = pair * SCALES + scale;
  const mean = expectedOf(at, pair, scale);
  if (mean < countMin || count * factor > mean || MARGIN * (count + 1) > lowOf(at, place) + 1) return false;
  return natsOf(at, place, count, mean) >= nats;
};

/** Sets from which total on the pair is looked at; the totals before need no more than one comparison. */
export const setCheck = (at: RateColumns, pair: number, limits: RateLimits): void => {
  let check = Number.POSITIVE_INFINITY;
  for (let scale = 0; scale < SCALES; scale++) {
    if (!isWarm(at, pair, scale)) continue;
    check = Math.min(check, (at.start[pair * SCALES + scale] as number) + riseMin(at, pair, scale, limits));
  }
  at.check[pair] = Number.isNaN(at.rateStarted[pair]) ? check : Number.POSITIVE_INFINITY;
};

export const learnCount = (at: RateColumns, pair: number, scale: number, count: number): void => {
  const place = pair * SCALES + scale;
  const learnt = at.learnt[place] as number;
  at.learnt[place] = learnt + 1;
  if (learnt < 0) return;
  const weight = Math.max(1 / (learnt + 1), 1 / MEMORY);
  at.mean[place] = (at.mean[place] as number) + weight * (count - (at.mean[place] as number));
  at.square[place] = (at.square[place] as number) + weight * (count ** 2 - (at.square[place] as number));
};

/** The same as `learnCount` of 0, so many times. */
export const learnZeros = (at: RateColumns, pair: number, scale: number, zeros: number): void => {
  const place = pair * SCALES + scale;
  const learnt = Math.max(0, at.learnt[place] as number);
  const averaged = Math.min(zeros, Math.max(0, MEMORY - 1 - learnt));
  const kept = learnt === 0 ? 0 : (learnt / (learnt + averaged)) * (1 - 1 / MEMORY) ** (zeros - averaged);
  at.mean[place] = (at.mean[place] as number) * kept;
  at.square[place] = (at.square[place] as number) * kept;
  at.learnt[place] = learnt + zeros;
};

export const learnExtremes = (at: RateColumns, pair: number, scale: number, count: number): void => {
  const place = pair * SCALES + scale;
  if (count > (at.peak[place] as number)) at.peak[place] = count;
  // Of the first interval only a part was seen.
  if ((at.learnt[place] as number) < 0) return;
  if (count < (at.low[place] as number)) at.low[place] = count;
};

/** Begins a day: the extremes of the day before the last are forgotten, and of the last when it was not the day before. */
export const turnRateDay = (at: RateColumns, pair: number, isNext: boolean): void => {
  for (let place = pair * SCALES; place < (pair + 1) * SCALES; place++) {
    at.peakBefore[place] = isNext ? (at.peak[place] as number) : 0;
    at.lowBefore[place] = isNext ? (at.low[place] as number) : Number.POSITIVE_INFINITY;
    at.peak[place] = 0;
    at.low[place] = Number.POSITIVE_INFINITY;
  }
};

/** The template's mean is learnt anew; its extremes stay: what comes and goes each day is told once. */
export const forgetRates = (at: RateColumns, pair: number): void => {
  for (const column of [at.learnt, at.mean, at.square]) column.fill(0, pair * SCALES, (pair + 1) * SCALES);
};

/** Two that were one all along: their counts add up, as independent ones. */
export const joinRates = (at: RateColumns, from: number, into: number): void => {
  at.total[into] = (at.total[into] as number) + (at.total[from] as number);
  for (let scale = 0; scale < SCALES; scale++) {
    const [a, b] = [from * SCALES + scale, into * SCALES + scale];
    at.start[b] = (at.start[a] as number) + (at.start[b] as number);
    at.learnt[b] = Math.max(at.learnt[a] as number, at.learnt[b] as number);
    at.square[b] =
      (at.square[a] as number) + (at.square[b] as number) + 2 * (at.mean[a] as number) * (at.mean[b] as number);
    at.mean[b] = (at.mean[a] as number) + (at.mean[b] as number);
    for (const column of [at.peak, at.peakBefore, at.low, at.lowBefore])
      column[b] = (column[a] as number) + (column[b] as number);
  }
  at.check[into] = Number.POSITIVE_INFINITY;
};
