import { Heartbeat } from "@homeostat/schemas";
import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { jsonRecord } from "./json-record.ts";

/** The newest heartbeat of every host. */
export const heartbeats = defineQuery({
  name: "heartbeats",
  params: z.strictObject({ limit: z.int().min(1).max(20_000).default(20_000) }),
  rowsMax: 20_000,
  row: z.strictObject({ record: jsonRecord(Heartbeat) }),
  sql: `
SELECT argMax(heartbeats.record, version) AS record
FROM heartbeats
GROUP BY host_name
ORDER BY host_name
LIMIT {limit:UInt32}`,
});
