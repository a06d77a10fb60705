import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "./range-params.ts";

/**
 * One number over all samples of all matching series in the range, raw values (counters are not made rates). `last` is the newest
 * sample of all whose series has not ended with a staleness marker. Such markers and infinities are no samples. No row where there is
 * no sample: "no data" is not a number.
 */
export const metricFact = defineQuery({
  name: "metric_fact",
  params: z
    .strictObject({
      ...SeriesParams.shape,
      ...RangeParams.shape,
      aggregate: z.enum(["last", "min", "max", "avg", "sum", "count"]),
    })
    .transform(({ labels, ...params }) => ({ ...params, labels: labelsMap(labels) })),
  rowsMax: 1,
  row: z.strictObject({ value: z.number().nullable() }),
  sql: `
WITH series AS (${MATCHING_SERIES})
SELECT multiIf(
  {aggregate:String} = 'min', minIf(lowest, samples > 0),
  {aggregate:String} = 'max', maxIf(highest, samples > 0),
  {aggregate:String} = 'avg', sum(total) / sum(samples),
  {aggregate:String} = 'sum', sum(total),
  {aggregate:String} = 'count', toFloat64(sum(samples)),
  argMaxIf(newest, at, isFinite(newest))) AS value
FROM (
  SELECT
    countIf(isFinite(metric_samples.value)) AS samples,
    minIf(metric_samples.value, isFinite(metric_samples.value)) AS lowest,
    maxIf(metric_samples.value, isFinite(metric_samples.value)) AS highest,
    sumIf(metric_samples.value, isFinite(metric_samples.value)) AS total,
    max(timestamp) AS at,
    argMax(metric_samples.value, timestamp) AS newest
  FROM metric_samples
  WHERE metric_id = ${METRIC_ID}
    AND fingerprint IN (SELECT fingerprint FROM series)
    AND timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
    AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
  GROUP BY fingerprint
)
HAVING if({aggregate:String} = 'last', countIf(isFinite(newest)), sum(samples)) > 0`,
});
