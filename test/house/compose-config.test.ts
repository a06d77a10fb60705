import { readFileSync } from "node:fs";
import { parseOptions } from "@homeostat/app";
import { expect, it } from "vitest";
import { parse } from "yaml";

const path = "deploy/homeostat.compose.yaml";
const options = parseOptions(readFileSync(path, "utf8"), path);
const compose = parse(readFileSync("docker-compose.yml", "utf8"));

it("configures Kafka and a ClickHouse server, where docker-compose.yml puts them", () => {
  expect(options.bus).toMatchObject({ kind: "kafka", brokers: ["kafka:9092"] });
  expect(options.store).toMatchObject({ kind: "clickhouse", url: "http://clickhouse:8123" });
  expect(Object.keys(compose.services)).toEqual(expect.arrayContaining(["kafka", "clickhouse"]));
});

it("signs in as the user that docker-compose.yml makes, with the password that it hands over", () => {
  expect(options.store).toMatchObject({
    username: compose.services.clickhouse.environment.CLICKHOUSE_USER,
    password: { env: "CLICKHOUSE_PASSWORD" },
  });
  expect(compose.services.homeostat.environment).toHaveProperty("CLICKHOUSE_PASSWORD");
});

it("keeps its data on the volume and answers on the published port", () => {
  expect(compose.services.homeostat.volumes).toContain(`homeostat:${options.data_dir}`);
  expect(compose.services.homeostat.ports).toContain(`127.0.0.1:7070:${options.http.port}`);
  expect(options.http.host).toBe("0.0.0.0");
});
