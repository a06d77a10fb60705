import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { labelsMap, RangeParams, SeriesParams } from "./range-params.ts";

export const metricSeries = defineQuery({
  name: "metric_series",
  params: z
    .strictObject({ ...SeriesParams.shape, ...RangeParams.shape })
    .transform(({ labels, ...params }) => ({ ...params, labels: labelsMap(labels) })),
  rowsMax: 20_000,
  row: z.strictObject({
    fingerprint: z.string(),
    kind: z.string(),
    unit: z.string(),
    labels: z.record(z.string(), z.string()),
    last_seen_unix_ms: z.int(),
  }),
  sql: `
SELECT
  lower(leftPad(hex(metric_series.fingerprint), 16, '0')) AS fingerprint,
  any(metric_series.kind) AS kind,
  any(metric_series.unit) AS unit,
  any(metric_series.attributes) AS labels,
  toUnixTimestamp64Milli(max(seen_at)) AS last_seen_unix_ms
FROM metric_series
WHERE metric_name = {metric_name:String}
  AND seen_at >= fromUnixTimestamp64Milli({from_unix_ms:Int64}) AND seen_at < fromUnixTimestamp64Milli({to_unix_ms:Int64})
  AND if({host_name:String} = '', true, host_name = {host_name:String})
  AND if({service_name:String} = '', true, service_name = {service_name:String})
  AND if({fingerprint:String} = '', true, metric_series.fingerprint = reinterpretAsUInt64(reverse(unhex({fingerprint:String}))))
  AND arrayAll((name, value) -> attributes[name] = value, mapKeys({labels:Map(String, String)}), mapValues({labels:Map(String, String)}))
GROUP BY metric_series.fingerprint
ORDER BY labels`,
});
