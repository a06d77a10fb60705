import { AgentRow } from "@homeostat/analytics";
import { z } from "zod";
import type { ApiClient } from "./client.ts";

const PAGE = 1_000;
const Page = z.object({ agents: z.array(AgentRow), total: z.number(), next: z.string().nullable() });

export interface AgentFilter {
  readonly labels?: string | undefined;
  readonly site?: string | undefined;
  readonly state?: string | undefined;
}

/** All pages of it. */
export const agentsOf = async (api: ApiClient, filter: AgentFilter): Promise<readonly AgentRow[]> => {
  const found: AgentRow[] = [];
  let after = "";
  for (;;) {
    const query = new URLSearchParams({ limit: String(PAGE), ...(after !== "" && { after }) });
    for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, value);
    const page = await api.get(`/api/v1/agents?${query}`, Page);
    found.push(...page.agents);
    if (page.next === null) return found;
    after = page.next;
  }
};
