import type { SeriesKind } from "@homeostat/schemas";
import type { HistogramPoint, SeriesRef, Submission } from "../../gateway/intake.ts";
import type { Registry } from "./append-logs.ts";
import type { DataPoint } from "./data-point.ts";
import { boundsOfExponential } from "./exponential-buckets.ts";
import type { MetricPoints, MetricsRequest } from "./metrics-request.ts";
import { Refusals } from "./refusals.ts";
import type { PointSeries } from "./series-memo.ts";

export type MetricSink = Pick<Submission, "sample" | "histogram" | "reject">;

interface Target {
  readonly registry: Registry;
  readonly sink: MetricSink;
}

/** DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK: the series has no value from here on. */
const NO_RECORDED_VALUE = 1;

/**
 * https://opentelemetry.io/docs/specs/otel/metrics/data-model/ as series: a gauge and a non-monotonic cumulative sum are gauges, a
 * monotonic one is a counter, any delta sum is a delta. A histogram gives its distribution and the series X_count and X_sum, a
 * summary X{quantile}, X_count and X_sum. One answer per data point: null or why it was refused.
 */
export const appendMetrics = (registry: Registry, sink: MetricSink, request: MetricsRequest): Refusals => {
  const refusals = new Refusals();
  const own = new Map<string, number>();
  const refuse = (reason: string, points: number): void => {
    refusals.note(reason, points);
    own.set(reason, (own.get(reason) ?? 0) + points);
  };
  if (request.withoutData > 0) refuse("no_data", request.withoutData);
  const target: Target = { registry, sink };
  let exemplars = 0;
  for (const metric of request.metrics) {
    const why = wholeRefusal(metric);
    if (why !== null) refuse(why, metric.points.length);
    const append = why === null ? APPEND[metric.type] : null;
    for (const { point, series } of metric.points) {
      exemplars += point.exemplars;
      if (append === null) continue;
      const mine = pointRefusal(metric, point);
      if (mine !== null) {
        refuse(mine, 1);
        continue;
      }
      const refusal = append(target, metric, point, series);
      if (refusal === "bad_buckets") refuse(refusal, 1);
      else if (refusal !== null) refusals.note(refusal);
    }
  }
  // Exemplars are not kept, which is no refusal of their points.
  if (exemplars > 0) own.set("exemplar", exemplars);
  for (const [reason, records] of own) if (records > 0) sink.reject(reason, records);
  return refusals;
};

const wholeRefusal = ({ name, type, temporality }: MetricPoints): string | null => {
  if (name === "") return "no_name";
  const needsTemporality = type === "sum" || type === "histogram" || type === "exponential_histogram";
  return needsTemporality && temporality === "unspecified" ? "no_temporality" : null;
};

const hasNoValue = (point: DataPoint): boolean => (point.flags & NO_RECORDED_VALUE) !== 0;

const pointRefusal = ({ type }: MetricPoints, point: DataPoint): string | null => {
  if (point.hasTooMany) return "too_many_buckets";
  const isNumber = type === "gauge" || type === "sum";
  return isNumber && point.value === undefined && !hasNoValue(point) ? "no_value" : null;
};

type Append = (target: Target, metric: MetricPoints, point: DataPoint, series: PointSeries) => string | null;

interface Part {
  readonly ending: "" | "_count" | "_sum";
  readonly kind: SeriesKind;
  readonly quantile?: string;
}

/** Of a count of things, in UCUM. */
const COUNT_UNIT = "1";

const refOf = ({ registry }: Target, metric: MetricPoints, series: PointSeries, part: Part): SeriesRef => {
  const key = part.quantile ?? part.ending;
  const known = series.refs.get(key);
  if (known !== undefined) return known;
  const { labels } = series;
  const ref = registry.series({
    name: metric.name + part.ending,
    kind: part.kind,
    unit: part.ending === "_count" ? COUNT_UNIT : metric.unit,
    host: labels["host.name"] ?? "",
    service: labels["service.name"] ?? "",
    attributes: part.quantile === undefined ? labels : { ...labels, quantile: part.quantile },
  });
  series.refs.set(key, ref);
  return ref;
};

const kindOfSum = ({ type, temporality, isMonotonic }: MetricPoints): SeriesKind => {
  if (type === "gauge") return "gauge";
  if (temporality === "delta") return "delta";
  return isMonotonic ? "counter" : "gauge";
};

const appendNumber: Append = (target, metric, point, series) => {
  const kind = kindOfSum(metric);
  const ref = refOf(target, metric, series, { ending: "", kind });
  const value = hasNoValue(point) ? Number.NaN : (point.value ?? Number.NaN);
  return target.sink.sample(ref, point.timeUnixMs, value, kind === "counter" ? point.startUnixMs : 0);
};

/** X_count, and X_sum where the sender gives a sum. */
const appendCountAndSum = (
  target: Target,
  metric: MetricPoints,
  point: DataPoint,
  series: PointSeries,
  sum: number | undefined,
): string | null => {
  const kind = metric.temporality === "delta" ? "delta" : "counter";
  const startUnixMs = kind === "counter" ? point.startUnixMs : 0;
  const isStale = hasNoValue(point);
  const append = (ending: "_count" | "_sum", value: number): string | null =>
    target.sink.sample(
      refOf(target, metric, series, { ending, kind }),
      point.timeUnixMs,
      isStale ? Number.NaN : value,
      startUnixMs,
    );
  const ofCount = append("_count", point.count);
  const ofSum = sum === undefined ? null : append("_sum", sum);
  return ofCount ?? ofSum;
};

interface Buckets {
  readonly bounds: readonly number[];
  readonly counts: readonly number[];
}

const appendDistribution = (
  target: Target,
  metric: MetricPoints,
  point: DataPoint,
  series: PointSeries,
  buckets: Buckets,
): string | null => {
  const kind = metric.temporality === "delta" ? "delta_histogram" : "histogram";
  const ref = refOf(target, metric, series, { ending: "", kind });
  const distribution: HistogramPoint = {
    timestampUnixMs: point.timeUnixMs,
    count: point.count,
    sum: point.sum ?? Number.NaN,
    min: point.min,
    max: point.max,
    ...buckets,
  };
  return target.sink.histogram(ref, distribution, kind === "histogram" ? point.startUnixMs : 0);
};

const appendHistogram =
  (bucketsOf: (point: DataPoint) => Buckets | null): Append =>
  (target, metric, point, series) => {
    if (hasNoValue(point)) return appendCountAndSum(target, metric, point, series, 0);
    const buckets = bucketsOf(point);
    if (buckets === null) return "bad_buckets";
    const ofSeries = appendCountAndSum(target, metric, point, series, point.sum);
    return (
      ofSeries ?? (buckets.bounds.length === 0 ? null : appendDistribution(target, metric, point, series, buckets))
    );
  };

/** Bounds that ascend, and one count more than bounds: the last bucket has no upper bound. No counts at all is allowed: count and sum alone. */
const explicitBuckets = ({ explicitBounds, bucketCounts }: DataPoint): Buckets | null => {
  if (bucketCounts.length === 0 && explicitBounds.length === 0) return { bounds: [], counts: [] };
  if (bucketCounts.length !== explicitBounds.length + 1) return null;
  for (const [index, bound] of explicitBounds.entries()) {
    if (Number.isNaN(bound) || (index > 0 && bound <= (explicitBounds[index - 1] ?? 0))) return null;
  }
  // Some exporters write the last bound out, which OTLP leaves to be understood.
  if (explicitBounds.at(-1) === Number.POSITIVE_INFINITY) {
    const counts = bucketCounts.slice(0, -1);
    counts[counts.length - 1] = (counts.at(-1) ?? 0) + (bucketCounts.at(-1) ?? 0);
    return { bounds: explicitBounds, counts };
  }
  return { bounds: [...explicitBounds, Number.POSITIVE_INFINITY], counts: bucketCounts };
};

const appendSummary: Append = (target, metric, point, series) => {
  let refusal = appendCountAndSum(target, metric, point, series, point.sum ?? 0);
  for (const { quantile, value } of point.quantiles) {
    const ref = refOf(target, metric, series, { ending: "", kind: "gauge", quantile: String(quantile) });
    const answer = target.sink.sample(ref, point.timeUnixMs, hasNoValue(point) ? Number.NaN : value);
    refusal ??= answer;
  }
  return refusal;
};

const APPEND: Readonly<Record<MetricPoints["type"], Append>> = {
  gauge: appendNumber,
  sum: appendNumber,
  histogram: appendHistogram(explicitBuckets),
  exponential_histogram: appendHistogram(boundsOfExponential),
  summary: appendSummary,
};
