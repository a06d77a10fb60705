import { z } from "zod";
import { defineQuery } from "../store/query.ts";

/**
 * By sequence and totals, which only grow, and not by a clock or an offset: the newest row of each producer of a partition: its last sequence and its account so far. A producer that has been silent for the whole
 * retention of the ledger is forgotten.
 */
export const lastSequences = defineQuery({
  name: "last_sequences",
  params: z.strictObject({ topic: z.string().min(1).max(249), partition: z.int().min(0) }),
  rowsMax: 1_000_000,
  row: z.strictObject({
    producer: z.string(),
    last_sequence: z.int(),
    since_sequence: z.int(),
    rows: z.int(),
    dead_rows: z.int(),
  }),
  sql: `
WITH (ingest_ledger.last_sequence, ingest_ledger.since_sequence, total_rows + total_dead_rows) AS newest
SELECT
  producer,
  max(ingest_ledger.last_sequence) AS last_sequence,
  argMax(ingest_ledger.since_sequence, newest) AS since_sequence,
  argMax(total_rows, newest) AS rows,
  argMax(total_dead_rows, newest) AS dead_rows
FROM ingest_ledger
WHERE topic = {topic:String} AND partition = {partition:UInt32} AND producer != ''
GROUP BY producer
ORDER BY producer`,
});
