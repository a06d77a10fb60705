import { readdirSync } from "node:fs";
import { createClient } from "@clickhouse/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createStore,
  incidentById,
  incidentsList,
  ledger,
  metricNames,
  renderedMigrations,
  resultsByCommand,
  type Store,
  StoreConfig,
  type StoreOptions,
} from "../../analytics/src/index.ts";
import { TELEMETRY } from "../../schemas/src/index.ts";
import { describeLogQueries } from "./store-logs.ts";
import { describeMetricQueries } from "./store-metrics.ts";
import {
  AROUND,
  DAY_MS,
  incidentRecord,
  insertIncident,
  insertResult,
  logBatch,
  NOON,
  nothing,
  quietLog,
  refusedResult,
} from "./store-rows.ts";
import { describeOlderDatabase, describeValues } from "./store-values.ts";

/** One ClickHouse, and how to reach it. The suite makes databases of its own on it. */
export interface StoreServer {
  readonly url: string;
  readonly username: string;
  readonly password: string;
  dispose(): Promise<void>;
}

/** The same suite for every ClickHouse that the platform may be pointed at. */
export const describeStore = (name: string, start: () => Promise<StoreServer>): void => {
  describe(name, () => {
    let server: StoreServer;
    let store: Store;
    const database = `homeostat_contract_${process.pid}`;
    const options = (config: Partial<StoreConfig> = {}): StoreOptions => ({
      url: server.url,
      username: server.username,
      password: server.password,
      config: StoreConfig.parse({ database, ...config }),
      now: Date.now,
      log: quietLog,
    });
    const askOf = async <T>(asked: string, query: string, params: Record<string, unknown> = {}): Promise<T[]> => {
      const { url, username, password } = server;
      const client = createClient({ url, username, password, database: asked });
      try {
        return await (await client.query({ query, query_params: params, format: "JSONEachRow" })).json<T>();
      } finally {
        await client.close();
      }
    };
    const ask = <T>(query: string, params?: Record<string, unknown>): Promise<T[]> => askOf(database, query, params);
    const countOf = async (table: string): Promise<number> =>
      Number((await ask<{ n: string }>(`SELECT count() AS n FROM ${table}`))[0]?.n);
    beforeAll(async () => {
      server = await start();
      store = createStore(options());
      await store.migrate();
    });
    afterAll(async () => {
      await ask(`DROP DATABASE IF EXISTS ${database} SYNC`).catch(nothing);
      await store?.close();
      await server?.dispose();
    });

    describe("migrations", () => {
      it("are applied once, however often and by however many starters at once", async () => {
        const fresh = options({ database: `${database}_race` });
        const starters = [1, 2, 3, 4].map(() => createStore(fresh));
        await Promise.all(starters.map((starter) => starter.migrate()));
        await starters[0]?.migrate();
        const applied = await ask<{ name: string }>(
          `SELECT name FROM ${database}_race.schema_migrations FINAL ORDER BY version`,
        );
        const files = readdirSync(new URL("../../analytics/migrations/", import.meta.url)).sort();
        expect(applied.map((migration) => migration.name)).toEqual(files);
        await Promise.all(starters.map((starter) => starter.close()));
        await ask(`DROP DATABASE ${database}_race SYNC`);
      });

      const older = `${database}_before`;
      describeOlderDatabase(() => ({
        database: older,
        store: createStore(options({ database: older })),
        ask: (query) => askOf("system", query),
      }));

      it.each(Object.entries(TELEMETRY))(
        "give table %s the columns of schemas/src/telemetry.ts",
        async (table, columns) => {
          const found = await ask<{ name: string; type: string }>(
            "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} ORDER BY position",
            { database, table },
          );
          const stored = found.map(({ name: column, type }) => ({
            name: column,
            type: type.replace(/LowCardinality\(String\)/g, "String"),
          }));
          expect(stored).toEqual(expect.arrayContaining(columns.map(({ name, type }) => ({ name, type }))));
        },
      );

      it("give every table a retention, days as partitions and a memory of insert tokens", async () => {
        const tables = await ask<{ name: string; engine_full: string; partition_key: string }>(
          "SELECT name, engine_full, partition_key FROM system.tables WHERE database = {database:String} AND name != 'schema_migrations'",
          { database },
        );
        expect(tables.length).toBeGreaterThanOrEqual(Object.keys(options().config.ttl_days).length);
        for (const table of tables) {
          expect(table.engine_full, table.name).toMatch(/ TTL .*toIntervalDay\(\d+\)/);
          expect(table.engine_full, table.name).toContain("ttl_only_drop_parts = 1");
          expect(table.engine_full, table.name).toContain("deduplication_window = 10000");
          expect(table.partition_key, table.name).toMatch(/^toDate\(/);
        }
      });

      it("change a table's retention when the configuration does", async () => {
        const shorter = createStore(options({ ttl_days: { ...options().config.ttl_days, logs: 3 } }));
        await shorter.migrate();
        await shorter.close();
        const [logs] = await ask<{ engine_full: string }>(
          "SELECT engine_full FROM system.tables WHERE database = {database:String} AND name = 'logs'",
          { database },
        );
        expect(logs?.engine_full).toContain("TTL toDateTime(timestamp) + toIntervalDay(3)");
      });
    });

    it.each([
      ["one node", {}],
      ["a cluster", { cluster: "main" }],
    ])("parses every statement of the migrations as they are for %s", async (_, config) => {
      const all = await renderedMigrations(StoreConfig.parse(config));
      for (const statement of all) await ask("SELECT formatQuery({statement:String}) AS formatted", { statement });
      await expect(ask("SELECT formatQuery({statement:String})", { statement: `${all[1]} NONSENSE` })).rejects.toThrow(
        /Syntax error/,
      );
    });

    describe("inserts", () => {
      it("takes concatenated batches as one block that is there once, however often it is sent", async () => {
        const before = await countOf("logs");
        const frames = [1, 2, 3].map((batch) =>
          logBatch(Array.from({ length: batch * 10 }, (_, i) => ({ body: `line ${i}` }))),
        );
        const insert = { table: "logs", frames, dedupToken: "telemetry.logs:0:0-3:logs", rowCount: 60 } as const;
        for (let i = 0; i < 3; i++) await store.insertNative(insert);
        expect(await countOf("logs")).toBe(before + 60);
        await store.insertNative({ ...insert, dedupToken: "another" });
        expect(await countOf("logs")).toBe(before + 120);
        const parts = await ask<{ rows: string }>(
          "SELECT rows FROM system.parts WHERE database = {database:String} AND table = 'logs' AND level = 0 AND rows = 60",
          { database },
        );
        expect(parts).toHaveLength(2);
      });

      it("takes a batch that spans midnight under one token, once", async () => {
        const before = await countOf("logs");
        const midnight = NOON - DAY_MS / 2;
        const lines = [-1000, 0, 1000].map((offset) => ({ body: "around midnight", atMs: midnight + offset }));
        const insert = { table: "logs", frames: [logBatch(lines)], dedupToken: "midnight", rowCount: 3 } as const;
        await store.insertNative(insert);
        await store.insertNative(insert);
        expect(await countOf("logs")).toBe(before + 3);
      });

      it("refuses bytes that are not a batch for good, and keeps nothing of the insert", async () => {
        const before = await countOf("logs");
        const frames = [logBatch([{ body: "whole" }]), Buffer.alloc(500, 7)];
        await expect(
          store.insertNative({ table: "logs", frames, dedupToken: "garbage", rowCount: 501 }),
        ).rejects.toMatchObject({ name: "InsertError", retryable: false });
        expect(await countOf("logs")).toBe(before);
      });

      it("does not pass over rows that are missing at the end of a batch cut short", async () => {
        const whole = logBatch(Array.from({ length: 500 }, (_, i) => ({ body: `line ${i}` })));
        await expect(
          store.insertNative({ table: "logs", frames: [whole.subarray(0, -20)], dedupToken: "cut", rowCount: 500 }),
        ).rejects.toThrow("the engine read");
      });

      it("says that an insert into a store that is away may be tried again", async () => {
        const away = createStore({ ...options(), url: "http://127.0.0.1:9" });
        const insert = { table: "logs", frames: [logBatch([{ body: "x" }])], dedupToken: "away", rowCount: 1 } as const;
        await expect(away.insertNative(insert)).rejects.toMatchObject({ name: "InsertError", retryable: true });
        await expect(away.insertJson({ table: "ingest_ledger", rows: [{}], dedupToken: "x" })).rejects.toMatchObject({
          retryable: true,
        });
        await expect(away.run(metricNames, AROUND)).rejects.toMatchObject({ name: "StoreError", code: "unreachable" });
        expect(await away.ping()).toBe(false);
        await away.close();
      });

      it("remembers the highest sequence of each producer, and repeats of ledger rows change nothing", async () => {
        const row = (producer: string, last_sequence: number, start_offset: number) => ({
          topic: "telemetry.logs",
          partition: 1,
          producer,
          last_sequence,
          start_offset,
          end_offset: start_offset + 5,
          batches: 5,
          rows: 500,
          duplicates: 1,
          dead: 2,
          at: NOON,
        });
        const insert = { table: "ingest_ledger", rows: [row("a", 4, 0), row("b", 2 ** 40, 0)], dedupToken: "ledger-0" };
        await store.insertJson(insert);
        await store.insertJson(insert);
        await store.insertJson({
          table: "ingest_ledger",
          rows: [row("a", 9, 5), row("", 0, 5)],
          dedupToken: "ledger-5",
        });
        expect(await store.lastSequences("telemetry.logs", 1)).toEqual(
          new Map([
            ["a", { lastSequence: 9, sinceSequence: 9, rows: 0, deadRows: 0 }],
            ["b", { lastSequence: 2 ** 40, sinceSequence: 2 ** 40, rows: 0, deadRows: 0 }],
          ]),
        );
        expect(await store.lastSequences("telemetry.logs", 0)).toEqual(new Map());
        const rows = await store.run(ledger, AROUND);
        expect(rows.find(({ producer }) => producer === "a")).toMatchObject({
          batches: 10,
          rows: 1000,
          duplicates: 2,
          dead: 4,
        });
      });

      it("keeps a detector's state byte for byte, and loads the highest version", async () => {
        const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
        await store.snapshots.save("baseline", "0", 7, bytes);
        await store.snapshots.save("baseline", "0", 6, new Uint8Array([1]));
        expect(Uint8Array.from((await store.snapshots.load("baseline", "0")) ?? [])).toEqual(bytes);
        expect(await store.snapshots.load("baseline", "1")).toBeNull();
      });
    });

    describeMetricQueries(() => store);

    describeLogQueries(() => ({ store, ask }));
    describeValues(() => ({ store, ask }));

    describe("logs on a server without the text index", () => {
      const older = { database: `${database}_older`, word_index: "tokenbf" } as const;
      let olderStore: Store;
      beforeAll(async () => {
        olderStore = createStore(options(older));
        await olderStore.migrate();
      });
      afterAll(async () => {
        await olderStore?.close();
        await ask(`DROP DATABASE IF EXISTS ${older.database} SYNC`).catch(nothing);
      });
      describeLogQueries(() => ({
        store: olderStore,
        ask: (query, params) => askOf(older.database, query, params),
      }));
    });

    describe("records", () => {
      it("are kept when they have no time of their own", async () => {
        await insertResult(store, refusedResult, 0);
        await ask("OPTIMIZE TABLE agent_results FINAL").catch(nothing);
        const found = await store.run(resultsByCommand, { command_ids: [refusedResult.command_id, "c-2"] });
        expect(found).toEqual([{ record: refusedResult }]);
      });

      it("hold a result of each host, although a dispatch has one id for all", async () => {
        const results = ["a-1", "a-2", "a-3"].map((host) => ({ ...refusedResult, command_id: "job.0", host }));
        for (const result of results) await insertResult(store, result, 0);
        await ask("OPTIMIZE TABLE agent_results FINAL").catch(nothing);
        const found = await store.run(resultsByCommand, { command_ids: ["job.0"] });
        expect(found.map(({ record }) => record.host)).toEqual(["a-1", "a-2", "a-3"]);
      });

      it("are read in their newest version, whatever the order they came in", async () => {
        for (const record of [
          incidentRecord("i-1", 3, "resolved"),
          incidentRecord("i-1", 2, "open"),
          incidentRecord("i-2", 1, "open"),
        ])
          await insertIncident(store, record);
        const [one] = await store.run(incidentById, { incident_id: "i-1" });
        expect(one?.record).toEqual(incidentRecord("i-1", 3, "resolved"));
        const open = await store.run(incidentsList, { ...AROUND, states: ["open"] });
        expect(open.map(({ record }) => record.incident.incident_id)).toEqual(["i-2"]);
        expect(await store.run(incidentById, { incident_id: "i-3" })).toEqual([]);
      });
    });

    describe("bounds", () => {
      it("refuses an answer that is larger than the query may give", async () => {
        await expect(
          store.run({ ...incidentById, sql: "SELECT '{}' AS record FROM numbers(100)" }, { incident_id: "x" }),
        ).rejects.toMatchObject({
          name: "StoreError",
          code: "too_much",
        });
      });

      it("gives up a query that takes too long", async () => {
        const hasty = createStore(options({ query_timeout_ms: 100 }));
        const slow = {
          ...incidentById,
          sql: "SELECT toString(sum(sipHash64(number))) AS record FROM numbers(100000000000)",
        };
        await expect(hasty.run(slow, { incident_id: "x" })).rejects.toMatchObject({
          code: "timed_out",
          retryable: true,
        });
        await hasty.close();
      });

      it("does not let a named query write", async () => {
        const writing = { ...incidentById, sql: "INSERT INTO heartbeats (host_name) VALUES ('x')" };
        await expect(store.run(writing, { incident_id: "x" })).rejects.toMatchObject({
          name: "StoreError",
          code: "refused",
        });
      });

      it("cancels in the engine what its caller no longer waits for", async () => {
        const aborting = new AbortController();
        const comment = `abandoned_${process.pid}`;
        const slow = {
          ...incidentById,
          name: comment,
          sql: "SELECT toString(sum(sipHash64(number))) AS record FROM numbers(100000000000)",
        };
        const running = async () =>
          Number(
            (
              await ask<{ n: string }>(
                "SELECT count() AS n FROM system.processes WHERE query LIKE '%100000000000)%' AND query NOT LIKE '%processes%'",
              )
            )[0]?.n,
          );
        const answer = store.run(slow, { incident_id: "x" }, { signal: aborting.signal });
        answer.catch(nothing);
        await expect.poll(running, { interval: 20 }).toBe(1);
        aborting.abort();
        await expect(answer).rejects.toBeDefined();
        await expect.poll(running, { interval: 20 }).toBe(0);
      });
    });
  });
};
