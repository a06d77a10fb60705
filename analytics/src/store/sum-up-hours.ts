import { fingerprintsOf } from "./sum-up.ts";

/** A counter's first sample of the range has its rate against the last one before it, if that is no older than this. */
const BEFORE_S = 300;

/**
 * Sums up every series of the fleet over whole hours in one statement. `low`, `median` and `high` are quantiles of what a detector in the stream
 * would have seen: a minute's value is the mean of its samples; of a counter the mean of the rates between them (a fall is a reset: that rate
 * is left out), of a delta the mean of the rates since the point before. The rest is as in `metric_minutes`. A staleness marker (NaN) and
 * infinities are left out. Hours are those of UTC, whatever the server's time zone. Window functions keep to the order of the table, so counters cost no sort.
 */
export const SUM_UP_HOURS = `
INSERT INTO metric_hours
  (metric_id, fingerprint, hour, minutes, mean, low, median, high, count, sum, min, max, first, last, increase, version)
WITH
  fromUnixTimestamp64Milli({from_unix_ms:Int64}) AS range_start,
  fromUnixTimestamp64Milli({to_unix_ms:Int64}) AS range_end,
  counters AS (${fingerprintsOf("counter")}),
  deltas AS (${fingerprintsOf("delta")}),
  samples AS (
    SELECT
      metric_id, fingerprint, timestamp, value,
      lagInFrame(value, 1, nan) OVER series AS value_before,
      lagInFrame(toUnixTimestamp64Milli(timestamp), 1, 0) OVER series AS ms_before,
      if(value < value_before, value, value - value_before) AS rise,
      toUnixTimestamp64Milli(timestamp) - ms_before AS elapsed_ms,
      isFinite(value_before) AND elapsed_ms > 0 AS has_elapsed,
      fingerprint IN (SELECT fingerprint FROM counters) AS is_counter,
      fingerprint IN (SELECT fingerprint FROM deltas) AS is_delta,
      multiIf(
        is_counter, if(has_elapsed AND value >= value_before, rise * 1000 / elapsed_ms, nan),
        is_delta, if(has_elapsed, value * 1000 / elapsed_ms, nan),
        value) AS point
    FROM metric_samples
    WHERE timestamp >= range_start - INTERVAL ${BEFORE_S} SECOND AND timestamp < range_end AND isFinite(value)
    WINDOW series AS (PARTITION BY metric_id, fingerprint ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
  ),
  minutes_of AS (
    SELECT
      metric_id,
      fingerprint,
      toStartOfMinute(timestamp) AS minute,
      is_counter,
      avgIf(point, isFinite(point)) AS level,
      count() AS samples_of,
      sum(value) AS sum_of,
      min(value) AS min_of,
      max(value) AS max_of,
      argMin(value, timestamp) AS first_of,
      argMax(value, timestamp) AS last_of,
      sumIf(rise, ms_before >= intDiv(toUnixTimestamp64Milli(timestamp), 3600000) * 3600000) AS rise_of
    FROM samples
    WHERE timestamp >= range_start
    GROUP BY metric_id, fingerprint, minute, is_counter
  )
SELECT
  metric_id,
  fingerprint,
  toStartOfHour(minute, 'UTC') AS hour,
  toUInt8(countIf(isFinite(level))) AS minutes,
  avgIf(level, isFinite(level)) AS mean,
  quantilesExactInclusiveIf(0.05, 0.5, 0.95)(level, isFinite(level))[1] AS low,
  quantilesExactInclusiveIf(0.05, 0.5, 0.95)(level, isFinite(level))[2] AS median,
  quantilesExactInclusiveIf(0.05, 0.5, 0.95)(level, isFinite(level))[3] AS high,
  toUInt32(sum(samples_of)) AS count,
  if(is_counter, 0, sum(sum_of)) AS sum,
  if(is_counter, 0, min(min_of)) AS min,
  if(is_counter, 0, max(max_of)) AS max,
  if(is_counter, argMin(first_of, minute), 0) AS first,
  argMax(last_of, minute) AS last,
  if(is_counter, sum(rise_of), 0) AS increase,
  {version:UInt64} AS version
FROM minutes_of
GROUP BY metric_id, fingerprint, hour, is_counter`;
