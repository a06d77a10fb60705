import { buffer } from "node:stream/consumers";
import type { ClickHouseClient } from "@clickhouse/client";
import { z } from "zod";
import { labelsMap, MATCHING_SERIES, METRIC_ID, RangeParams, SeriesParams } from "../queries/range-params.ts";
import { StoreError, storeError } from "./store-error.ts";

/** Samples in the order of their time, as columns. */
export interface Samples {
  readonly count: number;
  readonly fingerprints: BigUint64Array;
  /** Unix milliseconds. */
  readonly timestamps: BigInt64Array;
  readonly values: Float64Array;
}

export const SamplesAsked = z.strictObject({
  metric_name: SeriesParams.shape.metric_name,
  labels: SeriesParams.shape.labels,
  ...RangeParams.shape,
});
export type SamplesAsked = z.input<typeof SamplesAsked>;

/** 24 megabytes. An answer that would be larger is refused with `too_much`: ask for a shorter range. */
export const SAMPLES_MAX = 1_000_000;

const ROW_BYTES = 24;
/** The engine gathers an answer in so much memory, then on its disk. */
const ANSWER_MEMORY_BYTES = 1_048_576;

const STATEMENT = `
WITH series AS (${MATCHING_SERIES})
SELECT fingerprint, toUnixTimestamp64Milli(timestamp) AS at_unix_ms, value
FROM metric_samples
WHERE metric_id = ${METRIC_ID}
  AND fingerprint IN (SELECT fingerprint FROM series)
  AND timestamp >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND timestamp < fromUnixTimestamp64Milli({to_unix_ms:Int64})
ORDER BY timestamp, fingerprint
LIMIT ${SAMPLES_MAX + 1}
FORMAT RowBinary`;

/** Rows of 24 bytes, little-endian, become columns. */
const columnsOf = (bytes: Buffer): Samples => {
  const count = bytes.length / ROW_BYTES;
  const cells = new BigUint64Array(count * 3);
  new Uint8Array(cells.buffer).set(bytes);
  const fingerprints = new BigUint64Array(count);
  const timestamps = new BigInt64Array(count);
  const values = new Float64Array(count);
  const [signed, floats] = [new BigInt64Array(cells.buffer), new Float64Array(cells.buffer)];
  for (let row = 0; row < count; row++) {
    fingerprints[row] = cells[row * 3] as bigint;
    timestamps[row] = signed[row * 3 + 1] as bigint;
    values[row] = floats[row * 3 + 2] as number;
  }
  return { count, fingerprints, timestamps, values };
};

/** Raw samples for a replay. Rejects with a StoreError. */
export const readSamples = async (
  client: ClickHouseClient,
  asked: SamplesAsked,
  { timeoutMs, signal }: { readonly timeoutMs: number; readonly signal?: AbortSignal | undefined },
): Promise<Samples> => {
  const { labels, ...params } = SamplesAsked.parse(asked);
  let bytes: Buffer;
  let promised: string | undefined;
  try {
    const { stream, summary } = await client.exec({
      query: STATEMENT,
      query_params: { ...params, labels: labelsMap(labels), host_name: "", service_name: "", fingerprint: "" },
      ...(signal !== undefined && { abort_signal: signal }),
      clickhouse_settings: {
        readonly: "2",
        cancel_http_readonly_queries_on_client_close: 1,
        max_execution_time: timeoutMs / 1000,
        wait_end_of_query: 1,
        http_response_buffer_size: String(ANSWER_MEMORY_BYTES),
        log_comment: "read_samples",
      },
    });
    bytes = await buffer(stream);
    promised = summary?.result_rows;
  } catch (cause) {
    throw storeError(cause, "reading samples");
  }
  // As runQuery: an engine whose disk is full leaves out what does not fit its memory.
  if (promised !== undefined && Number(promised) * ROW_BYTES !== bytes.length)
    throw new StoreError(
      "overloaded",
      `reading samples: the store promised ${promised} and gave ${bytes.length} bytes`,
      {
        retryable: true,
      },
    );
  if (bytes.length > SAMPLES_MAX * ROW_BYTES)
    throw new StoreError("too_much", `more than ${SAMPLES_MAX} samples`, { retryable: false });
  return columnsOf(bytes);
};
