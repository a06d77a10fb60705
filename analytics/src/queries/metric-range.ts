import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "./range-params.ts";

export const MetricAggregate = z.enum(["avg", "min", "max", "sum", "last"]);
export type MetricAggregate = z.infer<typeof MetricAggregate>;

const POINTS_MAX = 100_000;
const STEPS_MAX = 11_000;

const Params = z
  .strictObject({
    ...SeriesParams.shape,
    ...RangeParams.shape,
    step_ms: z.int().min(1000).max(86_400_000).default(60_000),
    aggregate: MetricAggregate.default("avg"),
    /** Names of labels; series that agree in them become one. Empty: every series for itself. */
    group_by: z.array(z.string().min(1).max(100)).max(10).default([]),
  })
  .refine(({ from_unix_ms, to_unix_ms }) => from_unix_ms < to_unix_ms, {
    path: ["to_unix_ms"],
    message: "want from < to",
  })
  .refine(({ from_unix_ms, to_unix_ms, step_ms }) => (to_unix_ms - from_unix_ms) / step_ms <= STEPS_MAX, {
    path: ["step_ms"],
    message: `want at most ${STEPS_MAX} steps`,
  })
  .transform(({ labels, ...params }) => ({ ...params, labels: labelsMap(labels) }));

/**
 * A metric by steps of time. Within a series: gauges by `aggregate`; counters as their increase per second (a fall is a reset, what
 * comes after it counts from zero). Across the series of a group: by `aggregate` again, `last` and `sum` adding them up.
 */
export const metricRange = defineQuery({
  name: "metric_range",
  params: Params,
  rowsMax: POINTS_MAX,
  row: z.strictObject({
    at_unix_ms: z.int(),
    labels: z.record(z.string(), z.string()),
    unit: z.string(),
    value: z.number().nullable(),
  }),
  sql: `
WITH
  series AS (${MATCHING_SERIES}),
  (SELECT any(kind) = 'counter' FROM series) AS is_counter,
  intDiv({from_unix_ms:Int64}, {step_ms:Int64}) * {step_ms:Int64} AS first_bucket,
  buckets AS (
    SELECT
      fingerprint,
      intDiv(toUnixTimestamp64Milli(timestamp), {step_ms:Int64}) * {step_ms:Int64} AS bucket,
      argMin(value, timestamp) AS first_value,
      argMax(value, timestamp) AS last_value,
      multiIf({aggregate:String} = 'min', min(value), {aggregate:String} = 'max', max(value), {aggregate:String} = 'last', last_value, avg(value)) AS gauge,
      arrayMap(point -> point.2, arraySort(groupArrayIf((timestamp, value), is_counter))) AS points
    FROM metric_samples
    WHERE metric_id = ${METRIC_ID}
      AND fingerprint IN (SELECT fingerprint FROM series)
      AND timestamp >= fromUnixTimestamp64Milli(first_bucket - if(is_counter, greatest({step_ms:Int64}, 60000), 0))
      AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
    GROUP BY fingerprint, bucket
  ),
  steps AS (
    SELECT
      fingerprint,
      bucket,
      gauge,
      arraySum((rise, value) -> if(rise < 0, value, rise), arrayDifference(points), points) AS rise_inside,
      lagInFrame(toNullable(last_value)) OVER by_series AS value_before,
      if(isNull(value_before), 0, if(first_value < value_before, first_value, first_value - value_before)) AS rise_before,
      if(is_counter, (rise_inside + assumeNotNull(rise_before)) / ({step_ms:Int64} / 1000), gauge) AS value
    FROM buckets
    WINDOW by_series AS (PARTITION BY fingerprint ORDER BY bucket ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
  )
SELECT
  bucket AS at_unix_ms,
  if(empty({group_by:Array(String)}), series.attributes, mapFilter((name, label) -> has({group_by:Array(String)}, name), series.attributes)) AS labels,
  any(series.unit) || if(is_counter, '/s', '') AS unit,
  multiIf({aggregate:String} = 'min', min(steps.value), {aggregate:String} = 'max', max(steps.value), {aggregate:String} = 'avg', avg(steps.value), sum(steps.value)) AS value
FROM steps
INNER JOIN series ON series.fingerprint = steps.fingerprint
WHERE bucket >= first_bucket
GROUP BY at_unix_ms, labels
ORDER BY labels, at_unix_ms`,
});
