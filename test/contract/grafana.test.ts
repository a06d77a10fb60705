import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClickHouseClient, createClient } from "@clickhouse/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createStore, StoreConfig } from "../../analytics/src/index.ts";
import { type EmbeddedStore, startEmbeddedStore } from "../../app/src/embedded/store/index.ts";
import { quietLog } from "./store-rows.ts";

const DASHBOARDS = "grafana-plugin/dashboards";

interface Dashboard {
  readonly panels: readonly { readonly title: string; readonly targets: readonly { readonly rawSql: string }[] }[];
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: string }[] };
}

/** As the official data source writes its macros, and Grafana its variables, out. */
const written = (sql: string): string =>
  sql
    .replaceAll(/\$__timeFilter\(([^)]+)\)/g, "$1 >= now() - INTERVAL 1 HOUR AND $1 <= now()")
    .replaceAll(/\$__timeInterval\(([^)]+)\)/g, "toStartOfInterval(toDateTime($1), INTERVAL 60 second)")
    .replaceAll(/\$\{host:sqlstring\}/g, "'web-1', 'web-2'");

const statements = readdirSync(DASHBOARDS).flatMap((name) => {
  const { panels, templating } = JSON.parse(readFileSync(join(DASHBOARDS, name), "utf8")) as Dashboard;
  return [
    ...panels.flatMap(({ title, targets }) =>
      targets.map(({ rawSql }) => ({ title: `${name}: ${title}`, sql: rawSql })),
    ),
    ...templating.list.map((variable) => ({ title: `${name}: variable ${variable.name}`, sql: variable.query })),
  ];
});

describe("what Grafana's dashboards ask", () => {
  let dir: string;
  let engine: EmbeddedStore;
  let client: ClickHouseClient;
  beforeAll(async () => {
    dir = mkdtempSync(join(tmpdir(), "homeostat-grafana-"));
    engine = await startEmbeddedStore({ dir, log: quietLog });
    const { url, username, password } = engine;
    const store = createStore({ url, username, password, config: StoreConfig.parse({}), now: Date.now, log: quietLog });
    await store.migrate();
    await store.close();
    client = createClient({ url, username, password });
  });
  afterAll(async () => {
    await client.close();
    await engine.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  it.each(statements)("$title is answered by the migrated tables", async ({ sql }) => {
    const result = await client.query({ query: written(sql), format: "JSON" });
    const { meta } = (await result.json()) as { meta?: unknown[] };
    expect(meta?.length).toBeGreaterThan(0);
  });
});
