import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "./range-params.ts";

/** A series that has been silent for longer than this has no value any more, as Prometheus looks back for one. */
const SILENT_S_MAX = 300;

/** The value of each matching series at the end of the range; none where a staleness marker or five minutes of silence have ended it. */
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
SELECT toUnixTimestamp64Milli(newest.at) AS at_unix_ms, series.attributes AS labels, series.unit AS unit, newest.last_value AS value
FROM (
  SELECT fingerprint, max(metric_samples.timestamp) AS at, argMax(metric_samples.value, metric_samples.timestamp) AS last_value
  FROM metric_samples
  WHERE metric_id = ${METRIC_ID}
    AND fingerprint IN (SELECT fingerprint FROM series)
    AND timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
    AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
    AND timestamp >= fromUnixTimestamp64Milli({to_unix_ms:Int64}) - INTERVAL ${SILENT_S_MAX} SECOND
  GROUP BY fingerprint
  HAVING NOT isNaN(argMax(metric_samples.value, metric_samples.timestamp))
) AS newest
INNER JOIN series ON series.fingerprint = newest.fingerprint
ORDER BY labels`,
});
