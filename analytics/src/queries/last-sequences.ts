import { z } from "zod";
import { defineQuery } from "../store/query.ts";

/** A producer that has been silent for the whole retention of the ledger is forgotten. */
export const lastSequences = defineQuery({
  name: "last_sequences",
  params: z.strictObject({ topic: z.string().min(1).max(249), partition: z.int().min(0) }),
  rowsMax: 1_000_000,
  row: z.strictObject({ producer: z.string(), last_sequence: z.int() }),
  sql: `
SELECT producer, max(ingest_ledger.last_sequence) AS last_sequence
FROM ingest_ledger
WHERE topic = {topic:String} AND partition = {partition:UInt32} AND producer != ''
GROUP BY producer
ORDER BY producer`,
});
