import { fingerprintsOf } from "./sum-up.ts";

/**
 * Sums up every series of the fleet over whole minutes, each minute by its own samples alone: doing one again touches no other. A staleness
 * marker (NaN) and infinities are left out. Window functions keep to the order of the table, so counters cost no sort.
 */
export const SUM_UP_MINUTES = `
INSERT INTO metric_minutes (metric_id, fingerprint, minute, count, sum, min, max, first, last, increase, version)
WITH
  fromUnixTimestamp64Milli({from_unix_ms:Int64}) AS range_start,
  fromUnixTimestamp64Milli({to_unix_ms:Int64}) AS range_end,
  counters AS (${fingerprintsOf("counter")}),
  samples AS (
    SELECT
      metric_id, fingerprint, timestamp, value,
      toStartOfMinute(timestamp) AS minute,
      value - lagInFrame(value, 1, value) OVER in_minute AS difference
    FROM metric_samples
    WHERE timestamp >= range_start AND timestamp < range_end AND isFinite(value)
    WINDOW in_minute AS (
      PARTITION BY metric_id, fingerprint, minute ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW
    )
  )
SELECT
  metric_id,
  fingerprint,
  minute,
  toUInt32(count()) AS count,
  if(is_counter, 0, sum(value)) AS sum,
  if(is_counter, 0, min(value)) AS min,
  if(is_counter, 0, max(value)) AS max,
  if(is_counter, argMin(value, timestamp), 0) AS first,
  argMax(value, timestamp) AS last,
  if(is_counter, sum(if(difference < 0, value, difference)), 0) AS increase,
  {version:UInt64} AS version
FROM samples
GROUP BY metric_id, fingerprint, minute, fingerprint IN (SELECT fingerprint FROM counters) AS is_counter`;
