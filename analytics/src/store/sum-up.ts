import type { ClickHouseClient } from "@clickhouse/client";
import { storeError } from "./store-error.ts";

export interface RollupRange {
  /** Whole windows; half open. */
  readonly fromUnixMs: number;
  readonly toUnixMs: number;
  /** Of two summings up of a window the one with the higher version counts. */
  readonly version: number;
}

/**
 * The series of one kind among those told around the range: a series is told at least every ten minutes, and the newest telling of a day
 * replaces the others.
 */
export const fingerprintsOf = (kind: "counter" | "delta"): string => `
    SELECT DISTINCT fingerprint
    FROM metric_series
    WHERE kind = '${kind}'
      AND seen_at >= toStartOfDay(range_start) - INTERVAL 1 DAY
      AND seen_at < toStartOfDay(range_end) + INTERVAL 2 DAY`;

/** May take minutes on a large fleet: the caller gives it an hour at a time. */
const SECONDS_MAX = 600;

/** An hour of 200,000 series is twelve million minutes: beyond this they are grouped on disk. */
const GROUP_BYTES_MAX = 268_435_456;

/** Runs one INSERT … SELECT over the fleet's samples of a range. Rejects with a StoreError. */
export const sumUp = async (
  client: ClickHouseClient,
  { statement, what }: { readonly statement: string; readonly what: "minutes" | "hours" },
  { fromUnixMs, toUnixMs, version }: RollupRange,
): Promise<void> => {
  try {
    await client.command({
      query: statement,
      query_params: { from_unix_ms: fromUnixMs, to_unix_ms: toUnixMs, version },
      clickhouse_settings: {
        max_execution_time: SECONDS_MAX,
        max_partitions_per_insert_block: "100",
        max_bytes_before_external_group_by: String(GROUP_BYTES_MAX),
        distributed_foreground_insert: 1,
        // Keeps the connection busy while the statement runs.
        send_progress_in_http_headers: 1,
        http_headers_progress_interval_ms: "5000",
        log_comment: `sum_up_${what}`,
      },
    });
  } catch (cause) {
    throw storeError(cause, `summing up ${what}`);
  }
};
