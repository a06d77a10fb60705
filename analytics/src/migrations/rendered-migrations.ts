import { MIGRATIONS_DIR, readMigrations } from "./migration-files.ts";
import { type MigrationConfig, renderDatabase, renderMigration, SCHEMA_MIGRATIONS } from "./render-migration.ts";
import { statements } from "./statements.ts";

/** Every statement that a first start sends, in order: for those who must create their tables by other means. */
export const renderedMigrations = async (config: MigrationConfig): Promise<readonly string[]> => {
  const files = (await readMigrations(MIGRATIONS_DIR)).map(({ sql }) => sql);
  const tables = [SCHEMA_MIGRATIONS, ...files].flatMap((sql) => statements(renderMigration(sql, config)));
  return [renderDatabase(config), ...tables];
};
