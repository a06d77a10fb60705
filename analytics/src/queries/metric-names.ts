import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { RangeParams } from "./range-params.ts";

export const metricNames = defineQuery({
  name: "metric_names",
  params: RangeParams,
  rowsMax: 10_000,
  row: z.strictObject({
    metric_name: z.string(),
    kind: z.string(),
    unit: z.string(),
    series: z.int(),
    last_seen_unix_ms: z.int(),
  }),
  sql: `
SELECT
  metric_name,
  any(kind) AS kind,
  any(unit) AS unit,
  uniqExact(fingerprint) AS series,
  toUnixTimestamp64Milli(max(seen_at)) AS last_seen_unix_ms
FROM metric_series
WHERE seen_at >= fromUnixTimestamp64Milli({from_unix_ms:Int64}) AND seen_at < fromUnixTimestamp64Milli({to_unix_ms:Int64})
GROUP BY metric_name
ORDER BY metric_name`,
});
