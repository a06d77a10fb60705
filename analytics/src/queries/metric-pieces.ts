import { COVERED } from "./metric-rollups.ts";
import { METRIC_ID } from "./range-params.ts";

/**
 * A counter's step needs the last value before it: steps are read from this far before the range on (or a step, if that is longer), as far as
 * Prometheus looks back for a sample.
 */
export const LOOKBACK_MS = 300_000;

/**
 * Where each resolution serves the range, as scalars of a WITH clause: hours until `hours_end`, minutes until `minutes_end`, samples from there on.
 * A rollup serves where its windows fill whole steps, where it reaches back to the beginning of what is read, and as far as it has come; windows
 * that the range cuts are read from samples.
 */
export const RESOLUTIONS = `
  intDiv({from_unix_ms:Int64}, {step_ms:Int64}) * {step_ms:Int64} AS first_bucket,
  first_bucket - if(kind = 'counter', greatest({step_ms:Int64}, ${LOOKBACK_MS}), 0) AS scan_from,
  (${COVERED}) AS covered,
  if({resolution:String} = 'auto' AND {step_ms:Int64} % 3600000 = 0 AND covered.3 <= scan_from,
    greatest(scan_from, least(covered.4, intDiv({to_unix_ms:Int64}, 3600000) * 3600000)), scan_from) AS hours_end,
  if({resolution:String} = 'auto' AND {step_ms:Int64} % 60000 = 0 AND covered.1 <= hours_end,
    greatest(hours_end, least(covered.2, intDiv({to_unix_ms:Int64}, 60000) * 60000)), hours_end) AS minutes_end`;

const COLUMNS = "count, sum, min, max, first, last, increase";

/** Doing a window again leaves two rows of it until a merge: the newest counts. */
const rollupPieces = (table: "metric_minutes" | "metric_hours", window: "minute" | "hour", level: number): string => `
    SELECT fingerprint, toInt64(toUnixTimestamp(${window})) * 1000 AS at, ${level} AS level, ${COLUMNS}
    FROM ${table} FINAL
    WHERE metric_id = ${METRIC_ID}
      AND fingerprint IN (SELECT fingerprint FROM series)
      AND ${window} >= toDateTime(intDiv(${level === 2 ? "scan_from" : "hours_end"}, 1000))
      AND ${window} < toDateTime(intDiv(${level === 2 ? "hours_end" : "minutes_end"}, 1000))
      AND count > 0`;

/**
 * What the range holds of each series, in pieces of one resolution each: an hour, a minute, or the samples of a step. `increase` is a counter's
 * rise within the piece. Staleness markers (NaN) and infinities are not in it.
 */
export const PIECES = `
    ${rollupPieces("metric_hours", "hour", 2)}
    UNION ALL
    ${rollupPieces("metric_minutes", "minute", 1)}
    UNION ALL
    SELECT
      fingerprint,
      min(toUnixTimestamp64Milli(timestamp)) AS at,
      0 AS level,
      toUInt32(count()) AS count,
      sum(value) AS sum,
      min(value) AS min,
      max(value) AS max,
      argMin(value, timestamp) AS first,
      argMax(value, timestamp) AS last,
      arraySum(
        (rise, point) -> if(rise < 0, point, rise),
        arrayDifference(arrayMap(point -> point.2, arraySort(groupArrayIf((timestamp, value), kind = 'counter'))) AS points),
        points) AS increase
    FROM (SELECT fingerprint, timestamp, value FROM metric_samples
      WHERE metric_id = ${METRIC_ID}
        AND fingerprint IN (SELECT fingerprint FROM series)
        AND timestamp >= fromUnixTimestamp64Milli(minutes_end)
        AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
        AND isFinite(value))
    GROUP BY fingerprint, intDiv(toUnixTimestamp64Milli(timestamp), {step_ms:Int64})`;
