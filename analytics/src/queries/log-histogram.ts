import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { bindLogs, LogParams, MATCHING_LOGS } from "./log-params.ts";

/** How many matching records by step of time and severity; steps without any are left out. */
export const logHistogram = defineQuery({
  name: "log_histogram",
  params: z
    .strictObject({ ...LogParams.shape, step_ms: z.int().min(1000).max(86_400_000).default(60_000) })
    .refine(({ from_unix_ms, to_unix_ms, step_ms }) => (to_unix_ms - from_unix_ms) / step_ms <= 11_000, {
      path: ["step_ms"],
      message: "want at most 11000 steps",
    })
    .transform(bindLogs),
  rowsMax: 300_000,
  row: z.strictObject({ at_unix_ms: z.int(), severity_number: z.int(), count: z.int() }),
  sql: `
SELECT
  intDiv(toUnixTimestamp64Milli(timestamp), {step_ms:Int64}) * {step_ms:Int64} AS at_unix_ms,
  severity_number,
  count() AS count
FROM logs
WHERE ${MATCHING_LOGS}
GROUP BY at_unix_ms, severity_number
ORDER BY at_unix_ms, severity_number`,
});
