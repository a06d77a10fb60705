import { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import type { ClickHouseClient, ClickHouseSettings } from "@clickhouse/client";
import { InsertError, type TelemetrySchema } from "@homeostat/schemas";
import { nativeInsert as nativeInsertStatement } from "../migrations/native-insert.ts";
import { storeError } from "./store-error.ts";

export interface NativeInsert {
  readonly table: TelemetrySchema;
  /** zstd streams of Native blocks; concatenated they are one body. */
  readonly frames: readonly Uint8Array[];
  /** The same token with the same rows inserts once. */
  readonly dedupToken: string;
  readonly rowCount: number;
}

export interface JsonInsert {
  readonly table: string;
  readonly rows: readonly Readonly<Record<string, string | number | readonly number[]>>[];
  readonly dedupToken: string;
}

/**
 * One insert is one block (so that all of it or nothing is in the table, under one token), whatever the frames' own sizes:
 * the engine gathers blocks until both minima are reached, which is at the end of the body.
 */
const settings = (dedupToken: string, rowCount: number): ClickHouseSettings => ({
  insert_deduplicate: 1,
  insert_deduplication_token: dedupToken,
  deduplicate_blocks_in_dependent_materialized_views: 1,
  async_insert: 0,
  max_insert_threads: "1",
  max_insert_block_size: String(rowCount + 1),
  min_insert_block_size_rows: String(rowCount + 1),
  min_insert_block_size_bytes: "1073741824",
  max_partitions_per_insert_block: "100",
  // On a cluster the acknowledgement is the shard's, not the initiator's queue's.
  distributed_foreground_insert: 1,
  wait_end_of_query: 1,
});

const insertError = (cause: unknown, doing: string): InsertError => {
  const { message, retryable } = storeError(cause, doing);
  return new InsertError(message, { retryable, cause });
};

export const insertNative = async (client: ClickHouseClient, insert: NativeInsert): Promise<void> => {
  const { table, frames, dedupToken, rowCount } = insert;
  if (frames.length === 0) return;
  let rowsRead: string | undefined;
  try {
    // `exec` and not `insert`: the body is compressed already, and the header says so.
    const { stream, summary } = await client.exec({
      query: nativeInsertStatement(table),
      values: Readable.from(frames, { objectMode: true }),
      http_headers: { "Content-Encoding": "zstd" },
      clickhouse_settings: settings(dedupToken, rowCount),
    });
    stream.resume();
    await finished(stream);
    rowsRead = summary?.read_rows;
  } catch (cause) {
    throw insertError(cause, `inserting ${rowCount} rows into ${table}`);
  }
  // A zstd stream that is cut short reads as one that ends early, without an error. What came before is in, so this is neither a
  // refusal nor worth a retry: whoever made the frames has a fault, and stops.
  if (rowsRead !== String(rowCount))
    throw new Error(`inserting into ${table}: the engine read ${rowsRead} rows where the headers promise ${rowCount}`);
};

export const insertJson = async (client: ClickHouseClient, insert: JsonInsert): Promise<void> => {
  const { table, rows, dedupToken } = insert;
  if (rows.length === 0) return;
  try {
    await client.insert({
      table,
      values: rows,
      format: "JSONEachRow",
      clickhouse_settings: settings(dedupToken, rows.length),
    });
  } catch (cause) {
    throw insertError(cause, `inserting ${rows.length} rows into ${table}`);
  }
};
