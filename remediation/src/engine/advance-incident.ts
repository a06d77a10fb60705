import type { Incident, RemediationRun } from "@homeostat/schemas";
import { hasRoomForRun, unresolvedFindings } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import type { Context } from "./event.ts";
import { answerTo, propose } from "./propose.ts";
import { isLive } from "./run-state.ts";

const liveRunOf = (draft: Draft, incident: Incident): RemediationRun | null => {
  for (const id of incident.run_ids) {
    const run = draft.runs.get(id);
    if (run !== undefined && isLive(run)) return run;
  }
  return null;
};

/** What an incident does by itself. */
export const advanceIncident = (draft: Draft, incident: Incident, context: Context): undefined => {
  const age = draft.now - incident.state_since_unix_ms;
  const { group_wait_ms, close_after_ms } = context.config.incident;
  const hasEnded = unresolvedFindings(incident).length === 0;
  if (incident.state === "closed" || liveRunOf(draft, incident) !== null) return;
  if (incident.state === "resolved") {
    if (age >= close_after_ms) draft.moveIncident(incident, "closed", "it stayed quiet");
  } else if (hasEnded) {
    draft.moveIncident(incident, "resolved", "every finding is resolved");
  } else if (incident.state === "open" || incident.state === "reopened") {
    if (age >= group_wait_ms)
      draft.moveIncident(incident, "diagnosing", `findings so far: ${incident.findings.length}`);
  } else if (incident.state === "diagnosing") {
    propose(draft, incident, context);
  } else if (incident.state === "escalated") {
    advanceEscalated(draft, incident, context);
  } else {
    draft.moveIncident(incident, "escalated", "its run is not in the journal");
  }
};

/** A person's turn. The engine comes back only while nothing was tried and something is new that a runbook answers. */
const advanceEscalated = (
  draft: Draft,
  incident: Incident,
  { config, heard, leaderSinceUnixMs }: Context,
): undefined => {
  const wasTried = incident.run_ids.some((id) => draft.runs.get(id)?.times.started_at_unix_ms != null);
  const chosen = wasTried ? null : answerTo(draft, incident, config);
  if (chosen !== null && hasRoomForRun(incident))
    return draft.moveIncident(incident, "diagnosing", `${chosen.findings[0].rule} is new`);
  if (draft.now >= abandonedAt(incident, { config, heard, leaderSinceUnixMs }))
    draft.moveIncident(incident, "closed", "nothing was heard of it any more");
};

export const abandonedAt = (
  incident: Incident,
  { config, heard, leaderSinceUnixMs }: Pick<Context, "config" | "heard" | "leaderSinceUnixMs">,
): number => {
  const lastHeard = incident.findings.map(({ finding_id }) => heard.get(finding_id) ?? 0);
  return Math.max(incident.state_since_unix_ms, leaderSinceUnixMs, ...lastHeard) + config.incident.abandon_after_ms;
};
