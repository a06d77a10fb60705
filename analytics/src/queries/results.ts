import { CommandResult } from "@homeostat/schemas";
import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { jsonRecord } from "./json-record.ts";

/** What became of each of these commands, by host: the first end that was told, unless that was `lost` and a later one knew more. */
export const resultsByCommand = defineQuery({
  name: "results_by_command",
  params: z.strictObject({ command_ids: z.array(z.string().min(1).max(128)).max(2000) }),
  rowsMax: 2000,
  row: z.strictObject({ record: jsonRecord(CommandResult) }),
  sql: `
SELECT argMax(agent_results.record, version) AS record
FROM agent_results
WHERE has({command_ids:Array(String)}, command_id)
GROUP BY command_id, host_name
ORDER BY min(at), command_id, host_name`,
});
