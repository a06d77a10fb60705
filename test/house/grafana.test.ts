import { readdirSync, readFileSync } from "node:fs";
import { TELEMETRY } from "@homeostat/schemas";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

const PROVISIONING = "grafana-plugin/provisioning";
const DASHBOARDS = "grafana-plugin/dashboards";

const Place = z.object({ x: z.int().min(0), y: z.int().min(0), w: z.int().min(1), h: z.int().min(1) });
const Source = z.object({ type: z.string(), uid: z.string() });
const Dashboard = z.object({
  uid: z.string(),
  templating: z.object({ list: z.array(z.object({ datasource: Source, query: z.string() })) }),
  panels: z.array(
    z.object({
      id: z.int(),
      title: z.string().min(1),
      datasource: Source,
      gridPos: Place,
      targets: z.array(z.object({ datasource: Source, rawSql: z.string().min(1) })).min(1),
    }),
  ),
});

const provisioned = parse(readFileSync(`${PROVISIONING}/datasources/clickhouse.yaml`, "utf8")).datasources[0];
const compose = parse(readFileSync("docker-compose.yml", "utf8")).services;
/** The tables that ingest projects records into; the migrations' test holds the migrations to them. */
const RECORD_TABLES = ["agent_results", "findings", "heartbeats", "incidents", "notifications", "remediation_runs"];
const TABLES = [...Object.keys(TELEMETRY), ...RECORD_TABLES];

describe("Grafana's provisioning", () => {
  it("reads ClickHouse as the user that may only read, with its password from the environment", () => {
    expect(provisioned.jsonData.username).toBe("grafana");
    expect(readFileSync("deploy/clickhouse-grafana-user.xml", "utf8")).toContain("<grants>");
    expect(provisioned.secureJsonData.password).toBe("$GRAFANA_CLICKHOUSE_PASSWORD");
    expect(compose.grafana.environment).toHaveProperty("GRAFANA_CLICKHOUSE_PASSWORD");
  });

  it("installs the plugin that its data source wants", () => {
    expect(compose.grafana.environment.GF_PLUGINS_PREINSTALL_SYNC).toBe(provisioned.type);
  });

  it("looks for dashboards where docker-compose.yml mounts them", () => {
    const [provider] = parse(readFileSync(`${PROVISIONING}/dashboards/homeostat.yaml`, "utf8")).providers;
    expect(compose.grafana.volumes).toContain(`./${DASHBOARDS}:${provider.options.path}:ro`);
  });
});

describe.each(readdirSync(DASHBOARDS))("%s", (name) => {
  const { panels, templating } = Dashboard.parse(JSON.parse(readFileSync(`${DASHBOARDS}/${name}`, "utf8")));
  const targets = panels.flatMap((panel) => panel.targets);
  const statements = [...targets.map(({ rawSql }) => rawSql), ...templating.list.map(({ query }) => query)];

  it("asks the provisioned data source only", () => {
    const sources = [...panels, ...targets, ...templating.list].map(({ datasource }) => datasource);
    for (const source of sources) expect(source).toEqual({ type: provisioned.type, uid: provisioned.uid });
  });

  it("asks tables that we have", () => {
    const asked = statements.flatMap((sql) =>
      [...sql.matchAll(/\b(?:FROM|JOIN)\s+homeostat\.(\w+)/g)].map(([, table]) => table),
    );
    expect(asked.length).toBeGreaterThanOrEqual(statements.length);
    expect(asked.filter((table) => table === undefined || !TABLES.includes(table))).toEqual([]);
  });

  it("reads tables that keep the newest state of each key with FINAL", () => {
    const reads = statements.flatMap((sql) => [...sql.matchAll(/\bFROM\s+homeostat\.(\w+)(\s+FINAL)?/g)]);
    for (const [read, table = "", final] of reads)
      expect(final !== undefined, read).toBe(RECORD_TABLES.includes(table));
  });

  it("has panels with names and ids of their own that do not lie on each other", () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
  });
});
