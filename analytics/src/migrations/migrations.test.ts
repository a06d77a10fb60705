import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StoreConfig } from "../store/store-config.ts";
import { MIGRATIONS_DIR, type Migration, readMigrations } from "./migration-files.ts";
import { planMigrations } from "./plan-migrations.ts";
import { renderMigration } from "./render-migration.ts";
import { renderedMigrations } from "./rendered-migrations.ts";
import { retentionChanges } from "./retention.ts";
import { statements } from "./statements.ts";

const single = StoreConfig.parse({});
const cluster = StoreConfig.parse({ cluster: "main-1" });

describe("statements", () => {
  it("end at semicolons, but not at those in strings, names and comments", () => {
    const sql = "SELECT ';', 'it''s \\'; ', `a;b`, \"c;d\" -- e;f\n/* g; */;\n-- only a comment;\n;SELECT 5 - 3 / 1;";
    expect(statements(sql)).toEqual(["SELECT ';', 'it''s \\'; ', `a;b`, \"c;d\" -- e;f\n/* g; */", "SELECT 5 - 3 / 1"]);
  });

  it("lose nothing but the semicolons and what is empty", () => {
    const part = fc.constantFrom("SELECT 1", "'a;b'", "`c;d`", "x - y / z", "\n", " ");
    fc.assert(
      fc.property(fc.array(fc.array(part, { minLength: 1 }).map((parts) => parts.join(" "))), (parts) => {
        const kept = parts.map((text) => text.trim()).filter((text) => text !== "");
        expect(statements(parts.join(";"))).toEqual(kept);
      }),
    );
  });
});

describe("a migration", () => {
  it("renders for one node", () => {
    const sql =
      "CREATE TABLE {{table:t}} {{on_cluster}} ENGINE = {{engine:ReplacingMergeTree:version}} SETTINGS {{deduplication_window}}; {{distributed:t:k}};";
    expect(renderMigration(sql, single)).toBe(
      "CREATE TABLE homeostat.t  ENGINE = ReplacingMergeTree(version) SETTINGS non_replicated_deduplication_window = 10000; ;",
    );
  });

  it("renders for a cluster from the same text", () => {
    const sql =
      "CREATE TABLE {{table:t}} {{on_cluster}} ENGINE = {{engine:MergeTree}} SETTINGS {{deduplication_window}}; {{distributed:t:cityHash64(a, b)}};";
    expect(renderMigration(sql, cluster)).toBe(
      "CREATE TABLE homeostat.t_local ON CLUSTER `main-1` ENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}') " +
        "SETTINGS replicated_deduplication_window = 10000; CREATE TABLE IF NOT EXISTS homeostat.t ON CLUSTER `main-1` AS homeostat.t_local\n" +
        "ENGINE = Distributed(`main-1`, homeostat, t_local, cityHash64(a, b));",
    );
  });

  it("is refused when it asks for what there is not", () => {
    expect(() => renderMigration("{{tabel:t}}", single)).toThrow("unknown placeholder {{tabel:t}}");
    expect(() => renderMigration("{{ttl_days:t}}", single)).toThrow("no ttl_days for table t");
  });

  it.each([
    ["one node", single],
    ["a cluster", cluster],
  ])("can be repeated in every statement, for %s", async (_, config) => {
    for (const statement of await renderedMigrations(config))
      expect(statement).toMatch(
        /^(--.*\n|\s)*(CREATE (TABLE|DATABASE) IF NOT EXISTS|DROP TABLE IF EXISTS|CREATE OR REPLACE TABLE .*\nENGINE = Distributed|ALTER TABLE .*\s+((ADD|DROP|MATERIALIZE) \w+ IF (NOT )?EXISTS|(RENAME|MODIFY) COLUMN))/,
      );
  });

  it("has the older index on words where the server lacks the newer one, and nothing of the newer", async () => {
    const indexes = async (word_index: "text" | "tokenbf") =>
      (await renderedMigrations(StoreConfig.parse({ word_index })))
        .join(";")
        .match(/TYPE (text|tokenbf_v1)\(/g)
        ?.map((index) => index.slice(5, -1));
    expect(new Set(await indexes("text"))).toEqual(new Set(["text"]));
    expect(new Set(await indexes("tokenbf"))).toEqual(new Set(["tokenbf_v1"]));
  });

  it("is known by its number and name only when it has them", async () => {
    const dir = await mkdtemp(join(tmpdir(), "homeostat-migrations-"));
    await writeFile(join(dir, "1_wrong.sql"), "");
    await expect(readMigrations(pathToFileURL(`${dir}/`))).rejects.toThrow("migration 1_wrong.sql: want NNNN_name.sql");
    await rm(dir, { recursive: true });
  });
});

describe("the plan of migrations", () => {
  const file = (version: number, checksum = `sum-${version}`): Migration => ({
    version,
    name: `${String(version).padStart(4, "0")}_m.sql`,
    sql: "",
    checksum,
  });
  const files = [file(1), file(2), file(3)];

  it("is what is not applied yet, in order", () => {
    expect(planMigrations(files, [file(1)])).toEqual({ pending: [file(2), file(3)] });
    expect(planMigrations(files, files)).toEqual({ pending: [] });
  });

  it.each([
    [
      "a file that was changed",
      files,
      [file(1), file(2, "other")],
      ["migration 0002_m.sql was changed after it was applied"],
    ],
    ["a gap in the files", [file(1), file(3)], [], ["migration 0003_m.sql: its number should be 0002"]],
    ["two files of one number", [file(1), file(1)], [], ["migration 0001_m.sql: its number should be 0002"]],
    [
      "a gap in what is applied",
      files,
      [file(1), file(3)],
      ["migration 0002_m.sql was never applied, but later ones were"],
    ],
    [
      "a file that is gone",
      [file(1)],
      [file(1), file(2)],
      ["migration 0002_m.sql is applied, but its file is missing (an older program?)"],
    ],
  ])("refuses %s and says which", (_, present, applied, problems) => {
    expect(planMigrations(present, applied)).toEqual({ problems });
  });

  it("starts from files that are numbered without a gap", async () => {
    expect(planMigrations(await readMigrations(MIGRATIONS_DIR), [])).toHaveProperty("pending");
  });
});

describe("retention", () => {
  const definition = (name: string, days: number) => ({
    name,
    engine_full: `MergeTree PARTITION BY toDate(at) ORDER BY at TTL toDateTime(at) + toIntervalDay(${days}) SETTINGS ttl_only_drop_parts = 1`,
    storage_policy: "default",
  });

  it("changes only tables whose days differ", () => {
    const config = { ...single, ttl_days: { ...single.ttl_days, logs: 5 } };
    expect(
      retentionChanges([definition("logs", 14), definition("metric_samples", 30), definition("theirs", 1)], config),
    ).toEqual(["ALTER TABLE homeostat.logs MODIFY TTL toDateTime(at) + toIntervalDay(5)"]);
  });

  const cold = { after_days: { logs: 3, metric_samples: 60 }, storage_policy: "hot_cold", volume: "cold" };

  it("moves rows to the cold volume before it drops them, and not where they would be dropped first", () => {
    const moves = "TTL toDateTime(at) + toIntervalDay(3) TO VOLUME 'cold', toDateTime(at) + toIntervalDay(14)";
    const definitions = [definition("logs", 14), definition("metric_samples", 30)];
    expect(retentionChanges(definitions, { ...single, cold })).toEqual([
      "ALTER TABLE homeostat.logs MODIFY SETTING storage_policy = 'hot_cold'",
      `ALTER TABLE homeostat.logs MODIFY ${moves}`,
    ]);
    const moved = { name: "logs", engine_full: `MergeTree ORDER BY at ${moves}`, storage_policy: "hot_cold" };
    expect(retentionChanges([moved], { ...single, cold })).toEqual([]);
    expect(retentionChanges([moved], single)).toEqual([
      "ALTER TABLE homeostat.logs MODIFY TTL toDateTime(at) + toIntervalDay(14)",
    ]);
  });

  it("changes the tables of rows on a cluster", () => {
    const config = { ...cluster, ttl_days: { ...single.ttl_days, logs: 5 } };
    expect(retentionChanges([definition("logs_local", 14)], config)).toEqual([
      "ALTER TABLE homeostat.logs_local ON CLUSTER `main-1` MODIFY TTL toDateTime(at) + toIntervalDay(5)",
    ]);
  });
});
