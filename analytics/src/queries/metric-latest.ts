import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "./range-params.ts";

/** The newest value of each matching series within the range. */
export const metricLatest = defineQuery({
  name: "metric_latest",
  params: z
    .strictObject({ ...SeriesParams.shape, ...RangeParams.shape })
    .transform(({ labels, ...params }) => ({ ...params, labels: labelsMap(labels) })),
  rowsMax: 10_000,
  row: z.strictObject({
    at_unix_ms: z.int(),
    labels: z.record(z.string(), z.string()),
    unit: z.string(),
    value: z.number().nullable(),
  }),
  sql: `
WITH series AS (${MATCHING_SERIES})
SELECT toUnixTimestamp64Milli(newest.at) AS at_unix_ms, series.attributes AS labels, series.unit AS unit, newest.value AS value
FROM (
  SELECT fingerprint, max(timestamp) AS at, argMax(value, timestamp) AS value
  FROM metric_samples
  WHERE metric_id = ${METRIC_ID}
    AND fingerprint IN (SELECT fingerprint FROM series)
    AND timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
    AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
  GROUP BY fingerprint
) AS newest
INNER JOIN series ON series.fingerprint = newest.fingerprint
ORDER BY labels`,
});
