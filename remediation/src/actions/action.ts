import type { CommandResult, Entity, Facts, Outcome, Plan, Risk, Step, Verdict } from "@homeostat/schemas";
import type { z } from "zod";
import type { FactQuery, Verification } from "./fact-query.ts";

/** Why there is no plan. `mayPass`: other facts may allow one, so asking again is worth while. */
export interface Refusal {
  readonly refused: string;
  readonly mayPass: boolean;
}

export const isRefusal = (value: Plan | Refusal): value is Refusal => "refused" in value;

export interface PlanContext {
  readonly target: Entity;
  /** The same for every plan of one run: the steps' idempotency keys grow from it. */
  readonly runId: string;
  readonly verification: Verification;
}

/** What applying a step may use. A step with the same key takes effect at most once, however often it is invoked. */
export interface ActionPorts {
  invoke(step: Step, signal: AbortSignal): Promise<CommandResult>;
}

/** What the engine can do to the world. Everything but `apply` is pure. */
export interface Action<Params> {
  readonly name: string;
  readonly risk: Risk;
  readonly params: z.ZodType<Params>;
  /** What `plan` must know, beside what the runbook's checks measure. */
  facts(params: Params, target: Entity): readonly FactQuery[];
  plan(params: Params, facts: Facts, context: PlanContext): Plan | Refusal;
  apply(step: Step, ports: ActionPorts, signal: AbortSignal): Promise<Outcome>;
  verify(plan: Plan, before: Facts, after: Facts): Verdict;
  revert(plan: Plan, before: Facts, context: PlanContext): Plan | Refusal;
}
