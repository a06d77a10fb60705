import type { RemediationRun } from "@homeostat/schemas";
import { unresolvedFindings } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import { endRun } from "./end-run.ts";
import type { Context } from "./event.ts";
import { advanceGuardCheck } from "./guard-check.ts";
import { hasBegun, isOverdue } from "./run-state.ts";
import { giveUpStep } from "./take-outcome.ts";
import { giveUpVerifying } from "./verify.ts";

/** What a run does by itself as time passes. */
export const advanceRun = (draft: Draft, run: RemediationRun, context: Context): undefined => {
  const isDue = isOverdue(run, draft.now);
  const incident = draft.incidentOf(run);
  if (incident === undefined) return endRun(draft, run, "escalated", "its incident is not in the journal");
  if (!hasBegun(run) && unresolvedFindings(incident).length === 0) {
    return endRun(draft, run, "suppressed", "the findings ended by themselves");
  }
  switch (run.state) {
    case "proposed":
      return isDue ? endRun(draft, run, "suppressed", run.reason || "no facts could be gathered in time") : undefined;
    case "guard_check":
      return advanceGuardCheck(draft, run, incident, context);
    case "awaiting_approval":
      return isDue ? endRun(draft, run, "suppressed", "nobody decided in time") : undefined;
    case "running":
    case "rolling_back":
      return isDue ? giveUpStep(draft, run, context) : undefined;
    case "verifying":
      return isDue ? giveUpVerifying(draft, run, context) : undefined;
    default:
      return undefined;
  }
};
