import type { ClickHouseClient } from "@clickhouse/client";
import type { Log } from "@homeostat/schemas";
import { StoreError, storeError } from "../store/store-error.ts";
import { MIGRATIONS_DIR, type Migration, readMigrations } from "./migration-files.ts";
import { type AppliedMigration, planMigrations } from "./plan-migrations.ts";
import { probeWordIndex } from "./probe-word-index.ts";
import { type MigrationConfig, renderDatabase, renderMigration, SCHEMA_MIGRATIONS } from "./render-migration.ts";
import { statements } from "./statements.ts";

export interface MigrateOptions {
  /** With no database of its own: it may not exist yet. */
  readonly client: ClickHouseClient;
  readonly config: MigrationConfig;
  readonly now: () => number;
  readonly log: Log;
  readonly dir?: URL;
}

/** Waits until every node of a cluster has done it. */
const SETTINGS = { distributed_ddl_task_timeout: "120", wait_end_of_query: 1 } as const;

/** There is no RENAME COLUMN that asks whether it was done already: the new name being taken says so (DUPLICATE_COLUMN). */
const wasRenamed = (query: string, { clickhouseCode }: StoreError): boolean =>
  clickhouseCode === DUPLICATE_COLUMN && /\bRENAME COLUMN\b/.test(query);

const DUPLICATE_COLUMN = 15;

const apply = async (sql: string, doing: string, { client, config }: MigrateOptions): Promise<void> => {
  for (const query of statements(renderMigration(sql, config)))
    await client.command({ query, clickhouse_settings: SETTINGS }).catch((cause: unknown) => {
      const error = storeError(cause, doing);
      if (!wasRenamed(query, error)) throw error;
    });
};

const readApplied = async ({ client, config }: MigrateOptions): Promise<readonly AppliedMigration[]> => {
  const result = await client
    .query({
      query: `SELECT version, name, checksum FROM ${config.database}.schema_migrations FINAL ORDER BY version`,
      format: "JSONEachRow",
    })
    .catch((cause: unknown) => {
      throw storeError(cause, "reading the applied migrations");
    });
  return result.json<AppliedMigration>();
};

const record = async (migration: Migration, { client, config, now }: MigrateOptions): Promise<void> => {
  const { version, name, checksum } = migration;
  await client
    .insert({
      table: `${config.database}.schema_migrations`,
      values: [{ version, name, checksum, applied_at: now() }],
      format: "JSONEachRow",
      clickhouse_settings: { distributed_foreground_insert: 1 },
    })
    .catch((cause: unknown) => {
      throw storeError(cause, `recording migration ${name}`);
    });
};

/**
 * Brings the database to what the files say. Every statement can be repeated (`IF NOT EXISTS`, a test holds them to it), so a
 * starter that died half-way is continued, and two starters at once come to the same end.
 */
export const migrate = async (options: MigrateOptions): Promise<void> => {
  await apply(renderDatabase(options.config), "creating the database", options);
  await apply(SCHEMA_MIGRATIONS, "creating schema_migrations", options);
  const plan = planMigrations(await readMigrations(options.dir ?? MIGRATIONS_DIR), await readApplied(options));
  if ("problems" in plan)
    throw new StoreError("bad_migration", `the database cannot be migrated: ${plan.problems.join("; ")}`, {
      retryable: false,
    });
  if (plan.pending.length === 0) return;
  const word_index = await probeWordIndex(options.client, options.config);
  if (word_index === "tokenbf")
    options.log.warn({}, "the server makes no index of type text: words in logs are found by tokenbf");
  const rendering = { ...options, config: { ...options.config, word_index } };
  for (const migration of plan.pending) {
    await apply(migration.sql, `migration ${migration.name}`, rendering);
    await record(migration, options);
    options.log.info({ migration: migration.name }, "migration applied");
  }
};
