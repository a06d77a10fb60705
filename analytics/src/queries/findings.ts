import { Finding } from "@homeostat/schemas";
import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { jsonRecord } from "./json-record.ts";
import { RangeParams } from "./range-params.ts";

const row = z.strictObject({ record: jsonRecord(Finding) });

export const findingsById = defineQuery({
  name: "findings_by_id",
  params: z.strictObject({ finding_ids: z.array(z.string().min(1).max(64)).max(1000) }),
  rowsMax: 1000,
  row,
  sql: `
SELECT argMax(findings.record, version) AS record
FROM findings
WHERE has({finding_ids:Array(String)}, finding_id)
GROUP BY finding_id
ORDER BY min(started_at), finding_id`,
});

/** Findings about a host (and a service of it) that began in the range, newest first. */
export const findingsByEntity = defineQuery({
  name: "findings_by_entity",
  params: z.strictObject({
    ...RangeParams.shape,
    host_name: z.string().min(1).max(255),
    service_name: z.string().max(255).default(""),
    limit: z.int().min(1).max(1000).default(100),
  }),
  rowsMax: 1000,
  row,
  sql: `
SELECT argMax(findings.record, version) AS record
FROM findings
WHERE host_name = {host_name:String}
  AND if({service_name:String} = '', true, service_name = {service_name:String})
  AND started_at >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND started_at < fromUnixTimestamp64Milli({to_unix_ms:Int64})
GROUP BY finding_id
ORDER BY max(started_at) DESC, finding_id
LIMIT {limit:UInt32}`,
});
