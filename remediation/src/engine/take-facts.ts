import type { Facts, Incident, RemediationRun } from "@homeostat/schemas";
import { isRefusal } from "../actions/action.ts";
import { addToTimeline } from "../incident/incident.ts";
import type { Draft } from "./draft.ts";
import { endRun } from "./end-run.ts";
import type { Context } from "./event.ts";
import { planRun, runbookOf } from "./plan-run.ts";
import { weigh } from "./verify.ts";

const hasNulls = (facts: Facts): boolean => Object.values(facts.values).includes(null);

const sameGaps = (a: Facts | null, b: Facts): boolean =>
  a !== null && Object.keys(b.values).every((name) => (a.values[name] === null) === (b.values[name] === null));

/** Facts make the plan before the action, and the verdict after it. */
export const takeFacts = (draft: Draft, run: RemediationRun, facts: Facts, context: Context): undefined => {
  if (run.state === "verifying") return weigh(draft, run, facts);
  if (run.state !== "proposed" && run.state !== "guard_check") return;
  const incident = draft.incidentOf(run);
  if (incident === undefined) return;
  // An approved plan is the plan that runs: only what it is compared with is measured anew.
  const made = run.decision?.approved ? run.plan : makePlan(run, incident, facts, context);
  if (made === null) return;
  if (isRefusal(made)) {
    if (!made.mayPass) return endRun(draft, run, "suppressed", made.refused);
    if (run.reason !== made.refused || !sameGaps(run.before, facts))
      draft.saveRun("refused", { ...run, before: facts, reason: made.refused });
    return;
  }
  if (run.state === "guard_check" && hasNulls(facts) && sameGaps(run.before, facts)) return;
  const planned = draft.saveRun("planned", {
    ...run,
    state: "guard_check",
    plan: made,
    entity: made.target,
    before: facts,
    reason: "",
  });
  if (run.state !== "proposed") return;
  const diagnosed = { ...incident, times: { ...incident.times, diagnosed_at_unix_ms: draft.now } };
  const text = `${planned.runbook} (${planned.autonomy}): ${made.summary}`;
  draft.saveIncident("planned", addToTimeline(diagnosed, { at_unix_ms: draft.now, kind: "plan", text }));
};

const makePlan = (run: RemediationRun, incident: Incident, facts: Facts, { config }: Context) => {
  const filled = runbookOf(run, incident, config);
  return "refused" in filled ? filled : planRun(filled, run, incident, facts);
};
