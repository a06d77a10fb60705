import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "./range-params.ts";

/** What a backtest reads beside samples. An answer that would be larger is refused: it asks for a shorter range then. */
const LOGS_MAX = 50_000;
const STEPS_MAX = 100_000;

const Asked = z
  .strictObject({
    metric_name: SeriesParams.shape.metric_name,
    labels: SeriesParams.shape.labels,
    ...RangeParams.shape,
  })
  .transform(({ labels, ...params }) => ({
    ...params,
    labels: labelsMap(labels),
    host_name: "",
    service_name: "",
    fingerprint: "",
  }));

/** How many samples a metric has in each hour: what there is to replay, and what is missing. */
export const sampleHours = defineQuery({
  name: "sample_hours",
  params: Asked,
  rowsMax: STEPS_MAX,
  row: z.strictObject({ at_unix_ms: z.int(), rows: z.int(), subjects: z.int() }),
  sql: `
WITH series AS (${MATCHING_SERIES})
SELECT
  intDiv(toUnixTimestamp64Milli(timestamp), 3600000) * 3600000 AS at_unix_ms,
  count() AS rows,
  uniq(fingerprint) AS subjects
FROM metric_samples
WHERE metric_id = ${METRIC_ID}
  AND fingerprint IN (SELECT fingerprint FROM series)
  AND timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
GROUP BY at_unix_ms
ORDER BY at_unix_ms`,
});

/** Log records of all streams in each hour. */
export const logHours = defineQuery({
  name: "log_hours",
  params: RangeParams,
  rowsMax: STEPS_MAX,
  row: z.strictObject({ at_unix_ms: z.int(), rows: z.int(), subjects: z.int() }),
  sql: `
SELECT
  intDiv(toUnixTimestamp64Milli(timestamp), 3600000) * 3600000 AS at_unix_ms,
  count() AS rows,
  uniq(host_name, service_name) AS subjects
FROM logs
WHERE timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
GROUP BY at_unix_ms
ORDER BY at_unix_ms`,
});

/** Log records in the order of their time. */
export const logReplay = defineQuery({
  name: "log_replay",
  params: RangeParams,
  rowsMax: LOGS_MAX,
  row: z.strictObject({
    /** Nanoseconds do not fit a JSON number: a string. */
    time_unix_nano: z.string(),
    severity_number: z.int(),
    host_name: z.string(),
    service_name: z.string(),
    body: z.string(),
  }),
  sql: `
SELECT toString(toUnixTimestamp64Nano(timestamp)) AS time_unix_nano, severity_number, host_name, service_name, body
FROM logs
WHERE timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
ORDER BY timestamp
LIMIT ${LOGS_MAX + 1}`,
});

/**
 * In which seconds each host has sent samples of any metric, as offsets in seconds from the range's beginning. A staleness marker (NaN) is
 * what another has to say of a host that is gone.
 */
export const hostSeconds = defineQuery({
  name: "host_seconds",
  params: RangeParams,
  rowsMax: 20_000,
  row: z.strictObject({ host_name: z.string(), seconds: z.array(z.int()) }),
  sql: `
WITH series AS (
  SELECT fingerprint, any(metric_series.host_name) AS host_name
  FROM metric_series
  WHERE seen_at >= toStartOfDay(fromUnixTimestamp64Milli({from_unix_ms:Int64})) - INTERVAL 1 DAY
    AND seen_at < toStartOfDay(fromUnixTimestamp64Milli({to_unix_ms:Int64})) + INTERVAL 2 DAY
  GROUP BY fingerprint
)
SELECT
  series.host_name AS host_name,
  arraySort(groupUniqArray(heard.second)) AS seconds
FROM (
  SELECT fingerprint, intDiv(toUnixTimestamp64Milli(timestamp) - {from_unix_ms:Int64}, 1000) AS second
  FROM metric_samples
  WHERE timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
    AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
    AND NOT isNaN(value)
  GROUP BY fingerprint, second
) AS heard
INNER JOIN series ON series.fingerprint = heard.fingerprint
GROUP BY host_name
ORDER BY host_name`,
});
