import type { Outcome, RemediationRun } from "@homeostat/schemas";
import type { Draft } from "./draft.ts";
import { endRun } from "./end-run.ts";
import type { Context } from "./event.ts";
import { beginStep, currentStep } from "./run-state.ts";
import { beginVerifying } from "./verify.ts";

const withOutcome = (run: RemediationRun, outcome: Outcome): RemediationRun =>
  run.state === "rolling_back" && run.rollback !== null
    ? { ...run, rollback: { ...run.rollback, outcomes: [...run.rollback.outcomes, outcome] } }
    : { ...run, outcomes: [...run.outcomes, outcome] };

export const takeOutcome = (draft: Draft, run: RemediationRun, outcome: Outcome, { config }: Context): undefined => {
  const step = currentStep(run);
  if (step === null || step.idempotency_key !== outcome.command_id) return;
  const stepped = withOutcome(run, outcome);
  const said = `${step.summary}: ${outcome.message}`;
  if (outcome.status === "unknown") return endRun(draft, stepped, "escalated", `nobody knows whether it ran: ${said}`);
  if (outcome.status === "failed") return endRun(draft, stepped, "failed", said);
  const next = currentStep(stepped);
  if (next !== null) {
    draft.saveRun("step", { ...stepped, times: beginStep(stepped, next, draft.now, config) });
    return draft.note(run, "step", { kind: "command", text: next.summary });
  }
  if (run.state === "rolling_back") return endRun(draft, stepped, "rolled_back", run.reason);
  beginVerifying(draft, stepped);
};

export const giveUpStep = (draft: Draft, run: RemediationRun, context: Context): undefined => {
  const step = currentStep(run);
  if (step === null) return endRun(draft, run, "escalated", "it has no step to wait for");
  const message = "no result came back in time";
  takeOutcome(
    draft,
    run,
    { status: "unknown", retryable: false, command_id: step.idempotency_key, exit_code: null, message },
    context,
  );
};
