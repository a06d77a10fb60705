import Fastify from "fastify";
import { serializerCompiler, validatorCompiler, type ZodTypeProvider } from "fastify-type-provider-zod";
import { describe, expect, it } from "vitest";
import type { Query } from "../store/query.ts";
import { answerError } from "./api-error.ts";
import type { ApiPorts } from "./api-ports.ts";
import { logRoutes } from "./log-routes.ts";

const nothing = () => undefined;
const quiet = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const RESOURCE = "00ff000000000011";
const NOW = 1_785_600_000_000;

const line = (resource_id: string) => ({
  time_unix_nano: `${NOW}000000`,
  observed_time_unix_nano: "0",
  severity_number: 9,
  severity_text: "INFO",
  host_name: "h",
  service_name: "s",
  event_name: "",
  scope_name: "",
  trace_id: "",
  span_id: "",
  trace_flags: 0,
  body: "b",
  attributes: {},
  resource_id,
});
const resource = { resource_id: RESOURCE, host_name: "h", service_name: "s", attributes: { pod: "p" } };

interface Asked {
  readonly name: string;
  readonly params: unknown;
}

const ask = async (url: string, lines: readonly object[]) => {
  const asked: Asked[] = [];
  const run = async (query: Query, params: unknown) => {
    asked.push({ name: query.name, params });
    return query.name === "log_resources" ? [resource] : lines;
  };
  const app = Fastify();
  app.setValidatorCompiler(validatorCompiler);
  app.setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(answerError(quiet));
  const ports = { run: run as ApiPorts["run"], now: () => NOW };
  logRoutes(app.withTypeProvider<ZodTypeProvider>(), ports);
  const answer = await app.inject(url);
  await app.close();
  return { status: answer.statusCode, body: answer.json(), asked };
};

describe("the routes of logs", () => {
  it("tell what records are about beside them, each resource once", async () => {
    const { body, asked } = await ask("/logs?resource=pod=p", [line(RESOURCE), line(RESOURCE), line("0".repeat(16))]);
    const { resource_id: _, ...told } = resource;
    expect(body.resources).toEqual({ [RESOURCE]: told });
    expect(body.logs).toHaveLength(3);
    expect(asked[0]).toMatchObject({ name: "log_search", params: { resource: { pod: "p" } } });
    expect(asked[1]).toMatchObject({ name: "log_resources", params: { resource_ids: [RESOURCE] } });
  });

  it("ask for no resource where no record names one", async () => {
    const { body, asked } = await ask("/logs", [line("0".repeat(16))]);
    expect(body.resources).toEqual({});
    expect(asked.map(({ name }) => name)).toEqual(["log_search"]);
  });

  it("find the logs of a trace by its id alone, and refuse what is none", async () => {
    const trace = "0af7651916cd43dd8448eb211c80319c";
    const { status, asked } = await ask(`/traces/${trace}/logs?limit=5`, []);
    expect([status, asked]).toEqual([200, [{ name: "trace_logs", params: { trace_id: trace, limit: 5 } }]]);
    expect((await ask("/traces/abc/logs", [])).status).toBe(400);
  });
});
