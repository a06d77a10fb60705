import { z } from "zod";
import { defineQuery } from "../store/query.ts";

const NOTHING = z.strictObject({});

/** Ten years of forty tables. */
const DAYS_MAX = 150_000;

/** What each table has of each day, on each disk; of a cluster, on the node that answers. */
export const storedDays = defineQuery({
  name: "stored_days",
  params: NOTHING,
  rowsMax: DAYS_MAX,
  row: z.strictObject({
    table_name: z.string(),
    /** `2026-08-01`, in the server's time zone. */
    day: z.string(),
    partition_id: z.string(),
    disk: z.string(),
    bytes: z.int(),
    rows: z.int(),
    /** Today, or later. */
    is_current: z.int().transform(Boolean),
  }),
  sql: `
SELECT
  table AS table_name, partition AS day, partition_id, disk_name AS disk,
  sum(bytes_on_disk) AS bytes, sum(parts.rows) AS rows, partition >= toString(today()) AS is_current
FROM system.parts AS parts
WHERE database = currentDatabase() AND active
GROUP BY table_name, day, partition_id, disk
ORDER BY day, table_name`,
});

/** `leaving_bytes` belong to parts that were merged or dropped and are removed within minutes. */
export const storeDisks = defineQuery({
  name: "store_disks",
  params: NOTHING,
  rowsMax: 1000,
  row: z.strictObject({
    disk: z.string(),
    path: z.string(),
    free_bytes: z.int(),
    total_bytes: z.int(),
    leaving_bytes: z.int(),
  }),
  sql: `
SELECT
  disks.name AS disk, path, free_space AS free_bytes, total_space AS total_bytes,
  sumIf(bytes_on_disk, parts.active = 0) AS leaving_bytes
FROM system.disks AS disks
LEFT JOIN system.parts AS parts ON parts.disk_name = disks.name
WHERE type = 'Local'
GROUP BY disk, path, free_bytes, total_bytes
ORDER BY disk`,
});

/** How long each table keeps its rows as its definition says, and what it has. */
export const retentionQuery = defineQuery({
  name: "retention",
  params: NOTHING,
  rowsMax: 1000,
  row: z.strictObject({
    table_name: z.string(),
    /** null: for ever. */
    ttl_days: z.int().nullable(),
    /** After so many days rows move to the cold volume; null: never. */
    cold_after_days: z.int().nullable(),
    bytes: z.int(),
    rows: z.int(),
    days: z.int(),
    /** `2026-08-01`; null where there is no row. */
    oldest_day: z.string().nullable(),
  }),
  sql: `
SELECT
  replaceRegexpOne(tables.name, '_local$', '') AS table_name,
  toUInt32OrNull(extract(engine_full, ' TTL .*toIntervalDay\\((\\d+)\\)(?: SETTINGS |$)')) AS ttl_days,
  toUInt32OrNull(extract(engine_full, ' TTL .*toIntervalDay\\((\\d+)\\) TO VOLUME ')) AS cold_after_days,
  sum(parts.bytes_on_disk) AS bytes,
  sum(parts.rows) AS rows,
  uniqExactIf(parts.partition, parts.rows > 0) AS days,
  minOrNullIf(parts.partition, parts.rows > 0) AS oldest_day
FROM system.tables AS tables
LEFT JOIN (SELECT * FROM system.parts WHERE active) AS parts ON parts.database = tables.database AND parts.table = tables.name
WHERE tables.database = currentDatabase() AND tables.engine LIKE '%MergeTree' AND tables.name NOT LIKE 'schema_migrations%'
GROUP BY table_name, ttl_days, cold_after_days
ORDER BY table_name`,
});
