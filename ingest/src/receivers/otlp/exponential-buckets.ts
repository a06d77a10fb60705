/** One range of an exponential histogram: `counts[k]` is that of the bucket with index `offset + k`. */
export interface ExponentialRange {
  readonly offset: number;
  readonly counts: readonly number[];
}

export interface ExponentialBuckets {
  readonly scale: number;
  readonly zeroCount: number;
  readonly zeroThreshold: number;
  readonly positive: ExponentialRange;
  readonly negative: ExponentialRange;
}

/** OpenTelemetry's default of buckets per range (https://opentelemetry.io/docs/specs/otel/metrics/sdk/#base2-exponential-bucket-histogram-aggregation). */
export const BUCKETS_PER_RANGE_MAX = 160;
/** The finest scale that SDKs use; finer ones are made coarser. */
const SCALE_MAX = 20;
/** Here one bucket holds all doubles above 1, and one all below. */
const SCALE_MIN = -11;

interface Bucket {
  readonly index: number;
  readonly count: number;
}

/**
 * As upper bounds and counts, ascending from the most negative bucket over the zero bucket to the greatest. Bucket i of scale s holds
 * (2^(i * 2^-s), 2^((i + 1) * 2^-s)], negative buckets mirror it (https://opentelemetry.io/docs/specs/otel/metrics/data-model/#exponentialhistogram).
 * Before a gap's end a bound with count 0 stands, so that each bucket's lower bound is the bound before it. Where a range has more
 * than BUCKETS_PER_RANGE_MAX buckets both are made coarser: a step of the scale joins two neighbours. null: an index lies outside
 * the doubles.
 */
export const boundsOfExponential = (given: ExponentialBuckets): { bounds: number[]; counts: number[] } | null => {
  const scale = Math.min(Math.max(given.scale, SCALE_MIN), given.scale);
  const steps = Math.max(stepsToFit(given.positive), stepsToFit(given.negative), scale - SCALE_MAX, 0);
  const positive = coarser(given.positive, steps);
  const negative = coarser(given.negative, steps);
  const bound = boundAt(Math.max(scale - steps, SCALE_MIN));
  const list = new BoundList();
  for (const { index, count } of negative.reverse()) {
    if (!list.push(-bound(index + 1), -bound(index), count)) return null;
  }
  const { zeroThreshold, zeroCount } = given;
  if (zeroCount > 0) list.pushZero(zeroThreshold, zeroCount, negative.length > 0);
  for (const { index, count } of positive) {
    if (!list.push(bound(index), bound(index + 1), count)) return null;
  }
  return list;
};

const boundAt =
  (scale: number) =>
  (index: number): number =>
    2 ** (index * 2 ** -scale);

const occupied = ({ counts }: ExponentialRange): { first: number; last: number } => {
  let first = 0;
  while (first < counts.length && counts[first] === 0) first++;
  let last = counts.length - 1;
  while (last > first && counts[last] === 0) last--;
  return { first, last };
};

const stepsToFit = (range: ExponentialRange): number => {
  const { first, last } = occupied(range);
  let steps = 0;
  while (indexAfter(range.offset + last, steps) - indexAfter(range.offset + first, steps) >= BUCKETS_PER_RANGE_MAX)
    steps++;
  return steps;
};

const indexAfter = (index: number, steps: number): number => Math.floor(index / 2 ** steps);

/** The buckets that hold something, ascending. */
const coarser = ({ offset, counts }: ExponentialRange, steps: number): Bucket[] => {
  const buckets: { index: number; count: number }[] = [];
  for (const [position, count] of counts.entries()) {
    if (count === 0) continue;
    const index = indexAfter(offset + position, steps);
    const last = buckets.at(-1);
    if (last?.index === index) last.count += count;
    else buckets.push({ index, count });
  }
  return buckets;
};

class BoundList {
  readonly bounds: number[] = [];
  readonly counts: number[] = [];

  /** false when the bucket has no place among the doubles. */
  push(lower: number, upper: number, count: number): boolean {
    if (!(lower < upper) || Number.isNaN(lower + upper)) return false;
    const last = this.bounds.at(-1);
    if (last !== undefined && upper <= last) {
      // A zero bucket that is wider than the buckets next to it.
      this.counts[this.counts.length - 1] = (this.counts.at(-1) ?? 0) + count;
      return true;
    }
    if (last === undefined ? lower !== 0 : lower > last) this.#append(lower, 0);
    this.#append(upper, count);
    return true;
  }

  /** [-threshold, threshold]; the first bucket of all begins at 0 or below by the columns' own rule. */
  pushZero(threshold: number, count: number, hasNegative: boolean): void {
    const last = this.bounds.at(-1);
    if (hasNegative && last !== undefined) {
      // A threshold of 0 would let the bucket begin at the last negative one.
      const lower = threshold > 0 ? -threshold : -Number.MIN_VALUE;
      if (lower > last) this.#append(lower, 0);
    }
    this.#append(threshold, count);
  }

  #append(bound: number, count: number): void {
    this.bounds.push(bound);
    this.counts.push(count);
  }
}
