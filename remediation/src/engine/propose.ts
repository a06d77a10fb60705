import type { Finding, Incident } from "@homeostat/schemas";
import { addRun, addToTimeline, hasRoomForRun } from "../incident/incident.ts";
import { chooseRunbook } from "../runbooks/match.ts";
import type { Draft } from "./draft.ts";
import type { Context } from "./event.ts";

/** Findings that no run has answered since they began. */
const unanswered = (draft: Draft, incident: Incident): readonly Finding[] => {
  const runs = incident.run_ids.map((id) => draft.runs.get(id)).filter((run) => run !== undefined);
  return incident.findings.filter(
    ({ finding_id, state, started_at_unix_ms }) =>
      state === "firing" &&
      !runs.some((run) => run.finding_ids.includes(finding_id) && run.times.proposed_at_unix_ms >= started_at_unix_ms),
  );
};

/** The runbook for what is new; null when none answers it. */
export const answerTo = (draft: Draft, incident: Incident, { runbooks }: Pick<Context["config"], "runbooks">) =>
  chooseRunbook(runbooks, unanswered(draft, incident));

export const propose = (draft: Draft, incident: Incident, { config, newId }: Context): undefined => {
  const chosen = answerTo(draft, incident, config);
  if (chosen === null) return draft.moveIncident(incident, "escalated", "no runbook answers what is firing");
  if (!hasRoomForRun(incident))
    return draft.moveIncident(incident, "escalated", `${incident.run_ids.length} runs were enough`);
  const run = draft.saveRun("proposed", {
    run_id: newId(),
    incident_id: incident.incident_id,
    entity: incident.entity,
    finding_ids: chosen.findings.map(({ finding_id }) => finding_id),
    runbook: chosen.runbook.name,
    autonomy: chosen.runbook.autonomy,
    state: "proposed",
    plan: null,
    guards: [],
    outcomes: [],
    rollback: null,
    before: null,
    after: null,
    verdict: null,
    decision: null,
    reason: "",
    times: {
      proposed_at_unix_ms: draft.now,
      started_at_unix_ms: null,
      applied_at_unix_ms: null,
      step_started_at_unix_ms: null,
      healthy_since_unix_ms: null,
      deadline_unix_ms: draft.now + config.guards.wait_ms,
      ended_at_unix_ms: null,
    },
    version: 0,
  });
  const text = `${run.runbook} answers ${chosen.findings.map(({ rule }) => rule).join(", ")}`;
  draft.saveIncident(
    "proposed",
    addRun(addToTimeline(incident, { at_unix_ms: draft.now, kind: "runbook", text }), run.run_id),
  );
};
