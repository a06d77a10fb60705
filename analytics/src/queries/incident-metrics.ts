import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { RangeParams } from "./range-params.ts";

const SERIES_MAX = 2000;
const HOSTS_MAX = 50;
const STEPS_MAX = 1000;

/**
 * Every series of some hosts by steps of time: what an incident's causes are looked for in. Gauges as their mean; deltas as
 * their sum per second; counters as their increase per second since the step before, where a fall is a reset and tells nothing. Beyond the cap the series with the greatest
 * fingerprints are left out, which says nothing about them.
 */
export const incidentMetrics = defineQuery({
  name: "incident_metrics",
  params: z
    .strictObject({
      ...RangeParams.shape,
      host_names: z.array(z.string().min(1).max(255)).min(1).max(HOSTS_MAX),
      step_ms: z.int().min(1000).max(3_600_000).default(60_000),
    })
    .refine(({ from_unix_ms, to_unix_ms }) => from_unix_ms < to_unix_ms, {
      path: ["to_unix_ms"],
      message: "want from < to",
    })
    .refine(({ from_unix_ms, to_unix_ms, step_ms }) => (to_unix_ms - from_unix_ms) / step_ms <= STEPS_MAX, {
      path: ["step_ms"],
      message: `want at most ${STEPS_MAX} steps`,
    }),
  rowsMax: SERIES_MAX,
  row: z.strictObject({
    metric_name: z.string(),
    host_name: z.string(),
    service_name: z.string(),
    labels: z.record(z.string(), z.string()),
    /** Ascending; a step without a value has no entry. */
    steps_unix_ms: z.array(z.int()),
    values: z.array(z.number()),
  }),
  sql: `
WITH
  series AS (
    SELECT fingerprint, any(metric_id) AS id, any(metric_name) AS name, any(kind) = 'counter' AS is_counter, any(kind) = 'delta' AS is_delta,
      any(metric_series.host_name) AS host, any(metric_series.service_name) AS service, any(metric_series.attributes) AS attributes
    FROM metric_series
    WHERE has({host_names:Array(String)}, metric_series.host_name)
      AND seen_at >= toStartOfDay(fromUnixTimestamp64Milli({from_unix_ms:Int64})) - INTERVAL 1 DAY
      AND seen_at < toStartOfDay(fromUnixTimestamp64Milli({to_unix_ms:Int64})) + INTERVAL 2 DAY
    GROUP BY fingerprint
    ORDER BY fingerprint
    LIMIT ${SERIES_MAX}
  ),
  buckets AS (
    SELECT
      fingerprint,
      intDiv(toUnixTimestamp64Milli(timestamp), {step_ms:Int64}) * {step_ms:Int64} AS bucket,
      avg(value) AS mean,
      sum(value) AS total,
      argMax(value, timestamp) AS last
    FROM metric_samples
    WHERE metric_id IN (SELECT id FROM series)
      AND fingerprint IN (SELECT fingerprint FROM series)
      AND timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
      AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
      AND isFinite(value)
    GROUP BY fingerprint, bucket
  ),
  steps AS (
    SELECT
      buckets.fingerprint AS fingerprint,
      bucket,
      series.is_counter AS is_counter,
      last - lagInFrame(last, 1, inf) OVER by_series AS rise,
      bucket - lagInFrame(bucket, 1, bucket) OVER by_series AS elapsed_ms,
      multiIf(is_counter, rise * 1000 / elapsed_ms, series.is_delta, total * 1000 / {step_ms:Int64}, mean) AS value
    FROM buckets
    INNER JOIN series ON series.fingerprint = buckets.fingerprint
    WINDOW by_series AS (PARTITION BY buckets.fingerprint ORDER BY bucket ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
  ),
  points AS (
    SELECT fingerprint, arraySort(groupArray((bucket, value))) AS pairs
    FROM steps
    WHERE NOT is_counter OR (rise >= 0 AND elapsed_ms > 0)
    GROUP BY fingerprint
  )
SELECT
  series.name AS metric_name,
  series.host AS host_name,
  series.service AS service_name,
  series.attributes AS labels,
  arrayMap(pair -> pair.1, pairs) AS steps_unix_ms,
  arrayMap(pair -> pair.2, pairs) AS values
FROM points
INNER JOIN series ON series.fingerprint = points.fingerprint
ORDER BY series.fingerprint`,
});
