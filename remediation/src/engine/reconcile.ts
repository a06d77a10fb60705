import type { Incident } from "@homeostat/schemas";
import { addRun, hasRoomForRun } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import type { RunState } from "./run-state.ts";

const INCIDENT_STATE_DURING: Partial<Record<RunState, Incident["state"]>> = {
  proposed: "diagnosing",
  guard_check: "diagnosing",
  awaiting_approval: "diagnosing",
  running: "mitigating",
  rolling_back: "mitigating",
  verifying: "verifying",
};

/**
 * After a start records of one decision may have become durable in part. The run is the truth about what is done: its incident is brought
 * into line with it.
 */
export const reconcile = (draft: Draft): undefined => {
  for (const run of draft.runs.values()) {
    const incident = draft.incidentOf(run);
    const state = INCIDENT_STATE_DURING[run.state];
    if (state === undefined || incident === undefined) continue;
    const isListed = incident.run_ids.includes(run.run_id);
    const listed = isListed || !hasRoomForRun(incident) ? incident : addRun(incident, run.run_id);
    const isInLine =
      listed.state === state ||
      (state === "mitigating" && listed.state === "verifying" && run.state === "rolling_back");
    if (!isInLine) draft.moveIncident(listed, state, `run ${run.run_id} is ${run.state}`);
    else if (!isListed) draft.saveIncident("reconciled", listed);
  }
};
