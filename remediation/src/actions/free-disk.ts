import { z } from "zod";
import type { Action } from "./action.ts";
import { endedOutcome } from "./outcome.ts";
import { judge } from "./verdict.ts";

const Params = z.strictObject({
  /** The declared path's name: the agent frees nothing outside it. */
  path: z.string().min(1).max(255),
  to_utilization: z.number().gt(0).lt(1).default(0.7),
  timeout_ms: z.int().min(1000).max(3_600_000).default(60_000),
});

const FACT_WINDOW_S = 60;
const USAGE = "declared path usage";
const LIMIT = "declared path limit";

export const freeDisk: Action<z.infer<typeof Params>> = {
  name: "free_disk",
  risk: "destructive",
  params: Params,
  facts: ({ path }, { host }) => {
    const labels = { "host.name": host, "path.name": path };
    return [
      { name: USAGE, metric: "homeostat.path.usage", labels, aggregate: "last", window_s: FACT_WINDOW_S },
      { name: LIMIT, metric: "homeostat.path.limit", labels, aggregate: "last", window_s: FACT_WINDOW_S },
    ];
  },
  plan: (params, facts, { target, runId, verification }) => {
    const usage = facts.values[USAGE] ?? null;
    const limit = facts.values[LIMIT] ?? null;
    if (usage === null || limit === null) {
      return { refused: `no data for the usage and limit of the path ${params.path}: is it declared?`, mayPass: true };
    }
    const targetBytes = Math.ceil(usage - params.to_utilization * limit);
    if (targetBytes <= 0) {
      const percent = Math.round((100 * usage) / limit);
      return { refused: `${params.path} is at ${percent} % of its limit: nothing to free`, mayPass: true };
    }
    return {
      action: "free_disk",
      params,
      target: { ...target, path: params.path },
      risk: "destructive",
      steps: [
        {
          idempotency_key: `${runId}.0`,
          host: target.host,
          executor: "files.free",
          args: { path: params.path, target_bytes: targetBytes },
          timeout_ms: params.timeout_ms,
          summary: `free ${targetBytes} bytes in ${params.path} on ${target.host}`,
        },
      ],
      verification,
      summary: `Free ${targetBytes} bytes in the declared path ${params.path} on ${target.host}`,
    };
  },
  apply: async (step, ports, signal) => endedOutcome(await ports.invoke(step, signal)),
  verify: (plan, before, after) => judge(plan.verification.checks, before, after),
  revert: () => ({ refused: "deleted files cannot be brought back", mayPass: false }),
};
