import type { RemediationRun, Step } from "@homeostat/schemas";
import type { Context } from "./event.ts";

export type RunState = RemediationRun["state"];

const ENDED: readonly RunState[] = ["suppressed", "succeeded", "inconclusive", "rolled_back", "failed", "escalated"];
const NOT_BEGUN: readonly RunState[] = ["proposed", "guard_check", "awaiting_approval"];

export const isLive = ({ state }: RemediationRun): boolean => !ENDED.includes(state);

export const hasBegun = ({ state }: RemediationRun): boolean => !NOT_BEGUN.includes(state);

export const isOverdue = ({ times }: RemediationRun, now: number): boolean =>
  times.deadline_unix_ms !== null && now >= times.deadline_unix_ms;

/** The step that a running or rolling-back run waits for. */
export const currentStep = (run: RemediationRun): Step | null => {
  if (run.state === "running") return run.plan?.steps[run.outcomes.length] ?? null;
  if (run.state === "rolling_back") return run.rollback?.plan.steps[run.rollback.outcomes.length] ?? null;
  return null;
};

const stepDeadline = (step: Step, now: number, { commands }: Context["config"]): number =>
  now + commands.delivery_ms + step.timeout_ms + commands.margin_ms;

export const beginStep = (
  run: RemediationRun,
  step: Step,
  now: number,
  config: Context["config"],
): RemediationRun["times"] => ({
  ...run.times,
  step_started_at_unix_ms: now,
  deadline_unix_ms: stepDeadline(step, now, config),
});
