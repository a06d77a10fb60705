import type { Incident, RemediationRun } from "@homeostat/schemas";
import { checkGuards } from "../guards/guards.ts";
import { addToTimeline } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import { endRun } from "./end-run.ts";
import type { Context } from "./event.ts";
import { runbookOf } from "./plan-run.ts";
import { beginStep, isOverdue } from "./run-state.ts";

export const advanceGuardCheck = (
  draft: Draft,
  run: RemediationRun,
  incident: Incident,
  context: Context,
): undefined => {
  if (run.plan === null) return endRun(draft, run, "escalated", "its plan is not in the journal");
  const filled = runbookOf(run, incident, context.config);
  if ("refused" in filled) return endRun(draft, run, "suppressed", filled.refused);
  const checked = checkGuards({
    ...context,
    run,
    cooldownMs: filled.runbook.cooldown_ms,
    runs: draft.runs.values(),
    incidents: draft.incidents.values(),
  });
  const guards = checked.map(({ guard, passed, reason }) => ({ guard, passed, reason }));
  if (run.autonomy === "observe" || run.autonomy === "suggest") return tell(draft, { ...run, guards });
  const held = checked.filter(({ passed }) => !passed);
  const [first] = held.toSorted((a, b) => Number(b.ifNot === "stop") - Number(a.ifNot === "stop"));
  if (first === undefined) return clear(draft, { ...run, guards }, context);
  if (first.ifNot === "stop" || isOverdue(run, draft.now))
    return endRun(draft, run, "suppressed", `${first.guard}: ${first.reason}`, { guards });
  const wasTold =
    run.guards.length === guards.length && run.guards.every(({ passed }, i) => passed === guards[i]?.passed);
  if (wasTold) return;
  draft.saveRun("held", { ...run, guards });
  draft.note(run, "held", { kind: "guard", text: held.map(({ guard, reason }) => `${guard}: ${reason}`).join("; ") });
};

const tell = (draft: Draft, run: RemediationRun): undefined => {
  const what = run.autonomy === "suggest" ? `a person may do this: ${run.plan?.summary}` : "it only observes";
  endRun(draft, run, "suppressed", `autonomy is ${run.autonomy}: ${what}`);
};

const clear = (draft: Draft, run: RemediationRun, { config }: Context): undefined => {
  const step = run.plan?.steps[0];
  const incident = draft.incidentOf(run);
  if (step === undefined || incident === undefined) return;
  const passed = addToTimeline(incident, {
    at_unix_ms: draft.now,
    kind: "guard",
    text: `all ${run.guards.length} guards passed for ${run.runbook}`,
  });
  if (run.autonomy === "approve" && run.decision === null) {
    const times = { ...run.times, deadline_unix_ms: draft.now + config.approval_ttl_ms };
    draft.saveRun("awaiting_approval", { ...run, state: "awaiting_approval", times });
    const text = `run ${run.run_id} awaits a person's word: ${run.plan?.summary}`;
    draft.saveIncident("awaiting_approval", addToTimeline(passed, { at_unix_ms: draft.now, kind: "approval", text }));
    return;
  }
  draft.saveRun("running", {
    ...run,
    state: "running",
    times: { ...beginStep(run, step, draft.now, config), started_at_unix_ms: draft.now },
  });
  draft.moveIncident(passed, "mitigating", step.summary);
};
