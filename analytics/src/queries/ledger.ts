import { z } from "zod";
import { defineQuery } from "../store/query.ts";
import { RangeParams } from "./range-params.ts";

/** What ingest did, by topic and producer, over the range. */
export const ledger = defineQuery({
  name: "ledger",
  params: RangeParams,
  rowsMax: 20_000,
  row: z.strictObject({
    topic: z.string(),
    producer: z.string(),
    batches: z.int(),
    rows: z.int(),
    duplicates: z.int(),
    dead: z.int(),
    last_sequence: z.int(),
    last_at_unix_ms: z.int(),
  }),
  sql: `
SELECT
  topic,
  producer,
  sum(ingest_ledger.batches) AS batches,
  sum(ingest_ledger.rows) AS rows,
  sum(ingest_ledger.duplicates) AS duplicates,
  sum(ingest_ledger.dead) AS dead,
  max(ingest_ledger.last_sequence) AS last_sequence,
  toUnixTimestamp64Milli(max(at)) AS last_at_unix_ms
FROM ingest_ledger
WHERE at >= fromUnixTimestamp64Milli({from_unix_ms:Int64}) AND at < fromUnixTimestamp64Milli({to_unix_ms:Int64})
GROUP BY topic, producer
ORDER BY topic, producer`,
});
