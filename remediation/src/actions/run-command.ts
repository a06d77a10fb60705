import type { Plan, Step } from "@homeostat/schemas";
import { z } from "zod";
import type { Action, PlanContext } from "./action.ts";
import { endedOutcome } from "./outcome.ts";
import { judge } from "./verdict.ts";

const Invocation = z.strictObject({
  /** The name under which the agent declares the command: nothing else can be run. */
  command: z.string().min(1).max(64),
  args: z.record(z.string().max(64), z.string().max(4096)).default({}),
});

const Params = Invocation.extend({
  timeout_ms: z.int().min(1000).max(3_600_000).default(60_000),
  /** Runs when verification shows that the command did not help. */
  revert: Invocation.optional(),
});
type Params = z.infer<typeof Params>;

const stepFor = (
  { command, args, timeout_ms }: Pick<Params, "command" | "args" | "timeout_ms">,
  key: string,
  host: string,
): Step => ({
  idempotency_key: key,
  host,
  executor: "exec.run",
  args: { name: command, args },
  timeout_ms,
  summary: `run the declared command ${command} on ${host}`,
});

const planFor = (
  { command, args, timeout_ms, revert }: Params,
  key: string,
  { target, verification }: PlanContext,
): Plan => ({
  action: "run_command",
  params: { command, args, timeout_ms, ...(revert !== undefined && { revert }) },
  target,
  risk: revert === undefined ? "destructive" : "reversible",
  steps: [stepFor({ command, args, timeout_ms }, key, target.host)],
  verification,
  summary: `Run the declared command ${command} on ${target.host}`,
});

export const runCommand: Action<Params> = {
  name: "run_command",
  risk: "destructive",
  params: Params,
  facts: () => [],
  plan: (params, _facts, context) => planFor(params, `${context.runId}.0`, context),
  apply: async (step, ports, signal) => endedOutcome(await ports.invoke(step, signal)),
  verify: (plan, before, after) => judge(plan.verification.checks, before, after),
  revert: (plan, _before, context) => {
    const { revert, timeout_ms } = Params.parse(plan.params);
    if (revert === undefined)
      return { refused: `${plan.params.command} declares no command that reverts it`, mayPass: false };
    return planFor({ ...revert, timeout_ms }, `${context.runId}.r0`, context);
  },
};
