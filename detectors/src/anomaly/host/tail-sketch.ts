/**
 * Decayed histograms of many signals, for their tails: bins are even in asinh((x − center) / scale), so they are fine near
 * the center and relative far from it, as in a symmetric-log axis. 320 bytes a signal.
 */

/** A bin is three eighths of a scale wide in the middle and spans a ratio of 1.45 far out; bounds are interpolated within. */
const BINS = 64;
/** The axis ends at sinh(12) = 81,377 scales. */
const REACH = 12;
const PER_BIN = (2 * REACH) / BINS;
/** The center lies in the middle of a bin: a constant is within its own bounds. */
const MIDDLE = BINS / 2 + 0.5;

/** The farthest value must stay inside the axis, so the scale is at least this share of its distance. */
const SPAN = 20_000;

/** The first values are kept as they are, in the place of the bins, until their spread is known. */
const FIRST = 32;

/** The spread of a normal distribution between its 10 % and 90 % quantiles is 2.563 standard deviations. */
const DECILES = 2.563;

/** Bounds move slowly: they are read from the bins anew after so many values, and always while there are few. */
const REFRESH_EVERY = 16;
const REFRESH_ALWAYS_BELOW = 256;

/** The axis is laid anew at powers of two, then after so many values. */
const REBASE_EVERY = 8192;

/** A constant metric has no spread: what differs from it by less than this is rounding. */
const RELATIVE_FLOOR = 1e-9;

/** Of single precision; no metric is larger. */
const VALUE_MAX = 1e37;

/** New values outweigh old ones by this much before all weights are scaled down. */
const GAIN_MAX = 1024;

const NUMBERS = ["total", "center", "scale", "seen", "low", "high", "width", "spread"] as const;

export interface TailSketches {
  /** Of `BINS` weights a signal. */
  readonly bins: Float32Array;
  readonly total: Float64Array;
  readonly center: Float64Array;
  readonly scale: Float64Array;
  /** Values so far. */
  readonly seen: Float64Array;
  /** The bounds that `share` of the weight lies beyond, on each side; NaN before they are known. */
  readonly low: Float64Array;
  readonly high: Float64Array;
  /** What a distance beyond the bounds is measured by. */
  readonly width: Float64Array;
  /** Between the far quantiles. */
  readonly spread: Float64Array;
  /** The weight of a value of now. */
  gain: number;
}

export interface TailShares {
  /** Of the weight, on each side. */
  readonly bound: number;
  readonly far: number;
  /** A width is at least this share of the spread between the far quantiles. */
  readonly spreadShare: number;
}

export const makeTailSketches = (signals: number): TailSketches => {
  const numbers = (fill = 0) => new Float64Array(signals).fill(fill);
  return {
    bins: new Float32Array(signals * BINS),
    total: numbers(),
    center: numbers(),
    scale: numbers(),
    seen: numbers(),
    low: numbers(Number.NaN),
    high: numbers(Number.NaN),
    width: numbers(),
    spread: numbers(),
    gain: 1,
  };
};

/** The sketches of these signals, in this order. */
export const pickTailSketches = (sketches: TailSketches, signals: ArrayLike<number>): TailSketches => {
  const picked = makeTailSketches(signals.length);
  picked.gain = sketches.gain;
  for (let place = 0; place < signals.length; place++) {
    const from = signals[place] as number;
    if (from * BINS >= sketches.bins.length) continue;
    picked.bins.set(sketches.bins.subarray(from * BINS, (from + 1) * BINS), place * BINS);
    for (const name of NUMBERS) picked[name][place] = sketches[name][from] as number;
  }
  return picked;
};

export const saveTailSketches = (sketches: TailSketches): Record<string, Float64Array> => ({
  // Two weights in the bits of one number: they are finite, so the number is never NaN and keeps its bits.
  bins: new Float64Array(sketches.bins.slice().buffer),
  gain: Float64Array.of(sketches.gain),
  ...Object.fromEntries(NUMBERS.map((name) => [name, sketches[name].slice()])),
});

/** @throws RangeError when the arrays are not those of as many sketches. */
export const loadTailSketches = (saved: Readonly<Record<string, Float64Array>>, signals: number): TailSketches => {
  const sketches = makeTailSketches(signals);
  const bins = new Float32Array((saved.bins ?? new Float64Array(0)).slice().buffer);
  if (bins.length !== sketches.bins.length) throw new RangeError(`saved sketches hold ${bins.length} bins`);
  sketches.bins.set(bins);
  sketches.gain = saved.gain?.[0] ?? 1;
  for (const name of NUMBERS) {
    const numbers = saved[name];
    if (numbers?.length !== signals) throw new RangeError(`saved sketches hold ${numbers?.length} of ${name}`);
    sketches[name].set(numbers);
  }
  return sketches;
};

/** Lets what was learnt weigh half as much after each half-life. */
export const ageTailSketches = (sketches: TailSketches, halfLives: number): void => {
  sketches.gain *= 2 ** halfLives;
  if (sketches.gain <= GAIN_MAX) return;
  const { bins, total, seen } = sketches;
  const scale = 1 / sketches.gain;
  for (let signal = 0; signal < total.length; signal++) {
    // Signals that are still gathering their first values hold no weights yet.
    if ((seen[signal] as number) < FIRST) continue;
    for (let bin = signal * BINS; bin < (signal + 1) * BINS; bin++) bins[bin] = (bins[bin] as number) * scale;
    total[signal] = (total[signal] as number) * scale;
  }
  sketches.gain = 1;
};

const binOf = (distance: number): number => {
  const bin = Math.floor(Math.asinh(distance) / PER_BIN + MIDDLE);
  return bin < 0 ? 0 : bin >= BINS ? BINS - 1 : bin;
};

/** The place on the axis, in bins, below which (from above: beyond which) the weight lies. */
const quantilePlace = (bins: Float32Array, from: number, weight: number, isFromAbove: boolean): number => {
  let passed = 0;
  for (let step = 0; step < BINS; step++) {
    const bin = isFromAbove ? BINS - 1 - step : step;
    const here = bins[from + bin] as number;
    if (passed + here > weight) {
      const inside = (weight - passed) / here;
      return isFromAbove ? bin + 1 - inside : bin + inside;
    }
    passed += here;
  }
  return isFromAbove ? 0 : BINS;
};

const quantile = (sketches: TailSketches, signal: number, share: number, isFromAbove: boolean): number => {
  const weight = (sketches.total[signal] as number) * share;
  const place = quantilePlace(sketches.bins, signal * BINS, weight, isFromAbove);
  return (
    (sketches.center[signal] as number) + (sketches.scale[signal] as number) * Math.sinh((place - MIDDLE) * PER_BIN)
  );
};

const refreshBounds = (sketches: TailSketches, signal: number, { bound, far, spreadShare }: TailShares): void => {
  const low = quantile(sketches, signal, bound, false);
  const high = quantile(sketches, signal, bound, true);
  const spread = Math.max(
    high - low,
    quantile(sketches, signal, far, true) - quantile(sketches, signal, far, false),
    RELATIVE_FLOOR * Math.abs(sketches.center[signal] as number),
  );
  sketches.low[signal] = low;
  sketches.high[signal] = high;
  sketches.spread[signal] = spread;
  sketches.width[signal] = Math.max(high - low, spreadShare * spread);
};

/** Lays the axis so that it is fine where the weight is now, and still reaches `value`. */
const rebase = (sketches: TailSketches, signal: number, value: number): void => {
  const { bins } = sketches;
  const from = signal * BINS;
  const center = sketches.center[signal] as number;
  const scale = sketches.scale[signal] as number;
  const total = sketches.total[signal] as number;
  const edge = (place: number): number => center + scale * Math.sinh((place - MIDDLE) * PER_BIN);
  const median = quantile(sketches, signal, 0.5, false);
  let distance = Math.abs(value - median);
  for (let bin = 0; bin < BINS; bin++) {
    // What is almost forgotten no longer holds the axis wide.
    if ((bins[from + bin] as number) <= total * 1e-5) continue;
    distance = Math.max(distance, Math.abs(edge(bin + 0.5) - median));
  }
  const deciles = quantile(sketches, signal, 0.1, true) - quantile(sketches, signal, 0.1, false);
  const finer = Math.max(
    deciles / DECILES,
    distance / SPAN,
    RELATIVE_FLOOR * Math.abs(median),
    Number.MIN_VALUE * 1e20,
  );
  if (finer < scale * 2 && finer > scale / 2 && Math.abs(median - center) < finer) return;
  const before = bins.slice(from, from + BINS);
  bins.fill(0, from, from + BINS);
  for (let bin = 0; bin < BINS; bin++) {
    const quarter = (before[bin] as number) / 4;
    if (quarter === 0) continue;
    for (let part = 0.125; part < 1; part += 0.25) {
      const place = from + binOf((edge(bin + part) - median) / finer);
      bins[place] = (bins[place] as number) + quarter;
    }
  }
  sketches.center[signal] = median;
  sketches.scale[signal] = finer;
};

const leaveFirst = (sketches: TailSketches, signal: number, shares: TailShares): void => {
  const { bins, gain } = sketches;
  const from = signal * BINS;
  const first = bins.slice(from, from + FIRST).sort();
  const at = (share: number): number => first[Math.floor(share * (FIRST - 1))] as number;
  const median = at(0.5);
  bins.fill(0, from, from + BINS);
  sketches.center[signal] = median;
  const scale = Math.max((at(0.9) - at(0.1)) / DECILES, (at(1) - at(0)) / SPAN, RELATIVE_FLOOR * Math.abs(median));
  sketches.scale[signal] = Math.max(scale, Number.MIN_VALUE * 1e20);
  for (const value of first) {
    const place = from + binOf((value - median) / (sketches.scale[signal] as number));
    bins[place] = (bins[place] as number) + gain;
  }
  sketches.total[signal] = FIRST * gain;
  refreshBounds(sketches, signal, shares);
};

const learn = (sketches: TailSketches, signal: number, value: number, weight: number): void => {
  const { bins, total, center, scale, gain } = sketches;
  const seen = sketches.seen[signal] as number;
  let place = signal * BINS + binOf((value - (center[signal] as number)) / (scale[signal] as number));
  const isEnd = place === signal * BINS || place === (signal + 1) * BINS - 1;
  // One value beyond the axis may be a freak; after a second one the axis is made to reach so far.
  const isBeyond = isEnd && (bins[place] as number) > 0;
  if (isBeyond || (seen & (seen - 1)) === 0 || seen % REBASE_EVERY === 0) {
    rebase(sketches, signal, isBeyond ? value : (center[signal] as number));
    place = signal * BINS + binOf((value - (center[signal] as number)) / (scale[signal] as number));
  }
  bins[place] = (bins[place] as number) + weight * gain;
  total[signal] = (total[signal] as number) + weight * gain;
};

/**
 * How far a value is beyond the bounds that earlier values gave, in widths; then it is learnt with this weight.
 * 0 inside, and while there are fewer than 32 values. The value must be finite.
 */
export const exceedance = (
  sketches: TailSketches,
  signal: number,
  raw: number,
  { weight, shares }: { readonly weight: number; readonly shares: TailShares },
): number => {
  const value = Math.min(VALUE_MAX, Math.max(-VALUE_MAX, raw));
  const seen = sketches.seen[signal] as number;
  sketches.seen[signal] = seen + 1;
  if (seen < FIRST) {
    sketches.bins[signal * BINS + seen] = value;
    if (seen + 1 === FIRST) leaveFirst(sketches, signal, shares);
    return 0;
  }
  const beyond = Math.max(value - (sketches.high[signal] as number), (sketches.low[signal] as number) - value);
  learn(sketches, signal, value, weight);
  const measured = beyond > 0 ? beyond / (sketches.width[signal] as number) : 0;
  if (seen < REFRESH_ALWAYS_BELOW || seen % REFRESH_EVERY === 0) refreshBounds(sketches, signal, shares);
  return measured;
};
