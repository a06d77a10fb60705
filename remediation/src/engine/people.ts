import type { Incident, RemediationRun } from "@homeostat/schemas";
import { addToTimeline } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import { endRun } from "./end-run.ts";
import type { Context, Decision } from "./event.ts";

export const takeDecision = (draft: Draft, run: RemediationRun, decision: Decision, { config }: Context): undefined => {
  if (run.state !== "awaiting_approval") return;
  const decided = { ...run, decision: { ...decision, at_unix_ms: draft.now } };
  const text = `${decision.approved ? "approved" : "refused"} by ${decision.by}${decision.note === "" ? "" : `: ${decision.note}`}`;
  if (!decision.approved) return endRun(draft, decided, "suppressed", text);
  // The world may have moved while the person thought: facts and guards are asked once more.
  const times = { ...run.times, deadline_unix_ms: draft.now + config.guards.wait_ms };
  draft.saveRun("approved", { ...decided, state: "guard_check", before: null, guards: [], times });
  draft.note(run, "approved", { kind: "approval", text });
};

export const acknowledge = (draft: Draft, incident: Incident, by: string): undefined => {
  if (incident.acknowledged !== null) return;
  const acknowledged = { ...incident, acknowledged: { by, at_unix_ms: draft.now } };
  draft.saveIncident(
    "acknowledged",
    addToTimeline(acknowledged, { at_unix_ms: draft.now, kind: "acknowledged", text: `by ${by}` }),
  );
};
