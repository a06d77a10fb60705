import { z } from "zod";
import type { Action } from "./action.ts";
import { endedOutcome } from "./outcome.ts";
import { judge } from "./verdict.ts";

const Params = z.strictObject({
  service: z.string().min(1).max(255),
  timeout_ms: z.int().min(1000).max(600_000).default(30_000),
});

export const restartService: Action<z.infer<typeof Params>> = {
  name: "restart_service",
  risk: "reversible",
  params: Params,
  facts: () => [],
  plan: (params, _facts, { target, runId, verification }) => ({
    action: "restart_service",
    params,
    target: { ...target, service: params.service },
    risk: "reversible",
    steps: [
      {
        idempotency_key: `${runId}.0`,
        host: target.host,
        executor: "service.restart",
        args: { service: params.service },
        timeout_ms: params.timeout_ms,
        summary: `restart ${params.service} on ${target.host}`,
      },
    ],
    verification,
    summary: `Restart the service ${params.service} on ${target.host}`,
  }),
  apply: async (step, ports, signal) => endedOutcome(await ports.invoke(step, signal)),
  verify: (plan, before, after) => judge(plan.verification.checks, before, after),
  revert: () => ({ refused: "a restart cannot be taken back", mayPass: false }),
};
