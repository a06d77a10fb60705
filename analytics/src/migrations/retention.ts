import type { ClickHouseClient } from "@clickhouse/client";
import type { Log } from "@homeostat/schemas";
import { storeError } from "../store/store-error.ts";
import type { MigrationConfig } from "./render-migration.ts";

/** A table's TTL as its definition says: the expression before the number of days, and the number. */
const TTL = /\bTTL (.+? \+ toIntervalDay\()(\d+)\)/;

export interface Definition {
  readonly name: string;
  readonly engine_full: string;
}

/** The statements that bring tables which were created under another configuration to this one. */
export const retentionChanges = (definitions: readonly Definition[], config: MigrationConfig): readonly string[] =>
  definitions.flatMap(({ name, engine_full }) => {
    const table = config.cluster === null ? name : name.replace(/_local$/, "");
    const wanted = Object.entries(config.ttl_days).find(([key]) => key === table)?.[1];
    const [, expression, days] = TTL.exec(engine_full) ?? [];
    if (wanted === undefined || expression === undefined || Number(days) === wanted) return [];
    const where = config.cluster === null ? "" : ` ON CLUSTER \`${config.cluster}\``;
    return [`ALTER TABLE ${config.database}.${name}${where} MODIFY TTL ${expression}${wanted})`];
  });

/** Reads the retention back from the tables and changes what differs from the configuration. */
export const applyRetention = async ({
  client,
  config,
  log,
}: {
  readonly client: ClickHouseClient;
  readonly config: MigrationConfig;
  readonly log: Log;
}): Promise<void> => {
  try {
    const result = await client.query({
      query:
        "SELECT name, engine_full FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'",
      query_params: { database: config.database },
      format: "JSONEachRow",
    });
    for (const query of retentionChanges(await result.json<Definition>(), config)) {
      // The tables say materialize_ttl_recalculate_only: parts learn their new TTL without being rewritten.
      await client.command({ query });
      log.info({ statement: query }, "retention changed");
    }
  } catch (cause) {
    throw storeError(cause, "applying the retention");
  }
};
