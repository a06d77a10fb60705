import type { Incident, RemediationRun } from "@homeostat/schemas";
import { actionNamed } from "../actions/catalog.ts";
import { clip, unresolvedFindings } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import { hasBegun, type RunState } from "./run-state.ts";

const REASON_CHARS_MAX = 1000;

/** The end of a run, and what it means for its incident. */
export const endRun = (
  draft: Draft,
  run: RemediationRun,
  state: RunState,
  why: string,
  changes: Partial<RemediationRun> = {},
): undefined => {
  const reason = clip(why, REASON_CHARS_MAX);
  const times = { ...run.times, ...changes.times, ended_at_unix_ms: draft.now, deadline_unix_ms: null };
  const ended = draft.saveRun(state, { ...run, ...changes, state, reason, times });
  const incident = draft.incidentOf(run);
  if (incident === undefined) return;
  if (state === "succeeded") succeed(draft, incident, ended);
  else if (unresolvedFindings(incident).length > 0 || hasBegun(run)) {
    draft.moveIncident(incident, "escalated", `${run.runbook} ${state.replace("_", " ")}: ${reason}`);
  }
};

const succeed = (draft: Draft, incident: Incident, run: RemediationRun): undefined => {
  const recovered = recoveredAt(incident, run);
  const known = { ...incident, times: { ...incident.times, recovered_at_unix_ms: recovered } };
  if (unresolvedFindings(incident).length > 0)
    draft.moveIncident(
      { ...known, times: incident.times },
      "diagnosing",
      `${run.runbook} helped, something else remains`,
    );
  else draft.moveIncident(known, "resolved", `${run.runbook}: ${run.reason}`);
};

/** When the facts first showed health; where they had shown nothing else before the action, when the findings ended. */
const recoveredAt = (incident: Incident, run: RemediationRun): number | null => {
  const healthySince = run.times.healthy_since_unix_ms;
  const findingsEnded = incident.times.recovered_at_unix_ms;
  if (run.plan === null || run.before === null || healthySince === null) return findingsEnded;
  const wasVisible = actionNamed(run.plan.action)?.verify(run.plan, run.before, run.before) !== "healed";
  return wasVisible ? healthySince : Math.max(healthySince, findingsEnded ?? healthySince);
};
