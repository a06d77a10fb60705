import { z } from "zod";
import { defineQuery } from "../store/query.ts";

/**
 * What ingest made of each producer's rows since the producer began, by topic. The newest row of a producer on a partition carries its
 * totals, so that the retention of the ledger cuts nothing from them. Lanes of one gateway are one account, and so are all replays of dead
 * letters. Messages without a readable header come as the account of their key, with an empty producer: batches alone are known of them.
 */
export const ledgerAccounts = defineQuery({
  name: "ledger_accounts",
  params: z.strictObject({
    /** Rows that the bus took this long before an account's newest heartbeat, or later, are `recent_rows`. */
    recent_ms: z.int().min(0).default(60_000),
  }),
  rowsMax: 200_000,
  row: z.strictObject({
    topic: z.string(),
    account: z.string(),
    producer: z.string(),
    since_sequence: z.int(),
    rows: z.int(),
    dead_rows: z.int(),
    recent_rows: z.int(),
    duplicate_rows: z.int(),
    unreadable_batches: z.int(),
    last_at_unix_ms: z.int(),
  }),
  sql: `
WITH
  (ingest_ledger.last_sequence, ingest_ledger.since_sequence, total_rows + total_dead_rows) AS newest,
  multiIf(
    startsWith(ingest_ledger.producer, 'gateway:'), arrayStringConcat(arrayPopBack(splitByChar('-', ingest_ledger.producer)), '-'),
    startsWith(ingest_ledger.producer, 'dlq:'), 'dlq',
    ingest_ledger.producer) AS of_producer
SELECT
  topic,
  account,
  by_producer AS producer,
  max(since) AS since_sequence,
  sum(inserted) AS rows,
  sum(buried) AS dead_rows,
  sum(recent) AS recent_rows,
  sum(repeated) AS duplicate_rows,
  sum(unreadable) AS unreadable_batches,
  toUnixTimestamp64Milli(max(last_at)) AS last_at_unix_ms
FROM
(
  SELECT
    topic,
    of_producer AS by_producer,
    multiIf(startsWith(of_producer, 'gateway:'), of_producer, of_producer = 'dlq', 'dlq', ingest_ledger.host) AS account,
    argMax(ingest_ledger.since_sequence, newest) AS since,
    argMax(total_rows, newest) AS inserted,
    argMax(total_dead_rows, newest) AS buried,
    sumIf(ingest_ledger.rows + ingest_ledger.dead_rows, at >= beats.beat_at - toIntervalMillisecond({recent_ms:UInt32})) AS recent,
    sum(ingest_ledger.duplicate_rows) AS repeated,
    sumIf(ingest_ledger.dead, ingest_ledger.producer = '') AS unreadable,
    max(at) AS last_at
  FROM ingest_ledger
  LEFT JOIN
  (
    SELECT host_name AS beating, argMax(heartbeats.at, version) AS beat_at FROM heartbeats GROUP BY host_name
    UNION ALL
    SELECT gateway AS beating, argMax(gateways.at, version) AS beat_at FROM gateways GROUP BY gateway
  ) AS beats
  ON beats.beating = multiIf(startsWith(of_producer, 'gateway:'), of_producer, ingest_ledger.host)
  GROUP BY topic, partition, ingest_ledger.producer, by_producer, account
)
GROUP BY topic, account, by_producer
ORDER BY topic, account, by_producer`,
});
