import { z } from "zod";
import { defineQuery } from "../store/query.ts";

/**
 * What ingest made of each producer's rows since the producer began, by topic. The newest row of a producer on a partition carries its
 * totals, so that the retention of the ledger cuts nothing from them. Where a sender told a checkpoint, `checkpoint_rows` are the rows of its
 * sequence and of all before it. All replays of dead letters are one producer. Messages without a readable header come as the account of
 * their key, with an empty producer: batches alone are known of them.
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
    /** What the sender told when this was read; 0 where it tells none. */
    checkpoint_sequence: z.int(),
    /** Inserted and dead rows up to the checkpoint, and whether the ledger has come so far. */
    checkpoint_rows: z.int(),
    is_reached: z.int().transform(Boolean),
    first_at_unix_ms: z.int(),
    last_at_unix_ms: z.int(),
  }),
  sql: `
WITH
  records AS (
    SELECT host_name AS sender, argMax(heartbeats.at, version) AS at, argMax(heartbeats.record, version) AS record
    FROM heartbeats GROUP BY host_name
    UNION ALL
    SELECT gateway AS sender, argMax(gateways.at, version) AS at, argMax(gateways.record, version) AS record
    FROM gateways GROUP BY gateway
  )
SELECT
  topic,
  account,
  producer,
  max(since) AS since_sequence,
  sum(inserted) AS rows,
  sum(buried) AS dead_rows,
  sum(recent) AS recent_rows,
  sum(repeated) AS duplicate_rows,
  sum(unreadable) AS unreadable_batches,
  max(told_sequence) AS checkpoint_sequence,
  sum(if(has_reached, at_checkpoint, toInt64(inserted + buried))) AS checkpoint_rows,
  max(has_reached) AS is_reached,
  toUnixTimestamp64Milli(min(first_at)) AS first_at_unix_ms,
  toUnixTimestamp64Milli(max(last_at)) AS last_at_unix_ms
FROM
(
  WITH
    (ingest_ledger.last_sequence, ingest_ledger.since_sequence, total_rows + total_dead_rows) AS newest,
    if(startsWith(ingest_ledger.producer, 'dlq:'), 'dlq', ingest_ledger.producer) AS by_producer,
    multiIf(
      startsWith(by_producer, 'gateway:'), arrayStringConcat(arrayPopBack(splitByChar('-', by_producer)), '-'),
      startsWith(by_producer, 'topic:'), replaceRegexpOne(by_producer, '-[0-9]+(-series)?$', '\\\\1'),
      by_producer = 'dlq', 'dlq',
      ingest_ledger.host) AS account,
    toInt64(total_rows + total_dead_rows)
      - arraySum((of_batch, batch_rows) -> if(of_batch > told.sequence, batch_rows, 0), sequences, sequence_rows) AS rows_at_checkpoint
  SELECT
    topic,
    account,
    by_producer AS producer,
    argMax(ingest_ledger.since_sequence, newest) AS since,
    argMax(total_rows, newest) AS inserted,
    argMax(total_dead_rows, newest) AS buried,
    sumIf(ingest_ledger.rows + ingest_ledger.dead_rows, ingest_ledger.at >= beats.at - toIntervalMillisecond({recent_ms:UInt32})) AS recent,
    sum(ingest_ledger.duplicate_rows) AS repeated,
    sumIf(ingest_ledger.dead, ingest_ledger.producer = '') AS unreadable,
    any(told.sequence) AS told_sequence,
    max(ingest_ledger.last_sequence >= told.sequence) AS has_reached,
    -- Rows of repeated batches have the same last sequence and count nothing.
    argMinIf(
      rows_at_checkpoint, (ingest_ledger.last_sequence, empty(sequences)), ingest_ledger.last_sequence >= told.sequence
    ) AS at_checkpoint,
    min(ingest_ledger.at) AS first_at,
    max(ingest_ledger.at) AS last_at
  FROM ingest_ledger
  GLOBAL LEFT JOIN (SELECT sender, at FROM records) AS beats ON beats.sender = account
  GLOBAL LEFT JOIN
  (
    SELECT tupleElement(one, 'topic') AS on_topic, tupleElement(one, 'producer') AS of_producer, tupleElement(one, 'sequence') AS sequence
    FROM
    (
      SELECT arrayJoin(JSONExtract(record, 'checkpoints', 'Array(Tuple(topic String, producer String, sequence UInt64))')) AS one
      FROM records
    )
  ) AS told
  ON told.on_topic = ingest_ledger.topic AND told.of_producer = ingest_ledger.producer
  GROUP BY topic, partition, ingest_ledger.producer, by_producer, account
)
GROUP BY topic, account, producer
ORDER BY topic, account, producer`,
});
