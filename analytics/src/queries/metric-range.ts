import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { PIECES, RESOLUTIONS } from "./metric-pieces.ts";
import { checkSteps, GroupBy, labelsMap, MATCHING_SERIES, RangeParams, SeriesParams, StepMs } from "./range-params.ts";

export const MetricAggregate = z.enum(["avg", "min", "max", "sum", "last"]);
export type MetricAggregate = z.infer<typeof MetricAggregate>;

const POINTS_MAX = 100_000;

const Params = z
  .strictObject({
    ...SeriesParams.shape,
    ...RangeParams.shape,
    step_ms: StepMs,
    aggregate: MetricAggregate.default("avg"),
    /** `raw` reads samples only. */
    resolution: z.enum(["auto", "raw"]).default("auto"),
    group_by: GroupBy,
  })
  .superRefine(checkSteps)
  .transform(({ labels, ...params }) => ({ ...params, labels: labelsMap(labels) }));

/** What a step was read from: the coarsest of it. */
export const Resolution = z.enum(["raw", "1m", "1h"]);
export type Resolution = z.infer<typeof Resolution>;

/**
 * A metric by steps of time. Within a series: gauges by `aggregate`; counters as their increase per second (a fall is a reset, what
 * comes after it counts from zero); deltas as their sum per second. Across the series of a group: by `aggregate` again, `last` and `sum`
 * adding them up. Read from rollups where these serve (see metric-pieces.ts), from samples elsewhere: the answer is the same.
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
    resolution: Resolution,
  }),
  sql: `
WITH
  series AS (${MATCHING_SERIES}),
  (SELECT any(kind) FROM series) AS kind,
  ${RESOLUTIONS},
  pieces AS (${PIECES}),
  by_step AS (
    SELECT
      fingerprint,
      intDiv(at, {step_ms:Int64}) * {step_ms:Int64} AS bucket,
      max(level) AS coarsest,
      multiIf(
        kind = 'delta', sum(sum) / ({step_ms:Int64} / 1000),
        {aggregate:String} = 'min', min(min),
        {aggregate:String} = 'max', max(max),
        {aggregate:String} = 'last', argMax(last, at),
        sum(sum) / sum(count)) AS plain,
      arraySort(groupArrayIf((at, first, last, increase), kind = 'counter')) AS counted,
      argMin(first, at) AS first_value,
      argMax(last, at) AS last_value
    FROM pieces
    GROUP BY fingerprint, bucket
  ),
  steps AS (
    SELECT
      fingerprint,
      bucket,
      coarsest,
      plain,
      arraySum(piece -> piece.4, counted) AS rise_in_pieces,
      arraySum((piece, before) -> if(piece.2 < before.3, piece.2, piece.2 - before.3), arrayPopFront(counted), arrayPopBack(counted)) AS rise_between,
      lagInFrame(toNullable(last_value)) OVER by_series AS value_before,
      if(isNull(value_before), 0, if(first_value < value_before, first_value, first_value - value_before)) AS rise_before,
      if(kind = 'counter', (rise_in_pieces + rise_between + assumeNotNull(rise_before)) / ({step_ms:Int64} / 1000), plain) AS value
    FROM by_step
    WINDOW by_series AS (PARTITION BY fingerprint ORDER BY bucket ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
  )
SELECT
  bucket AS at_unix_ms,
  if(empty({group_by:Array(String)}), series.attributes, mapFilter((name, label) -> has({group_by:Array(String)}, name), series.attributes)) AS labels,
  any(series.unit) || if(kind IN ('counter', 'delta'), '/s', '') AS unit,
  multiIf({aggregate:String} = 'min', min(steps.value), {aggregate:String} = 'max', max(steps.value), {aggregate:String} = 'avg', avg(steps.value), sum(steps.value)) AS value,
  ['raw', '1m', '1h'][max(coarsest) + 1] AS resolution
FROM steps
INNER JOIN series ON series.fingerprint = steps.fingerprint
WHERE bucket >= first_bucket
GROUP BY at_unix_ms, labels
ORDER BY labels, at_unix_ms`,
});
