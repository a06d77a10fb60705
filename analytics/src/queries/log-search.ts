import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { LogParams, MATCHING_LOGS } from "./log-params.ts";

export const LOG_ROWS_MAX = 10_000;

/** Log records, newest first. Token search goes through the text index on bodies. */
export const logSearch = defineQuery({
  name: "log_search",
  params: z.strictObject({ ...LogParams.shape, limit: z.int().min(1).max(LOG_ROWS_MAX).default(100) }),
  rowsMax: LOG_ROWS_MAX,
  row: z.strictObject({
    /** Nanoseconds do not fit a JSON number: a string. */
    time_unix_nano: z.string(),
    severity_number: z.int(),
    host_name: z.string(),
    service_name: z.string(),
    trace_id: z.string(),
    span_id: z.string(),
    body: z.string(),
    attributes: z.record(z.string(), z.string()),
  }),
  sql: `
SELECT
  toString(toUnixTimestamp64Nano(timestamp)) AS time_unix_nano,
  severity_number, host_name, service_name, trace_id, span_id, body, attributes
FROM logs
WHERE ${MATCHING_LOGS}
ORDER BY timestamp DESC
LIMIT {limit:UInt32}`,
});
