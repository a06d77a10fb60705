import type { ClickHouseClient } from "@clickhouse/client";
import { storeError } from "./store-error.ts";

export interface HoursRange {
  /** Whole hours; half open. */
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
  /** Of two summings up of an hour the one with the higher version counts. */
  readonly version: number;
}

/** A counter's first sample of the range has its rate against the last one before it, if that is no older than this. */
const BEFORE_S = 300;

/**
 * Sums up every series of the fleet over whole hours in one statement. A minute's value is the mean of its samples, of a counter the mean of
 * the rates between them (a fall is a reset: that rate is left out), so that the quantiles are those which a detector in the stream would have seen.
 * Window functions keep to the order of the table, so counters cost no sort.
 */
const STATEMENT = `
INSERT INTO metric_hours (metric_id, fingerprint, hour, minutes, mean, low, median, high, version)
WITH
  fromUnixTimestamp64Milli({from_unix_ms:Int64}) AS range_start,
  fromUnixTimestamp64Milli({to_unix_ms:Int64}) AS range_end,
  counters AS (
    SELECT DISTINCT fingerprint
    FROM metric_series
    WHERE kind = 'counter'
      AND seen_at >= toStartOfDay(range_start) - INTERVAL 1 DAY
      AND seen_at < toStartOfDay(range_end) + INTERVAL 2 DAY
  ),
  points AS (
    SELECT metric_id, fingerprint, timestamp, value AS point
    FROM metric_samples
    WHERE timestamp >= range_start AND timestamp < range_end
      AND isFinite(value)
      AND fingerprint NOT IN (SELECT fingerprint FROM counters)
    UNION ALL
    SELECT metric_id, fingerprint, timestamp, rise * 1000 / elapsed_ms AS point
    FROM (
      SELECT
        metric_id, fingerprint, timestamp,
        value - lagInFrame(value, 1, nan) OVER series AS rise,
        toUnixTimestamp64Milli(timestamp) - lagInFrame(toUnixTimestamp64Milli(timestamp), 1, 0) OVER series AS elapsed_ms
      FROM metric_samples
      WHERE timestamp >= range_start - INTERVAL ${BEFORE_S} SECOND AND timestamp < range_end
        AND isFinite(value)
        AND fingerprint IN (SELECT fingerprint FROM counters)
      WINDOW series AS (PARTITION BY metric_id, fingerprint ORDER BY timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)
    )
    WHERE timestamp >= range_start AND rise >= 0 AND elapsed_ms > 0
  ),
  minutes_of AS (
    SELECT metric_id, fingerprint, toStartOfMinute(timestamp) AS minute, avg(point) AS level
    FROM points
    GROUP BY metric_id, fingerprint, minute
  )
SELECT
  metric_id,
  fingerprint,
  toStartOfHour(minute) AS hour,
  toUInt8(count()) AS minutes,
  avg(level) AS mean,
  quantilesExactInclusive(0.05, 0.5, 0.95)(level)[1] AS low,
  quantilesExactInclusive(0.05, 0.5, 0.95)(level)[2] AS median,
  quantilesExactInclusive(0.05, 0.5, 0.95)(level)[3] AS high,
  {version:UInt64} AS version
FROM minutes_of
GROUP BY metric_id, fingerprint, hour`;

/** May take minutes on a large fleet: the caller gives it an hour at a time. */
const SECONDS_MAX = 600;

/** An hour of 200,000 series is twelve million minutes: beyond this they are grouped on disk. */
const GROUP_BYTES_MAX = 268_435_456;

export const sumUpHours = async (
  client: ClickHouseClient,
  { fromUnixMs, toUnixMs, version }: HoursRange,
): Promise<void> => {
  try {
    await client.command({
      query: STATEMENT,
      query_params: { from_unix_ms: fromUnixMs, to_unix_ms: toUnixMs, version },
      clickhouse_settings: {
        max_execution_time: SECONDS_MAX,
        max_partitions_per_insert_block: "100",
        max_bytes_before_external_group_by: String(GROUP_BYTES_MAX),
        distributed_foreground_insert: 1,
        // Keeps the connection busy while the statement runs.
        send_progress_in_http_headers: 1,
        http_headers_progress_interval_ms: "5000",
        log_comment: "sum_up_hours",
      },
    });
  } catch (cause) {
    throw storeError(cause, "summing up hours");
  }
};
