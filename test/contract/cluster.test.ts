import { type ClickHouseClient, createClient } from "@clickhouse/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  createStore,
  logSearch,
  QUERIES,
  renderedMigrations,
  type Store,
  StoreConfig,
} from "../../analytics/src/index.ts";
import type { TELEMETRY } from "../../schemas/src/index.ts";
import { type ClusterEngine, startClusterEngine } from "./cluster-engine.ts";
import { AROUND, insertSeries, logBatch, NOON, quietLog } from "./store-rows.ts";

const config = StoreConfig.parse({ cluster: "fleet-1" });

let engine: ClusterEngine;
let client: ClickHouseClient;
let all: readonly string[];
beforeAll(async () => {
  engine = await startClusterEngine("fleet-1");
  client = createClient({ url: engine.url, database: "system" });
  all = await renderedMigrations(config);
});
afterAll(async () => {
  await client?.close();
  await engine?.stop();
});

/** As the engine understands it. */
const formatted = async (statement: string): Promise<string> => {
  const query = "SELECT formatQuerySingleLine({statement:String}) AS text";
  const result = await client.query({ query, query_params: { statement }, format: "JSONEachRow" });
  return (await result.json<{ text: string }>())[0]?.text ?? "";
};

const created = (table: string): string | undefined =>
  all.find((statement) => new RegExp(`CREATE TABLE IF NOT EXISTS homeostat\\.${table} `).test(statement));

/** What must be asked of one shard alone stands on one shard: rows with what they refer to. */
const SHARDED_BY = {
  logs: "cityHash64(host_name, service_name)",
  log_resources: "cityHash64(host_name, service_name)",
  metric_series: "fingerprint",
  metric_samples: "fingerprint",
  metric_histograms: "fingerprint",
} as const satisfies Record<keyof typeof TELEMETRY, string>;

describe("the migrations of a cluster", () => {
  it("are understood by the engine, statement by statement, each on the whole cluster", async () => {
    for (const statement of all) {
      const text = await formatted(statement);
      expect(await formatted(text), text).toBe(text);
      expect(text).toContain("ON CLUSTER `fleet-1`");
    }
  });

  it.each(Object.entries(SHARDED_BY))("replicate %s within a shard and spread it by %s", async (table, key) => {
    const rows = await formatted(created(`${table}_local`) ?? "");
    expect(rows).toMatch(
      /ENGINE = Replicated(Replacing)?MergeTree\('\/clickhouse\/tables\/\{shard\}\/\{database\}\/\{table\}', '\{replica\}'/,
    );
    expect(rows).toContain("replicated_deduplication_window = 10000");
    const spread = await formatted(created(table) ?? "");
    expect(spread).toContain(`ENGINE = Distributed(\`fleet-1\`, homeostat, ${table}_local, ${key})`);
  });

  it("give a Distributed table the new columns of its local ones, which alone are altered", () => {
    const altered = new Set(all.flatMap((statement) => /ALTER TABLE homeostat\.(\w+)/.exec(statement)?.[1] ?? []));
    expect(altered.size).toBeGreaterThan(0);
    for (const local of altered) {
      expect(local).toMatch(/_local$/);
      const table = local.replace(/_local$/, "");
      const last = all.findLastIndex((statement) => statement.includes(`ALTER TABLE homeostat.${local} `));
      const again = all.findLastIndex((statement) => statement.includes(`CREATE OR REPLACE TABLE homeostat.${table} `));
      // An index is no column.
      if (!/MATERIALIZE INDEX/.test(all[last] ?? "")) expect(again, table).toBeGreaterThan(last);
    }
  });

  it("make no table of rows that is not replicated", () => {
    for (const statement of all)
      if (/ENGINE = (?!Distributed)/.test(statement)) expect(statement).toMatch(/ENGINE = Replicated/);
  });
});

/** What a single engine without a Keeper can be asked to do of them: rows are not replicated, statements are its own. */
const forOneEngine = (statement: string): string =>
  statement
    .replace(/ON CLUSTER `fleet-1`/g, "")
    .replace(/Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?/g, "$1(")
    .replaceAll("replicated_deduplication_window", "non_replicated_deduplication_window");

/** Values that named queries take. */
const SAMPLE: Readonly<Record<string, unknown>> = {
  ...AROUND,
  metric_name: "mem",
  aggregate: "avg",
  quantiles: [0.5],
  incident_id: "i",
  run_id: "r",
  name: "n",
  key: "k",
  topic: "t",
  partition: 0,
  host_name: "host-1",
  host_names: ["host-1"],
  finding_ids: [],
  command_ids: [],
  labels: {},
  trace_id: "0af7651916cd43dd8448eb211c80319c",
  resource: { "service.name": "shop" },
  source: "s",
};

describe("a cluster of two shards", () => {
  let store: Store;
  beforeAll(async () => {
    for (const statement of all) await client.command({ query: forOneEngine(statement) });
    store = createStore({ url: engine.url, username: "default", password: "", config, now: Date.now, log: quietLog });
  });
  afterAll(() => store?.close());

  it("takes batches through its Distributed tables, each once", async () => {
    const insert = { table: "logs", frames: [logBatch([{ body: "one" }])], dedupToken: "one", rowCount: 1 } as const;
    for (let attempt = 0; attempt < 2; attempt += 1) await store.insertNative(insert);
    // Both shards are the same engine: each of them answers with the row.
    const range = { from_unix_ms: NOON - 1, to_unix_ms: NOON + 1 };
    expect(await store.run(logSearch, range)).toHaveLength(2);
    await insertSeries(store, [{ name: "mem", labels: { "host.name": "host-1" }, points: [[0, 1.5]] }]);
    const samples = await store.samples({ metric_name: "mem", labels: {}, ...AROUND });
    expect([...samples.values]).toEqual([1.5, 1.5]);
  });

  it.each(QUERIES.map((query) => [query.name, query] as const))("answers %s", async (_, query) => {
    const known = Object.entries(SAMPLE).filter(([key]) => !unknownKeys(query.params.safeParse(SAMPLE).error).has(key));
    await store.run(query, Object.fromEntries(known));
  });
});

const unknownKeys = (error: { readonly issues: readonly { readonly code: string }[] } | undefined): Set<string> =>
  new Set(
    (error?.issues ?? []).flatMap((issue) =>
      issue.code === "unrecognized_keys" && "keys" in issue ? (issue.keys as string[]) : [],
    ),
  );
