import { type ClickHouseClient, ClickHouseLogLevel, createClient } from "@clickhouse/client";
import type { Log } from "@homeostat/schemas";
import type { z } from "zod";
import { migrate } from "../migrations/migrate.ts";
import { applyRetention } from "../migrations/retention.ts";
import { lastSequences } from "../queries/last-sequences.ts";
import { dropDay } from "../space/drop-day.ts";
import { insertJson, insertNative, type JsonInsert, type NativeInsert } from "./insert.ts";
import type { Query } from "./query.ts";
import { readSamples, type Samples, type SamplesAsked } from "./read-samples.ts";
import { createRollups, type Rollups } from "./rollups.ts";
import { type RunQueryOptions, runQuery } from "./run-query.ts";
import { createSnapshots } from "./snapshots.ts";
import type { StoreConfig } from "./store-config.ts";

export interface StoreOptions {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  readonly config: StoreConfig;
  readonly now: () => number;
  readonly log: Log;
}

/** What the ledger knows of a producer on one partition: rows inserted and dead since `sinceSequence`. */
export interface ProducerAccount {
  readonly lastSequence: number;
  readonly sinceSequence: number;
  readonly rows: number;
  readonly deadRows: number;
}

/** ClickHouse, embedded or a server: the one thing in the platform that speaks SQL. */
export interface Store {
  /** Creates or brings up to date the database, its tables and their retention. */
  migrate(): Promise<void>;
  /** Durable and readable when it resolves; rejects with an InsertError, whose `retryable` speaks of the very same insert. */
  insertNative(insert: NativeInsert): Promise<void>;
  insertJson(insert: JsonInsert): Promise<void>;
  /** The account of each producer that the ledger knows for this partition. */
  lastSequences(topic: string, partition: number): Promise<ReadonlyMap<string, ProducerAccount>>;
  /** Rejects with a StoreError, or a ZodError for parameters that do not fit. */
  run<Params extends z.ZodType, Row extends z.ZodType>(
    query: Query<Params, Row>,
    params: z.input<Params>,
    options?: RunQueryOptions,
  ): Promise<readonly z.output<Row>[]>;
  /** Raw samples for a replay, in the order of their time; `too_much` where there are more than a million. */
  samples(asked: SamplesAsked, options?: RunQueryOptions): Promise<Samples>;
  /** Sums up every series over whole windows; again for the same windows, the higher version counts. */
  readonly rollups: Rollups;
  /** Detectors' states by name and key; of the highest version the newest is the one that is loaded. */
  readonly snapshots: {
    load(name: string, key: string): Promise<Uint8Array | null>;
    save(name: string, key: string, version: number, bytes: Uint8Array): Promise<void>;
  };
  /** Drops what a table has of one day, by the partition's id. Rejects with a StoreError. */
  dropDay(table: string, partitionId: string): Promise<void>;
  /** Whether the store answers. */
  ping(): Promise<boolean>;
  close(): Promise<void>;
}

const REQUEST_TIMEOUT_MS = 60_000;
const CONNECTIONS_MAX = 8;

export const createStore = ({ url, username, password, config, now, log }: StoreOptions): Store => {
  const connect = (database: string): ClickHouseClient =>
    createClient({
      url,
      username,
      password,
      database,
      application: "homeostat",
      request_timeout: REQUEST_TIMEOUT_MS,
      max_open_connections: CONNECTIONS_MAX,
      // On a cluster what rows refer to (series, resources) stands on their own shard: each shard asks itself.
      clickhouse_settings: { distributed_product_mode: "local" },
      // Every failure reaches its caller, who logs it once.
      log: { level: ClickHouseLogLevel.OFF },
    });
  const client = connect(config.database);
  const run: Store["run"] = (query, params, options = {}) =>
    runQuery({ client, timeoutMs: config.query_timeout_ms, log }, query, params, options);

  return {
    migrate: async () => {
      // The client's own database may not exist yet; `system` always does.
      const migrating = connect("system");
      try {
        await migrate({ client: migrating, config, now, log });
        await applyRetention({ client: migrating, config, log });
      } finally {
        await migrating.close();
      }
    },
    insertNative: (insert) => insertNative(client, insert),
    insertJson: (insert) => insertJson(client, insert),
    lastSequences: async (topic, partition) => {
      const rows = await run(lastSequences, { topic, partition });
      return new Map(
        rows.map(({ producer, last_sequence, since_sequence, rows, dead_rows }) => [
          producer,
          { lastSequence: last_sequence, sinceSequence: since_sequence, rows, deadRows: dead_rows },
        ]),
      );
    },
    run,
    samples: (asked, { signal } = {}) => readSamples(client, asked, { timeoutMs: config.query_timeout_ms, signal }),
    rollups: createRollups({ client, config, run, insertJson: (insert) => insertJson(client, insert), now }),
    snapshots: createSnapshots({ run, insertJson: (insert) => insertJson(client, insert), now }),
    dropDay: (table, partitionId) => dropDay(client, table, partitionId),
    ping: async () => (await client.ping()).success,
    close: () => client.close(),
  };
};
