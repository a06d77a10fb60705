import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { LOG_COLUMNS, LogRow } from "./log-row.ts";

export const TRACE_LOGS_MAX = 10_000;

/** Everything that was logged within a trace, in the order of its time, whenever it was: a bloom filter over trace ids finds it. */
export const traceLogs = defineQuery({
  name: "trace_logs",
  params: z.strictObject({
    /** 32 hexadecimal digits, as W3C Trace Context has them. */
    trace_id: z
      .string()
      .regex(/^[0-9a-fA-F]{32}$/, "want 32 hexadecimal digits")
      .toLowerCase(),
    limit: z.int().min(1).max(TRACE_LOGS_MAX).default(1000),
  }),
  rowsMax: TRACE_LOGS_MAX,
  row: LogRow,
  sql: `
SELECT ${LOG_COLUMNS}
FROM logs
WHERE trace_id = {trace_id:String}
ORDER BY timestamp
LIMIT {limit:UInt32}`,
});
