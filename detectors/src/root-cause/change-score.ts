import type { MetricSeries } from "./incident.ts";
import { familyOf, type MetricFamily } from "./metric-family.ts";

/** A series' change at the detection, in its own unit and in robust standard deviations of the normal time. */
export interface ScoredMetric {
  readonly service: string;
  readonly kind: string;
  readonly family: MetricFamily;
  /** Median of the normal time. */
  readonly normal: number;
  readonly normalMean: number;
  readonly spread: number;
  readonly timesUnixMs: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  /** Each value's distance from normal; NaN where there is no value. */
  readonly shifts: Float64Array;
  /** The distance that the window held for more than one value: the second greatest where there are enough. */
  readonly shift: number;
  /** `shift` in spreads, never negative. */
  readonly z: number;
}

/** The median absolute deviation of a normal distribution times this is its standard deviation. */
const MAD_TO_SD = 1.4826;
/** Fewer normal values say nothing of how a series moves. */
const NORMAL_VALUES_MIN = 5;
/** A series that stood still in the normal time may still move by this share of its level without meaning. */
const LEVEL_FLOOR = 0.05;
/** … and by this share of what the same metric of an ordinary peer moves. */
const PEER_FLOOR = 0.25;
/** From so many values on a single one is a blip: the second greatest counts. */
export const SUSTAINED_VALUES_MIN = 4;
/** What is left of a shift that was there, unmoved, before the detection. */
const STANDING_SHIFT_LEFT = 0.2;
/** A change of so many spreads is as likely to mean something as not. */
const Z_HALF = 8;
/** Series beyond these are left out. */
const METRICS_MAX = 200_000;

/** 0..1: how surely a change of so many spreads means something. */
export const sureOf = (z: number): number => z / (z + Z_HALF);

const finiteOf = (values: ArrayLike<number>): Float64Array => {
  const finite = new Float64Array(values.length);
  let count = 0;
  for (let at = 0; at < values.length; at++) {
    const value = values[at] as number;
    if (Number.isFinite(value)) finite[count++] = value;
  }
  return finite.subarray(0, count);
};

const sortedMedian = (sorted: Float64Array): number => {
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
};

/** NaN where nothing is finite. */
const median = (values: ArrayLike<number>): number => sortedMedian(finiteOf(values).slice().sort());

/** The 5th and 95th percentile of a normal distribution lie so many standard deviations from its middle. */
const TAIL_SD = 1.645;

/** The spread on either side: where the middle half stands still, the tails still tell what is usual, and a skewed metric has two. */
const spreadsOf = (values: Float64Array, centre: number): { readonly below: number; readonly above: number } => {
  const sorted = values.slice().sort();
  const middle = MAD_TO_SD * median(values.map((value) => Math.abs(value - centre)));
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? centre;
  return {
    below: Math.max(middle, (centre - at(0.05)) / TAIL_SD),
    above: Math.max(middle, (at(0.95) - centre) / TAIL_SD),
  };
};

/** Largest by size; the second largest where there are enough of the same sign. */
const sustained = (shifts: readonly number[]): number => {
  const sorted = shifts.toSorted((a, b) => Math.abs(b) - Math.abs(a));
  const [first = 0, second = 0] = sorted;
  if (sorted.length < SUSTAINED_VALUES_MIN) return first;
  return Math.sign(first) === Math.sign(second) ? second : 0;
};

/** 1 when the whole shift happened within the window, near 0 when the series stood there before: a slow drift is no cause. */
const movedShare = (shifts: Float64Array, shift: number): number => {
  const finite = finiteOf(shifts);
  const range =
    finite.reduce((most, x) => Math.max(most, x), -Infinity) -
    finite.reduce((least, x) => Math.min(least, x), Infinity);
  return STANDING_SHIFT_LEFT + (1 - STANDING_SHIFT_LEFT) * Math.min(1, range / Math.abs(shift));
};

interface Raw {
  readonly series: MetricSeries;
  readonly normal: number;
  readonly normalMean: number;
  readonly below: number;
  readonly above: number;
  readonly shifts: Float64Array;
}

/** Without a normal time, what was before the detection serves as one. */
const normalsOf = ({ normalValues, values, timesUnixMs }: MetricSeries, detectedAtUnixMs: number): Float64Array => {
  const normals = finiteOf(normalValues);
  if (normals.length >= NORMAL_VALUES_MIN) return normals;
  return finiteOf(Array.from(values).filter((_, at) => (timesUnixMs[at] as number) < detectedAtUnixMs));
};

const rawOf = (series: MetricSeries, detectedAtUnixMs: number): Raw | null => {
  const normals = normalsOf(series, detectedAtUnixMs);
  if (normals.length < NORMAL_VALUES_MIN) return null;
  const normal = median(normals);
  const shifts = Float64Array.from({ length: series.values.length }, (_, at) => (series.values[at] as number) - normal);
  const normalMean = normals.reduce((sum, value) => sum + value, 0) / normals.length;
  return { series, normal, normalMean, ...spreadsOf(normals, normal), shifts };
};

const peerSpreads = (raws: readonly Raw[]): ReadonlyMap<string, number> => {
  const byKind = Map.groupBy(raws, ({ series }) => series.kind);
  return new Map(
    [...byKind].map(([kind, group]) => [kind, median(group.map(({ below, above }) => (below + above) / 2))]),
  );
};

/**
 * Robust change scores, two-sided (after N-sigma and BARO, Pham, Ha, Zhang: "BARO: Robust Root Cause Analysis for Microservices", FSE 2024), with a
 * floor under the spread: without one, a metric that hardly moves in normal times outscores everything by a tremor.
 */
export const scoreMetrics = (all: readonly MetricSeries[], detectedAtUnixMs: number): readonly ScoredMetric[] => {
  const raws = all.slice(0, METRICS_MAX).flatMap((series) => rawOf(series, detectedAtUnixMs) ?? []);
  const peers = peerSpreads(raws);
  return raws.flatMap(({ series, normal, normalMean, below, above, shifts }) => {
    const finite = [...finiteOf(shifts)];
    if (finite.length === 0) return [];
    const held = sustained(finite);
    const spread = Math.max(
      held < 0 ? below : above,
      LEVEL_FLOOR * Math.abs(normal),
      PEER_FLOOR * (peers.get(series.kind) ?? 0),
    );
    const hasBefore = (series.timesUnixMs[0] ?? Infinity) <= detectedAtUnixMs;
    const shift = held !== 0 && hasBefore ? held * movedShare(shifts, held) : held;
    const z = spread > 0 ? Math.abs(shift) / spread : shift === 0 ? 0 : Number.MAX_SAFE_INTEGER;
    const { service, kind, timesUnixMs, values } = series;
    return [
      { service, kind, family: familyOf(kind), normal, normalMean, spread, timesUnixMs, values, shifts, shift, z },
    ];
  });
};
