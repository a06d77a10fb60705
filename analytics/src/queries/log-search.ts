import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { bindLogs, LogParams, MATCHING_LOGS } from "./log-params.ts";
import { LOG_COLUMNS, LogRow } from "./log-row.ts";

export const LOG_ROWS_MAX = 10_000;

/** Log records, newest first. Words are found by the index on bodies, traces by theirs. */
export const logSearch = defineQuery({
  name: "log_search",
  params: z
    .strictObject({ ...LogParams.shape, limit: z.int().min(1).max(LOG_ROWS_MAX).default(100) })
    .transform(bindLogs),
  rowsMax: LOG_ROWS_MAX,
  row: LogRow,
  sql: `
SELECT ${LOG_COLUMNS}
FROM logs
WHERE ${MATCHING_LOGS}
ORDER BY timestamp DESC
LIMIT {limit:UInt32}`,
});
