import { IncidentRecord } from "@homeostat/schemas";
import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { jsonRecord } from "./json-record.ts";
import { RangeParams } from "./range-params.ts";

const row = z.strictObject({ record: jsonRecord(IncidentRecord) });

/** Incidents opened in the range, newest first, each in its newest version. Empty arrays and strings ask for nothing. */
export const incidentsList = defineQuery({
  name: "incidents_list",
  params: z.strictObject({
    ...RangeParams.shape,
    states: z.array(z.string().max(32)).max(20).default([]),
    host_name: z.string().max(255).default(""),
    limit: z.int().min(1).max(1000).default(100),
  }),
  rowsMax: 1000,
  row,
  sql: `
SELECT argMax(incidents.record, version) AS record
FROM incidents
WHERE opened_at >= fromUnixTimestamp64Milli({from_unix_ms:Int64})
  AND opened_at < fromUnixTimestamp64Milli({to_unix_ms:Int64})
  AND if({host_name:String} = '', true, host_name = {host_name:String})
GROUP BY incident_id
HAVING empty({states:Array(String)}) OR has({states:Array(String)}, argMax(incidents.state, version))
ORDER BY max(opened_at) DESC, incident_id
LIMIT {limit:UInt32}`,
});

export const incidentById = defineQuery({
  name: "incident_by_id",
  params: z.strictObject({ incident_id: z.string().min(1).max(64) }),
  rowsMax: 1,
  row,
  sql: "SELECT record FROM incidents WHERE incident_id = {incident_id:String} ORDER BY version DESC LIMIT 1",
});
