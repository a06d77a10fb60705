import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { LOOKBACK_MS } from "./metric-pieces.ts";
import {
  checkSteps,
  GroupBy,
  labelsMap,
  MATCHING_SERIES,
  METRIC_ID,
  matchingSeriesWith,
  metricIdWith,
  RangeParams,
  SeriesParams,
  StepMs,
} from "./range-params.ts";

const POINTS_MAX = 100_000;
const QUANTILES_MAX = 10;
const DEFAULT_QUANTILES = [0.5, 0.9, 0.99];

const Params = z
  .strictObject({
    ...SeriesParams.shape,
    ...RangeParams.shape,
    step_ms: StepMs,
    quantiles: z.array(z.number().min(0).max(1)).min(1).max(QUANTILES_MAX).default(DEFAULT_QUANTILES),
    group_by: GroupBy,
  })
  .superRefine(checkSteps)
  .transform(({ labels, quantiles, ...params }) => ({
    ...params,
    labels: labelsMap(labels),
    quantiles: quantiles.map(String),
  }));

/** Prometheus' classic histograms: one counter for each bound, in this label, that counts all up to it. */
const CLASSIC_SUFFIX = "_bucket";
const BOUND_LABEL = "le";

const LABELS = `if(empty({group_by:Array(String)}),
    mapFilter((name, label) -> name != '${BOUND_LABEL}', series.attributes),
    mapFilter((name, label) -> has({group_by:Array(String)}, name), series.attributes))`;

const BUCKET = "intDiv(toUnixTimestamp64Milli(timestamp), {step_ms:Int64}) * {step_ms:Int64}";

const IN_SCAN = `timestamp >= fromUnixTimestamp64Milli(first_bucket - greatest({step_ms:Int64}, ${LOOKBACK_MS}))
      AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})`;

/**
 * What each step added to each bucket of a group. Points between two resets (the count falls) are one segment: a step adds its last point and
 * takes away the last before it; at a segment's beginning that is nothing after a reset, and the first point where nothing is known before it. A
 * delta's points are segments of their own. Counts are added and taken away by bound, so that a change of bounds needs no rule of its own.
 */
const OF_HISTOGRAMS = `
  points AS (
    SELECT
      fingerprint, timestamp, bounds, counts,
      (SELECT any(kind) = 'delta_histogram' FROM histogram_series) OR count < lagInFrame(count, 1, 0) OVER by_series AS begins
    FROM metric_histograms
    WHERE metric_id = ${METRIC_ID}
      AND fingerprint IN (SELECT fingerprint FROM histogram_series)
      AND ${IN_SCAN}
      AND isFinite(count)
    WINDOW by_series AS (PARTITION BY fingerprint ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
  ),
  segments AS (
    SELECT
      fingerprint, timestamp, bounds, counts,
      sum(begins) OVER (PARTITION BY fingerprint ORDER BY timestamp ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS segment
    FROM points
  ),
  segment_steps AS (
    SELECT
      fingerprint, segment, ${BUCKET} AS bucket,
      argMin((bounds, counts), timestamp) AS first,
      argMax((bounds, counts), timestamp) AS last
    FROM segments
    GROUP BY fingerprint, segment, bucket
  ),
  segment_increases AS (
    SELECT
      fingerprint, bucket, last,
      lagInFrame(last) OVER (PARTITION BY fingerprint, segment ORDER BY bucket ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS before,
      multiIf(notEmpty(before.1), before, segment > 0, ([], []), first) AS taken
    FROM segment_steps
  ),
  histogram_buckets AS (
    SELECT bucket, labels, any(unit) AS unit, arraySort(groupArray((bound, added))) AS pairs
    FROM (
      SELECT bucket, ${LABELS} AS labels, any(series.unit) AS unit, bound, sum(increase) AS added
      FROM (
        SELECT fingerprint, bucket, bound, increase
        FROM segment_increases
        ARRAY JOIN arrayConcat(last.1, taken.1) AS bound, arrayConcat(last.2, arrayMap(count -> -count, taken.2)) AS increase
        WHERE bucket >= first_bucket
      ) AS increases
      INNER JOIN histogram_series AS series ON series.fingerprint = increases.fingerprint
      GROUP BY bucket, labels, bound
    )
    GROUP BY bucket, labels
  )`;

const OF_CLASSIC = `
  classic_buckets AS (
    SELECT bucket, labels, any(unit) AS unit, arraySort(groupArray((bound, added))) AS pairs
    FROM (
      SELECT bucket, ${LABELS} AS labels, any(series.unit) AS unit, toFloat64OrNull(series.attributes['${BOUND_LABEL}']) AS le, assumeNotNull(le) AS bound, sum(increase) AS added
      FROM (
        SELECT
          fingerprint, ${BUCKET} AS bucket,
          value - lagInFrame(value, 1, value) OVER (PARTITION BY fingerprint ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS difference,
          if(difference < 0, value, difference) AS increase
        FROM metric_samples
        WHERE metric_id = ${metricIdWith(CLASSIC_SUFFIX)}
          AND fingerprint IN (SELECT fingerprint FROM classic_series)
          AND ${IN_SCAN}
          AND isFinite(value)
      ) AS increases
      INNER JOIN classic_series AS series ON series.fingerprint = increases.fingerprint
      WHERE bucket >= first_bucket AND isNotNull(le)
      GROUP BY bucket, labels, le
    )
    GROUP BY bucket, labels
  )`;

/**
 * Quantiles of a histogram's observations by steps of time, for what OpenTelemetry sends (rows of `metric_histograms`) and for Prometheus' classic
 * series (X_bucket with `le`). The buckets of a group's series are added up by bound; within a bucket observations are taken to lie evenly, as
 * Prometheus' histogram_quantile does it for classic buckets (https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile);
 * here also for exponential ones. So the answer is off by no more than the width of its bucket. In the last bucket, when it has no upper bound, the
 * answer is where that bucket begins. No row for a step without observations.
 */
export const metricQuantile = defineQuery({
  name: "metric_quantile",
  params: Params,
  rowsMax: POINTS_MAX,
  row: z.strictObject({
    at_unix_ms: z.int(),
    labels: z.record(z.string(), z.string()),
    unit: z.string(),
    /** Observations of the step. */
    count: z.number(),
    quantile: z.number(),
    value: z.number().nullable(),
  }),
  sql: `
WITH
  histogram_series AS (${MATCHING_SERIES}),
  classic_series AS (${matchingSeriesWith(CLASSIC_SUFFIX)}),
  intDiv({from_unix_ms:Int64}, {step_ms:Int64}) * {step_ms:Int64} AS first_bucket,
  ${OF_HISTOGRAMS},
  ${OF_CLASSIC},
  cumulated AS (
    SELECT bucket, labels, unit, pairs, arrayCumSum(pair -> pair.2, pairs) AS up_to FROM histogram_buckets
    UNION ALL
    SELECT bucket, labels, unit, pairs, arrayMap(pair -> pair.2, pairs) AS up_to FROM classic_buckets
  ),
  distributions AS (
    SELECT
      bucket, labels, unit,
      arrayMap(pair -> pair.1, pairs) AS bounds,
      -- Where bounds came or went, or buckets were not scraped at once, counts may fall a little: they cannot.
      arrayMap(place -> greatest(0., arrayMax(arraySlice(up_to, 1, place))), arrayEnumerate(up_to)) AS ranks,
      ranks[-1] AS total
    FROM cumulated
  )
SELECT at_unix_ms, labels, unit, count, quantile, value
FROM (
SELECT
  bucket AS at_unix_ms,
  labels,
  unit,
  total AS count,
  toFloat64(asked) AS quantile,
  quantile * total AS rank,
  arrayFirstIndex(up_to -> up_to > 0 AND up_to >= rank, ranks) AS place,
  bounds[place] AS upper,
  if(place = 1, 0, bounds[place - 1]) AS lower,
  if(place = 1, 0, ranks[place - 1]) AS below,
  multiIf(
    isInfinite(upper), if(place = 1, NULL, lower),
    place = 1 AND upper <= 0, upper,
    lower + (upper - lower) * (rank - below) / (ranks[place] - below)) AS value
FROM distributions
ARRAY JOIN {quantiles:Array(String)} AS asked
WHERE total > 0
)
ORDER BY labels, quantile, at_unix_ms`,
});
