import { GatewayReport } from "@homeostat/schemas";
import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { jsonRecord } from "./json-record.ts";

/** The newest report of every process that takes telemetry from senders of other makes. */
export const gateways = defineQuery({
  name: "gateways",
  params: z.strictObject({ limit: z.int().min(1).max(20_000).default(20_000) }),
  rowsMax: 20_000,
  row: z.strictObject({ record: jsonRecord(GatewayReport) }),
  sql: `
SELECT argMax(gateways.record, version) AS record
FROM gateways
GROUP BY gateway
ORDER BY gateway
LIMIT {limit:UInt32}`,
});
