import { HostName } from "@homeostat/schemas";
import { z } from "zod";
import { ApiError, ErrorBody } from "./api-error.ts";
import type { ApiInstance } from "./api-instance.ts";
import { AgentRow, type FleetPort } from "./fleet-ports.ts";
import { orRefuse } from "./refusal.ts";

const AGENTS_MAX = 20_000;
const errors = { "4xx": ErrorBody, "5xx": ErrorBody };

/** Reading who is there; under a scope that checks who reads. */
export const agentRoutes = (api: ApiInstance, fleet: Pick<FleetPort, "agents" | "agent">): void => {
  api.get(
    "/agents",
    {
      schema: {
        summary: "The hosts of the fleet, by name",
        querystring: z.strictObject({
          labels: z.string().max(2_000).optional().describe("an expression such as role=web,env in (test,prod),!spare"),
          site: z.string().max(64).optional(),
          state: z.string().max(64).optional(),
          after: HostName.optional().describe("the host at which the page before ended"),
          limit: z.coerce.number().int().min(1).max(AGENTS_MAX).default(1_000),
        }),
        response: {
          200: z.strictObject({
            agents: z.array(AgentRow).readonly(),
            total: z.int().describe("on all pages"),
            next: z.string().nullable(),
          }),
          ...errors,
        },
      },
    },
    async ({ query: { labels, site, state, after, limit } }) => {
      const found = orRefuse(fleet.agents({ labels, site }))
        .filter((agent) => state === undefined || agent.state === state)
        .toSorted((a, b) => (a.host < b.host ? -1 : 1));
      const rest = after === undefined ? found : found.filter(({ host }) => host > after);
      const agents = rest.slice(0, limit);
      return { agents, total: found.length, next: rest.length > limit ? (agents.at(-1)?.host ?? null) : null };
    },
  );

  api.get(
    "/agents/:host",
    {
      schema: {
        summary: "One host",
        params: z.strictObject({ host: HostName }),
        response: { 200: z.strictObject({ agent: AgentRow }), ...errors },
      },
    },
    async ({ params: { host } }) => {
      const agent = fleet.agent(host);
      if (agent === null) throw new ApiError("not_found", `no agent ${JSON.stringify(host)}`);
      return { agent };
    },
  );
};
