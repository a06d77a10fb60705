import type { StoreConfig } from "../store/store-config.ts";

export type MigrationConfig = Pick<StoreConfig, "database" | "cluster" | "ttl_days" | "word_index">;

const identifier = (name: string): string => (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : `\`${name}\``);

/** Where the rows are: on a cluster the table of this name is the Distributed one, and the rows are beside it. */
const localTable = (table: string, { database, cluster }: MigrationConfig): string =>
  `${database}.${cluster === null ? table : `${table}_local`}`;

const onCluster = ({ cluster }: MigrationConfig): string =>
  cluster === null ? "" : `ON CLUSTER ${identifier(cluster)}`;

const engine = (name: string, argument: string | undefined, { cluster }: MigrationConfig): string => {
  if (cluster === null) return argument === undefined ? name : `${name}(${argument})`;
  const place = "'/clickhouse/tables/{shard}/{database}/{table}', '{replica}'";
  return `Replicated${name}(${argument === undefined ? place : `${place}, ${argument}`})`;
};

type Create = "CREATE TABLE IF NOT EXISTS" | "CREATE OR REPLACE TABLE";

const distributed = (create: Create, table: string, shardingKey: string, config: MigrationConfig): string => {
  const { database, cluster } = config;
  if (cluster === null) return "";
  const local = localTable(table, config);
  return (
    `${create} ${database}.${table} ${onCluster(config)} AS ${local}\n` +
    `ENGINE = Distributed(${identifier(cluster)}, ${database}, ${table}_local, ${shardingKey})`
  );
};

/** How many of the last inserts' tokens a table remembers; redoing a range is at most some minutes late. */
const DEDUPLICATION_WINDOW = 10_000;

const ttlDays = (table: string, { ttl_days }: MigrationConfig): string => {
  const days = Object.entries(ttl_days).find(([name]) => name === table)?.[1];
  if (days === undefined) throw new Error(`no ttl_days for table ${table}`);
  return String(days);
};

export const TEXT_INDEX = "text(tokenizer = 'splitByNonAlpha')";
/** 32 KiB of bits, three hashes for each word of a granule. */
const TOKENBF = "tokenbf_v1(32768, 3, 0) GRANULARITY 1";

/** As migration 0001 has it, whose text may not change any more; 0005 drops this index. */
const FIRST_WORD_INDEX = "text(tokenizer = 'splitByNonAlpha', preprocessor = lower(body))";

const placeholder = (text: string, config: MigrationConfig): string => {
  const [name = "", first = "", ...rest] = text.split(":");
  switch (name) {
    case "table":
      return localTable(first, config);
    case "on_cluster":
      return onCluster(config);
    case "engine":
      return engine(first, rest[0], config);
    case "distributed":
      return distributed("CREATE TABLE IF NOT EXISTS", first, rest.join(":"), config);
    case "distributed_again":
      return distributed("CREATE OR REPLACE TABLE", first, rest.join(":"), config);
    case "ttl_days":
      return ttlDays(first, config);
    case "word_index":
      return config.word_index === "tokenbf" ? TOKENBF : TEXT_INDEX;
    case "deduplication_window":
      return config.cluster === null
        ? `non_replicated_deduplication_window = ${DEDUPLICATION_WINDOW}`
        : `replicated_deduplication_window = ${DEDUPLICATION_WINDOW}`;
    default:
      throw new Error(`unknown placeholder {{${text}}}`);
  }
};

/**
 * The SQL of a migration for one node or a cluster. `{{table:logs}}` names the table of rows, `{{engine:MergeTree}}` becomes
 * Replicated on a cluster, `{{distributed:logs:key}}` is a statement there and nothing on one node; `{{distributed_again:logs:key}}` gives the
 * Distributed table, which holds no rows, the columns that its local tables have by now.
 */
export const renderMigration = (sql: string, config: MigrationConfig): string =>
  sql
    .replace(/\{\{(.*?)\}\}/g, (_, text: string) => placeholder(text.trim(), config))
    .replace(FIRST_WORD_INDEX, () => (config.word_index === "tokenbf" ? TOKENBF : FIRST_WORD_INDEX));

export const renderDatabase = (config: MigrationConfig): string =>
  `CREATE DATABASE IF NOT EXISTS ${config.database} ${onCluster(config)}`;

/** Its own table, made before all others. One row for each applied file. */
export const SCHEMA_MIGRATIONS = `CREATE TABLE IF NOT EXISTS {{table:schema_migrations}} {{on_cluster}}
(
    version UInt32,
    name String,
    checksum String,
    applied_at DateTime64(3)
)
ENGINE = {{engine:ReplacingMergeTree:applied_at}}
ORDER BY version;

{{distributed:schema_migrations:version}};
`;
