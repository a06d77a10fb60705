import type { HistogramPoint } from "../../gateway/intake.ts";

/*
 * Native histograms (https://prometheus.io/docs/specs/native_histograms/): buckets lie sparse, in spans of neighbours, and their counts are
 * told as differences from bucket to bucket (integer histograms) or as they are (float histograms).
 */

export interface BucketSpan {
  readonly offset: number;
  readonly length: number;
}

/** `io.prometheus.write.v2.Histogram` with numbers for 64-bit integers; `prometheus.Histogram` has the same fields, but no start. */
export interface NativeHistogram {
  readonly countInt?: number;
  readonly countFloat?: number;
  readonly sum: number;
  readonly schema: number;
  readonly zeroThreshold: number;
  readonly zeroCountInt?: number;
  readonly zeroCountFloat?: number;
  readonly negativeSpans: readonly BucketSpan[];
  readonly negativeDeltas: readonly number[];
  readonly negativeCounts: readonly number[];
  readonly positiveSpans: readonly BucketSpan[];
  readonly positiveDeltas: readonly number[];
  readonly positiveCounts: readonly number[];
  readonly resetHint: number;
  readonly timestamp: number;
  readonly customValues: readonly number[];
  readonly startTimestamp: number;
}

export const RESET_HINT = { unspecified: 0, yes: 1, no: 2, gauge: 3 } as const;

const CUSTOM_BUCKETS = -53;
const SCHEMA_MIN = -4;
const SCHEMA_MAX = 8;
/** What counts beyond 2^53 lose on the way to numbers. */
const ROUNDING = 1e-9;

/** Why a histogram was refused. */
export class HistogramProblem {
  readonly message: string;
  constructor(message: string) {
    this.message = message;
  }
}

interface Bucket {
  /** Within its schema: bucket i of the exponential ones ends at 2^(i / 2^schema). */
  readonly index: number;
  readonly count: number;
}

const readBuckets = (
  spans: readonly BucketSpan[],
  counts: readonly number[],
  areDeltas: boolean,
): Bucket[] | HistogramProblem => {
  const buckets: Bucket[] = [];
  let index = 0;
  let count = 0;
  for (const [place, { offset, length }] of spans.entries()) {
    if (place > 0 && offset < 0)
      return new HistogramProblem(`span ${place} begins ${-offset} buckets before the last one's end`);
    if (buckets.length + length > counts.length) break;
    index += offset;
    for (let step = 0; step < length; step++, index++) {
      const told = counts[buckets.length] ?? Number.NaN;
      count = areDeltas ? count + told : told;
      if (!(count >= 0 && count < Number.POSITIVE_INFINITY))
        return new HistogramProblem(`bucket ${index} has a count of ${count}`);
      buckets.push({ index, count });
    }
  }
  const spanned = spans.reduce((sum, { length }) => sum + length, 0);
  if (spanned === counts.length) return buckets;
  return new HistogramProblem(`the spans have ${spanned} buckets, ${counts.length} are told`);
};

/** Bounds and counts in the form of `metric_histograms`: where buckets do not touch, an empty one stands between them. */
class Distribution {
  readonly bounds: number[] = [];
  readonly counts: number[] = [];

  /** Buckets come in ascending order; one that does not reach beyond the last (a wide zero bucket) is added to it. */
  add(lower: number, upper: number, count: number): void {
    const last = this.bounds.at(-1);
    const begin = last ?? (upper > 0 ? 0 : Number.NEGATIVE_INFINITY);
    if (lower > begin) this.#push(lower, 0);
    const place = this.bounds.length - 1;
    if (place >= 0 && upper <= (this.bounds[place] ?? 0)) this.counts[place] = (this.counts[place] ?? 0) + count;
    else this.#push(upper, count);
  }

  #push(bound: number, count: number): void {
    this.bounds.push(bound);
    this.counts.push(count);
  }
}

const exponential = (
  told: NativeHistogram,
  negative: Bucket[],
  positive: Bucket[],
  zeroCount: number,
): Distribution => {
  const bound = (index: number): number => 2 ** (index / 2 ** told.schema);
  const distribution = new Distribution();
  for (const { index, count } of negative.toReversed()) distribution.add(-bound(index), -bound(index - 1), count);
  if (zeroCount > 0) distribution.add(0 - told.zeroThreshold, told.zeroThreshold, zeroCount);
  for (const { index, count } of positive) distribution.add(bound(index - 1), bound(index), count);
  return distribution;
};

const custom = (values: readonly number[], buckets: readonly Bucket[]): Distribution | HistogramProblem => {
  for (const [place, value] of values.entries()) {
    const before = values[place - 1] ?? Number.NEGATIVE_INFINITY;
    if (!(value > before))
      return new HistogramProblem(`custom bound ${place} is ${value}, the one before is ${before}`);
  }
  const distribution = new Distribution();
  for (const { index, count } of buckets) {
    if (index < 0 || index > values.length) {
      return new HistogramProblem(`bucket ${index} lies outside the ${values.length} custom bounds`);
    }
    const lower = values[index - 1] ?? Number.NEGATIVE_INFINITY;
    distribution.add(lower, values[index] ?? Number.POSITIVE_INFINITY, count);
  }
  return distribution;
};

const sumOf = (buckets: readonly Bucket[]): number => buckets.reduce((sum, { count }) => sum + count, 0);

/** Observations of NaN stand in the count and in no bucket, and make the sum NaN. */
const countProblem = (told: NativeHistogram, inBuckets: number): HistogramProblem | null => {
  const count = told.countInt ?? told.countFloat ?? 0;
  if (!(count >= 0 && count < Number.POSITIVE_INFINITY)) return new HistogramProblem(`the count is ${count}`);
  if (told.countFloat !== undefined) return null;
  const missing = count - inBuckets;
  const isWhole = Math.abs(missing) <= count * ROUNDING || (Number.isNaN(told.sum) && missing > 0);
  return isWhole ? null : new HistogramProblem(`the count is ${count}, the buckets have ${inBuckets}`);
};

/** The point as our tables have it. Schemas −4 to 8 are exponential, −53 has bounds of its own. */
export const histogramPoint = (told: NativeHistogram): HistogramPoint | HistogramProblem => {
  const isCustom = told.schema === CUSTOM_BUCKETS;
  if (!isCustom && (told.schema < SCHEMA_MIN || told.schema > SCHEMA_MAX)) {
    return new HistogramProblem(
      `the schema is ${told.schema}, ${SCHEMA_MIN} to ${SCHEMA_MAX} and ${CUSTOM_BUCKETS} are known`,
    );
  }
  const isFloat = told.countFloat !== undefined;
  const positive = readBuckets(told.positiveSpans, isFloat ? told.positiveCounts : told.positiveDeltas, !isFloat);
  if (positive instanceof HistogramProblem) return positive;
  const negative = readBuckets(told.negativeSpans, isFloat ? told.negativeCounts : told.negativeDeltas, !isFloat);
  if (negative instanceof HistogramProblem) return negative;
  const zeroCount = told.zeroCountFloat ?? told.zeroCountInt ?? 0;
  if (!(zeroCount >= 0 && zeroCount < Number.POSITIVE_INFINITY))
    return new HistogramProblem(`the zero bucket has ${zeroCount}`);
  if (!(told.zeroThreshold >= 0)) return new HistogramProblem(`the zero threshold is ${told.zeroThreshold}`);
  if (isCustom && (negative.length > 0 || zeroCount > 0)) {
    return new HistogramProblem("custom bounds have neither negative buckets nor a zero bucket");
  }
  const problem = countProblem(told, sumOf(positive) + sumOf(negative) + zeroCount);
  if (problem !== null) return problem;
  const distribution = isCustom
    ? custom(told.customValues, positive)
    : exponential(told, negative, positive, zeroCount);
  if (distribution instanceof HistogramProblem) return distribution;
  return {
    timestampUnixMs: told.timestamp,
    count: told.countInt ?? told.countFloat ?? 0,
    sum: told.sum,
    min: Number.NaN,
    max: Number.NaN,
    bounds: distribution.bounds,
    counts: distribution.counts,
  };
};
