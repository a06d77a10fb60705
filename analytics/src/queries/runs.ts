import { RemediationRecord } from "@homeostat/schemas";
import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { jsonRecord } from "./json-record.ts";

const row = z.strictObject({ record: jsonRecord(RemediationRecord) });

/** The runs of an incident, oldest first, each in its newest version. */
export const runsByIncident = defineQuery({
  name: "runs_by_incident",
  params: z.strictObject({ incident_id: z.string().min(1).max(64) }),
  rowsMax: 1000,
  row,
  sql: `
SELECT argMax(remediation_runs.record, version) AS record
FROM remediation_runs
WHERE incident_id = {incident_id:String}
GROUP BY run_id
ORDER BY min(proposed_at), run_id
LIMIT 1000`,
});

export const runById = defineQuery({
  name: "run_by_id",
  params: z.strictObject({ run_id: z.string().min(1).max(64) }),
  rowsMax: 1,
  row,
  sql: "SELECT record FROM remediation_runs WHERE run_id = {run_id:String} ORDER BY version DESC LIMIT 1",
});
