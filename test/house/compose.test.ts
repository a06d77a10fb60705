import { readdirSync, readFileSync } from "node:fs";
import { MESSAGE_BYTES_MAX, TELEMETRY, topics } from "@homeostat/schemas";
import { Ajv2020 } from "ajv/dist/2020.js";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { z } from "zod";

const text = readFileSync("docker-compose.yml", "utf8");
const Compose = z.looseObject({
  services: z.record(
    z.string(),
    z.looseObject({
      image: z.string().optional(),
      environment: z.record(z.string(), z.union([z.string(), z.number()])),
      volumes: z.array(z.string()).default([]),
      ports: z.array(z.string()).default([]),
      mem_limit: z.string().optional(),
      healthcheck: z.unknown(),
    }),
  ),
  volumes: z.record(z.string(), z.null()),
});
const compose = Compose.parse(parse(text));
const services = Object.entries(compose.services);
const kafkaSettings = compose.services.kafka?.environment ?? {};

const tagOf = (service: string): string => compose.services[service]?.image?.split(":")[1] ?? "no image";
const captured = (path: string, pattern: RegExp): string =>
  readFileSync(path, "utf8").match(pattern)?.[1] ?? "not found";

describe("docker-compose.yml", () => {
  const schema = JSON.parse(readFileSync("test/fixtures/vendor/compose-spec/compose-spec.json", "utf8"));
  // The specification's own schema marks optional forms in ways that ajv's strict mode dislikes.
  const isValid = new Ajv2020({ strict: false, allErrors: true }).compile(schema);

  it("is valid by the Compose Specification", () => {
    isValid(parse(text));
    expect(isValid.errors ?? []).toEqual([]);
  });

  it("would not be valid with a key that the specification does not know", () => {
    expect(isValid(parse(text.replace("restart:", "restarts:")))).toBe(false);
  });

  it.each(services)("%s has a health check and a memory limit", (_name, service) => {
    expect(service.healthcheck).toBeDefined();
    expect(service.mem_limit).toMatch(/^\d+[mg]$/);
  });

  it("publishes ports on loopback only", () => {
    const ports = services.flatMap(([, service]) => service.ports);
    expect(ports.filter((port) => !port.startsWith("127.0.0.1:"))).toEqual([]);
  });

  it("takes every password from the environment, refuses to start without it, and lists it in deploy/env.example", () => {
    const passwords = services.flatMap(([, { environment }]) =>
      Object.entries(environment).filter(([name]) => name.endsWith("PASSWORD")),
    );
    for (const [name, value] of passwords) expect(value, name).toMatch(/^\$\{[A-Z_]+:\?.+\}$/);
    const asked = new Set([...text.matchAll(/\$\{([A-Z_]+)/g)].map(([, name]) => name));
    const listed = [...readFileSync("deploy/env.example", "utf8").matchAll(/^([A-Z_]+)=$/gm)].map(([, name]) => name);
    expect([...asked].sort()).toEqual(listed.sort());
  });

  it("mounts only files that are there and volumes that it declares", () => {
    const sources = services.flatMap(([, { volumes }]) => volumes.map((volume) => volume.split(":")[0] ?? ""));
    for (const source of sources.filter((path) => path.startsWith("./")))
      expect(() => readdirOrRead(source)).not.toThrow();
    expect(sources.filter((source) => !source.startsWith("./")).sort()).toEqual(Object.keys(compose.volumes).sort());
  });

  it("runs the Kafka that the tests run", () => {
    expect(tagOf("kafka")).toBe(
      captured("test/kafka/pom.xml", /<artifactId>kafka_2\.13<\/artifactId>\s*<version>([^<]+)</),
    );
  });

  it("runs the release of ClickHouse that is embedded", () => {
    expect(tagOf("clickhouse")).toBe(captured("app/package.json", /"@chdb\/lib-linux-x64-gnu": "(\d+\.\d+)\./));
  });
});

describe("what the code decides is not decided again for Docker", () => {
  const deployed = ["docker-compose.yml", "Dockerfile", ...readdirSync("deploy").map((name) => `deploy/${name}`)].map(
    (path) => ({ path, text: readFileSync(path, "utf8") }),
  );

  it("leaves topics to the platform", () => {
    expect(kafkaSettings.KAFKA_AUTO_CREATE_TOPICS_ENABLE).toBe("false");
    const decided = /^KAFKA_(NUM_PARTITIONS|LOG_RETENTION|LOG_CLEANUP|LOG_SEGMENT|DEFAULT_REPLICATION|CREATE_TOPICS)/;
    expect(Object.keys(kafkaSettings).filter((name) => decided.test(name))).toEqual([]);
  });

  it("leaves Kafka's limit on messages alone, which is above ours", () => {
    const KAFKA_DEFAULT_MESSAGE_MAX_BYTES = 1_048_588;
    expect(Object.keys(kafkaSettings).filter((name) => name.includes("MAX_BYTES"))).toEqual([]);
    expect(MESSAGE_BYTES_MAX).toBeLessThan(KAFKA_DEFAULT_MESSAGE_MAX_BYTES);
  });

  it.each(deployed)("$path names no topic, makes no table", ({ text: words }) => {
    expect(topics().filter(({ name }) => words.includes(name))).toEqual([]);
    expect(Object.keys(TELEMETRY).filter((table) => new RegExp(`\\bhomeostat\\.${table}\\b`).test(words))).toEqual([]);
    expect(words).not.toMatch(/CREATE\s+(TABLE|DATABASE)/i);
  });
});

describe("the Dockerfile", () => {
  const dockerfile = readFileSync("Dockerfile", "utf8");
  const workspaces: readonly string[] = JSON.parse(readFileSync("package.json", "utf8")).workspaces;

  it.each(workspaces)("copies the workspace %s: first its manifest, then its sources", (folder) => {
    expect(dockerfile).toContain(`COPY ${folder}/package.json ${folder}/\n`);
    expect(dockerfile).toContain(`COPY ${folder} ${folder}\n`);
    expect(readFileSync(".dockerignore", "utf8").split("\n")).toContain(`!${folder}`);
  });

  it("runs as nobody special, from a file that is there", () => {
    expect(dockerfile).toMatch(/^USER node$/m);
    const entry = captured("Dockerfile", /^ENTRYPOINT \["node", "([^"]+)"\]$/m);
    expect(readFileSync(entry, "utf8")).not.toBe("");
  });
});

function readdirOrRead(path: string): void {
  if (/\.[a-z]+$/.test(path)) readFileSync(path);
  else readdirSync(path);
}
