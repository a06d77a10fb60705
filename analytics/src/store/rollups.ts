import { randomUUID } from "node:crypto";
import type { ClickHouseClient } from "@clickhouse/client";
import { z } from "zod";
import { ROLLUP_SOURCE, type RollupProgress, rollupProgress } from "../queries/metric-rollups.ts";
import type { JsonInsert } from "./insert.ts";
import type { Store } from "./store.ts";
import type { StoreConfig } from "./store-config.ts";
import { storeError } from "./store-error.ts";
import { type RollupRange, sumUp } from "./sum-up.ts";
import { SUM_UP_HOURS } from "./sum-up-hours.ts";
import { SUM_UP_MINUTES } from "./sum-up-minutes.ts";

/**
 * A part of the table of samples, also one that a merge has replaced within the last minutes. Blocks are numbered by partition in the order of
 * insertion; a merged part holds all blocks from `minBlock` to `maxBlock`.
 */
export interface SamplePart {
  /** Node and partition. */
  readonly place: string;
  readonly minBlock: number;
  readonly maxBlock: number;
  /** Of its rows, in whole seconds: the first, and the last. */
  readonly minUnixMs: number;
  readonly maxUnixMs: number;
}

/** What sums samples up, and what remembers how far that has come. All reject with a StoreError. */
export interface Rollups {
  /** By the configuration. */
  readonly enabled: { readonly minutes: boolean; readonly hours: boolean };
  sumUpMinutes(range: RollupRange): Promise<void>;
  sumUpHours(range: RollupRange): Promise<void>;
  /** null before the first. */
  load(): Promise<RollupProgress | null>;
  save(progress: RollupProgress): Promise<void>;
  parts(): Promise<readonly SamplePart[]>;
}

const PARTS_MAX = 100_000;

const Part = z.strictObject({
  place: z.string(),
  min_block: z.int(),
  max_block: z.int(),
  min_unix_s: z.int(),
  max_unix_s: z.int(),
});

/** Blocks of a replicated table may be committed out of their order, within an insert's time: its newest parts are looked at again. */
const UNSETTLED_S = 60;

const partsStatement = ({ cluster }: Pick<StoreConfig, "cluster">): string => `
SELECT
  ${cluster === null ? "partition_id" : "hostName() || ' ' || partition_id"} AS place,
  min_block_number AS min_block,
  max_block_number AS max_block,
  toUnixTimestamp(min_time) AS min_unix_s,
  toUnixTimestamp(max_time) AS max_unix_s
FROM ${cluster === null ? "system.parts" : "clusterAllReplicas({cluster:String}, system.parts)"}
WHERE database = {database:String}
  AND table = '${cluster === null ? ROLLUP_SOURCE : `${ROLLUP_SOURCE}_local`}'
  ${cluster === null ? "" : `AND modification_time < now() - INTERVAL ${UNSETTLED_S} SECOND`}
LIMIT ${PARTS_MAX}`;

const readParts = async (
  client: ClickHouseClient,
  config: Pick<StoreConfig, "cluster" | "database">,
): Promise<readonly SamplePart[]> => {
  try {
    const result = await client.query({
      query: partsStatement(config),
      query_params: { database: config.database, ...(config.cluster !== null && { cluster: config.cluster }) },
      format: "JSONEachRow",
      clickhouse_settings: { output_format_json_quote_64bit_integers: 0, log_comment: "sample_parts" },
    });
    return z
      .array(Part)
      .parse(await result.json())
      .map((part) => ({
        place: part.place,
        minBlock: part.min_block,
        maxBlock: part.max_block,
        minUnixMs: part.min_unix_s * 1000,
        maxUnixMs: part.max_unix_s * 1000 + 999,
      }));
  } catch (cause) {
    throw storeError(cause, "reading the parts of samples");
  }
};

interface RollupsPorts {
  readonly client: ClickHouseClient;
  readonly config: StoreConfig;
  readonly run: Store["run"];
  readonly insertJson: (insert: JsonInsert) => Promise<void>;
  readonly now: () => number;
}

export const createRollups = ({ client, config, run, insertJson, now }: RollupsPorts): Rollups => {
  let savedAt = 0;
  return {
    enabled: { minutes: config.rollups.minutes.enabled, hours: config.rollups.hours.enabled },
    sumUpMinutes: (range) => sumUp(client, { statement: SUM_UP_MINUTES, what: "minutes" }, range),
    sumUpHours: (range) => sumUp(client, { statement: SUM_UP_HOURS, what: "hours" }, range),
    load: async () => {
      const [row] = await run(rollupProgress, {});
      if (row === undefined) return null;
      savedAt = row.at_unix_ms;
      const covered = (fromUnixMs: number, untilUnixMs: number) => ({ fromUnixMs, untilUnixMs });
      return {
        seen: row.seen,
        minutes: { covered: covered(row.minutes_from, row.minutes_until), late: row.late.minutes },
        hours: { covered: covered(row.hours_from, row.hours_until), late: row.late.hours },
      };
    },
    save: async ({ seen, minutes, hours }) => {
      // Later than all before it, also when the clock was ahead: what was saved last is what is loaded.
      savedAt = Math.max(now(), savedAt + 1);
      const row = {
        source: ROLLUP_SOURCE,
        at: savedAt,
        minutes_from: minutes.covered.fromUnixMs,
        minutes_until: minutes.covered.untilUnixMs,
        hours_from: hours.covered.fromUnixMs,
        hours_until: hours.covered.untilUnixMs,
        seen: JSON.stringify(seen),
        late: JSON.stringify({ minutes: minutes.late, hours: hours.late }),
      };
      await insertJson({ table: "metric_rollups", rows: [row], dedupToken: randomUUID() });
    },
    parts: () => readParts(client, config),
  };
};
