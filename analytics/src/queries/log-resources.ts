import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { TOLD_RESOURCES } from "./log-params.ts";
import { RangeParams } from "./range-params.ts";

export const RESOURCES_MAX = 10_000;

/** What log records of these days are about; `resource_ids` empty asks for all of them. */
export const logResources = defineQuery({
  name: "log_resources",
  params: z.strictObject({
    ...RangeParams.shape,
    /** 16 hexadecimal digits each, as log records have them. */
    resource_ids: z
      .array(z.string().regex(/^[0-9a-f]{16}$/, "want 16 hexadecimal digits"))
      .max(RESOURCES_MAX)
      .default([]),
    limit: z.int().min(1).max(RESOURCES_MAX).default(1000),
  }),
  rowsMax: RESOURCES_MAX,
  row: z.strictObject({
    resource_id: z.string(),
    host_name: z.string(),
    service_name: z.string(),
    attributes: z.record(z.string(), z.string()),
  }),
  sql: `
SELECT
  lower(leftPad(hex(log_resources.resource_id), 16, '0')) AS resource_id,
  any(log_resources.host_name) AS host_name,
  any(log_resources.service_name) AS service_name,
  any(log_resources.attributes) AS attributes
FROM log_resources
WHERE ${TOLD_RESOURCES}
  AND if(empty({resource_ids:Array(String)}), true, log_resources.resource_id IN (
    SELECT reinterpretAsUInt64(reverse(unhex(arrayJoin({resource_ids:Array(String)}))))))
GROUP BY log_resources.resource_id
ORDER BY service_name, host_name, resource_id
LIMIT {limit:UInt32}`,
});
