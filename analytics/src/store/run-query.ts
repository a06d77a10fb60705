import type { ClickHouseClient } from "@clickhouse/client";
import type { Log } from "@homeostat/schemas";
import { z } from "zod";
import type { Query } from "./query.ts";
import { StoreError, storeError } from "./store-error.ts";

/** What a statement binds: scalars, arrays and maps of strings; nothing that could become SQL. */
const Binds = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean(), z.array(z.string()), z.map(z.string(), z.string())]),
);

export interface RunQueryOptions {
  readonly signal?: AbortSignal;
}

/** Rows of another version of the program must not hide those that can be read. */
const readable = <Row extends z.ZodType>(
  query: Query<z.ZodType, Row>,
  rows: readonly unknown[],
  log: Log,
): readonly z.output<Row>[] => {
  const parsed = rows.map((row) => query.row.safeParse(row));
  const failed = parsed.filter((result) => !result.success);
  if (failed.length > 0)
    log.error(
      { query: query.name, rows: failed.length, problem: failed[0]?.error.message.slice(0, 500) },
      "rows of the store are left out: they do not fit this version's schema",
    );
  return parsed.flatMap((result) => (result.success ? [result.data] : []));
};

/** The engine gathers an answer in so much memory, then on its disk. */
const ANSWER_MEMORY_BYTES = 1_048_576;

const Summary = z.object({ result_rows: z.coerce.number() });

/** Tried on an engine whose disk is full: what does not fit its memory is left out of the answer, and the status is 200. */
const wantAll = (name: string, count: number, summary: string | string[] | undefined): void => {
  if (typeof summary !== "string") return;
  const promised = Summary.parse(JSON.parse(summary)).result_rows;
  if (promised === count) return;
  const message = `query ${name}: the store promised ${promised} rows and gave ${count}; its disk may be full`;
  throw new StoreError("overloaded", message, { retryable: true });
};

/** @throws z.ZodError for parameters that do not fit, StoreError for all else. */
export const runQuery = async <Params extends z.ZodType, Row extends z.ZodType>(
  { client, timeoutMs, log }: { readonly client: ClickHouseClient; readonly timeoutMs: number; readonly log: Log },
  query: Query<Params, Row>,
  params: z.input<Params>,
  { signal }: RunQueryOptions,
): Promise<readonly z.output<Row>[]> => {
  const binds = Binds.parse(query.params.parse(params));
  try {
    const result = await client.query({
      query: query.sql,
      query_params: binds,
      format: "JSONEachRow",
      ...(signal !== undefined && { abort_signal: signal }),
      clickhouse_settings: {
        // 2: reads only, but the settings beside it are ours. The engine cancels such a query when its client goes away.
        readonly: "2",
        cancel_http_readonly_queries_on_client_close: 1,
        max_execution_time: timeoutMs / 1000,
        max_result_rows: String(query.rowsMax),
        result_overflow_mode: "throw",
        output_format_json_quote_64bit_integers: 0,
        // An error after the first rows would otherwise arrive in the middle of a 200.
        wait_end_of_query: 1,
        http_response_buffer_size: String(ANSWER_MEMORY_BYTES),
        log_comment: query.name,
      },
    });
    const rows = await result.json();
    wantAll(query.name, rows.length, result.response_headers["x-clickhouse-summary"]);
    return readable(query, rows, log);
  } catch (cause) {
    throw storeError(cause, `query ${query.name}`);
  }
};
