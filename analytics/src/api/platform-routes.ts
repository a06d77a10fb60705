import { Heartbeat } from "@homeostat/schemas";
import type { FastifyRequest } from "fastify";
import { z } from "zod";
import { heartbeats } from "../queries/heartbeats.ts";
import { abandoned } from "./abandoned.ts";
import { ApiError, ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import { type ApiPorts, Component, Reloaded } from "./api-ports.ts";

const Health = z.strictObject({
  status: z.enum(["ok", "degraded", "failing"]),
  version: z.string(),
  components: z.array(Component),
});
type Health = z.infer<typeof Health>;

const worst = (components: readonly Component[]): Health["status"] => {
  const states = new Set(components.map(({ state }) => state));
  if (states.has("failing")) return "failing";
  return states.has("degraded") ? "degraded" : "ok";
};

export interface HealthOptions {
  readonly version: string;
  /** Others are told the status and nothing else: enough for a load balancer. */
  readonly maySeeParts: (request: FastifyRequest) => boolean;
}

export const healthRoute = (api: ApiInstance, ports: ApiPorts, { version, maySeeParts }: HealthOptions): void => {
  api.get(
    "/health",
    {
      schema: {
        summary: "The state of every part; 503 while one is failing",
        querystring: z.strictObject({
          always: z.enum(["200"]).optional().describe("200: answer 200 whatever the state"),
        }),
        response: { 200: Health, 503: Health },
      },
    },
    async (request, reply) => {
      const components = await ports.health();
      const status = worst(components);
      reply.code(status === "failing" && request.query.always === undefined ? 503 : 200);
      return { status, version, components: maySeeParts(request) ? [...components] : [] };
    },
  );
};

export const platformRoutes = (api: ApiInstance, ports: ApiPorts): void => {
  api.get(
    "/agents",
    {
      schema: {
        summary: "The newest heartbeat of every host",
        response: { 200: z.strictObject({ agents: z.array(Heartbeat) }), "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async (_, reply) => {
      const rows = await ports.run(heartbeats, {}, { signal: abandoned(reply) });
      return { agents: rows.map(({ record }) => record) };
    },
  );
};

/** Under a scope that wants an admin. */
export const reloadRoute = (api: ApiInstance, ports: ApiPorts): void => {
  api.post(
    "/reload",
    {
      schema: {
        summary: "Reads the configuration again: new rules take the place of old ones; a wrong one is refused",
        security: [{ token: [] }],
        body: z.strictObject({}),
        response: { 200: Reloaded, "4xx": ErrorBody, "5xx": ErrorBody },
      },
    },
    async () => {
      const answer = await ports.reload();
      if ("problems" in answer) throw new ApiError("refused", answer.message, answer.problems);
      return answer;
    },
  );
};
