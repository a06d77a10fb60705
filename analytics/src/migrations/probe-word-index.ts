import type { ClickHouseClient } from "@clickhouse/client";
import { storeError } from "../store/store-error.ts";
import { type MigrationConfig, TEXT_INDEX } from "./render-migration.ts";

/** How servers say that they have no such index, or only as an experiment (ClickHouse, src/Common/ErrorCodes.cpp). */
const LACKING: ReadonlySet<number> = new Set([
  36, // BAD_ARGUMENTS
  48, // NOT_IMPLEMENTED
  62, // SYNTAX_ERROR
  80, // INCORRECT_QUERY
  344, // SUPPORT_IS_DISABLED
]);

/** Whether this server makes tables with an index of type `text`. What says nothing about it (no room, no answer) is an error. */
const makesTextIndex = async (client: ClickHouseClient, database: string): Promise<boolean> => {
  const table = `${database}.word_index_probe`;
  try {
    await client.command({
      query: `CREATE TABLE IF NOT EXISTS ${table} (body String, INDEX words lower(body) TYPE ${TEXT_INDEX}) ENGINE = MergeTree ORDER BY tuple()`,
    });
    return true;
  } catch (cause) {
    const error = storeError(cause, "asking for the text index");
    if (error.clickhouseCode === null || !LACKING.has(error.clickhouseCode)) throw error;
    return false;
  } finally {
    await client.command({ query: `DROP TABLE IF EXISTS ${table}` });
  }
};

/** The index that tables of logs get here: asked of the server once, before the first migration. */
export const probeWordIndex = async (
  client: ClickHouseClient,
  { word_index, database }: MigrationConfig,
): Promise<"text" | "tokenbf"> => {
  if (word_index !== "auto") return word_index;
  return (await makesTextIndex(client, database)) ? "text" : "tokenbf";
};
