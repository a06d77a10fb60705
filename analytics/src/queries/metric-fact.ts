import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "./range-params.ts";

/**
 * One number over all samples of all matching series in the range, raw values (counters are not made rates). `last` is the newest
 * sample of all. No row where there is no sample: "no data" is not a number.
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
  {aggregate:String} = 'min', min(value),
  {aggregate:String} = 'max', max(value),
  {aggregate:String} = 'avg', avg(value),
  {aggregate:String} = 'sum', sum(value),
  {aggregate:String} = 'count', toFloat64(count()),
  argMax(value, timestamp)) AS value
FROM metric_samples
WHERE metric_id = ${METRIC_ID}
  AND fingerprint IN (SELECT fingerprint FROM series)
  AND timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
HAVING count() > 0`,
});
