import type { ClickHouseClient } from "@clickhouse/client";
import { storeError } from "../store/store-error.ts";

const NAME = /^[a-z][a-z0-9_]*$/;
const PARTITION_ID = /^[0-9a-zA-Z_-]+$/;

/** Drops one day of one table; on a cluster, of the shard that answers. A day that is gone already is no error. Rejects with a StoreError. */
export const dropDay = async (client: ClickHouseClient, table: string, partitionId: string): Promise<void> => {
  if (!NAME.test(table)) throw new Error(`${JSON.stringify(table)} is not the name of a table`);
  if (!PARTITION_ID.test(partitionId)) throw new Error(`${JSON.stringify(partitionId)} is not a partition's id`);
  await client.command({ query: `ALTER TABLE ${table} DROP PARTITION ID '${partitionId}'` }).catch((cause: unknown) => {
    throw storeError(cause, `dropping ${partitionId} of ${table}`);
  });
};
