import type { ClickHouseClient } from "@clickhouse/client";
import type { Log } from "@homeostat/schemas";
import type { StoreConfig } from "../store/store-config.ts";
import { storeError } from "../store/store-error.ts";

export type RetentionConfig = Pick<StoreConfig, "database" | "cluster" | "ttl_days" | "cold">;

export interface Definition {
  readonly name: string;
  /** As the engine writes it: `MergeTree PARTITION BY … TTL toDateTime(at) + toIntervalDay(14) SETTINGS …`. */
  readonly engine_full: string;
  readonly storage_policy: string;
}

/** Our tables' TTL: days after a time, perhaps a move to a volume some days after the same time before it. */
const CLAUSE = /\bTTL (.+?)(?= SETTINGS |$)/;
const TIME = /^(.+?) \+ toIntervalDay\(\d+\)/;

const daysOf = (table: string, days: Readonly<Record<string, number | undefined>>): number | undefined =>
  Object.entries(days).find(([name]) => name === table)?.[1];

const wantedClause = (time: string, table: string, days: number, { cold }: RetentionConfig): string => {
  const after = cold === null ? undefined : daysOf(table, cold.after_days);
  const move =
    cold === null || after === undefined || after >= days
      ? ""
      : `${time} + toIntervalDay(${after}) TO VOLUME '${cold.volume}', `;
  return `${move}${time} + toIntervalDay(${days})`;
};

/** The statements that bring tables which were created under another configuration to this one. */
export const retentionChanges = (definitions: readonly Definition[], config: RetentionConfig): readonly string[] =>
  definitions.flatMap(({ name, engine_full, storage_policy }) => {
    const table = config.cluster === null ? name : name.replace(/_local$/, "");
    const days = daysOf(table, config.ttl_days);
    const clause = CLAUSE.exec(engine_full)?.[1];
    const time = clause === undefined ? undefined : TIME.exec(clause)?.[1];
    if (days === undefined || clause === undefined || time === undefined) return [];
    const wanted = wantedClause(time, table, days, config);
    const alter = `ALTER TABLE ${config.database}.${name}${config.cluster === null ? "" : ` ON CLUSTER \`${config.cluster}\``}`;
    const policy = config.cold?.storage_policy;
    // A volume can be named only once the table's policy has it; a table never leaves a policy whose disks hold its parts.
    const needsPolicy = policy !== undefined && wanted.includes(" TO VOLUME ") && storage_policy !== policy;
    return [
      ...(needsPolicy ? [`${alter} MODIFY SETTING storage_policy = '${policy}'`] : []),
      ...(wanted === clause ? [] : [`${alter} MODIFY TTL ${wanted}`]),
    ];
  });

/** Reads the retention back from the tables and changes what differs from the configuration. */
export const applyRetention = async ({
  client,
  config,
  log,
}: {
  readonly client: ClickHouseClient;
  readonly config: RetentionConfig;
  readonly log: Log;
}): Promise<void> => {
  try {
    const result = await client.query({
      query:
        "SELECT name, engine_full, storage_policy FROM system.tables WHERE database = {database:String} AND engine LIKE '%MergeTree'",
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
