import type { Facts, Finding, Plan, RemediationRun } from "@homeostat/schemas";
import { isRefusal } from "../actions/action.ts";
import { actionNamed } from "../actions/catalog.ts";
import type { Draft } from "./draft.ts";
import { endRun } from "./end-run.ts";
import type { Context } from "./event.ts";
import { beginStep } from "./run-state.ts";

export const beginVerifying = (draft: Draft, run: RemediationRun): undefined => {
  const { for_ms, timeout_ms } = run.plan?.verification ?? { for_ms: 0, timeout_ms: 0 };
  const times = {
    ...run.times,
    applied_at_unix_ms: draft.now,
    step_started_at_unix_ms: null,
    deadline_unix_ms: draft.now + timeout_ms,
  };
  draft.saveRun("verifying", { ...run, state: "verifying", times });
  const incident = draft.incidentOf(run);
  if (incident !== undefined)
    draft.moveIncident(
      incident,
      "verifying",
      `applied; must be healthy for ${for_ms / 1000} s within ${timeout_ms / 1000} s`,
    );
};

/** Journaled when the verdict changes, not with every measurement. */
export const weigh = (draft: Draft, run: RemediationRun, facts: Facts): undefined => {
  if (run.plan === null || run.before === null) return;
  const verdict = actionNamed(run.plan.action)?.verify(run.plan, run.before, facts) ?? "inconclusive";
  const healthySince = verdict === "healed" ? (run.times.healthy_since_unix_ms ?? draft.now) : null;
  const weighed = { ...run, verdict, after: facts, times: { ...run.times, healthy_since_unix_ms: healthySince } };
  const findingsEnded = findingsOf(draft, run).every(({ state }) => state === "resolved");
  const heldLongEnough = healthySince !== null && draft.now - healthySince >= run.plan.verification.for_ms;
  if (heldLongEnough && findingsEnded)
    endRun(
      draft,
      weighed,
      "succeeded",
      `healthy for ${run.plan.verification.for_ms / 1000} s, and the findings are resolved`,
    );
  else if (verdict !== run.verdict) draft.saveRun(`verdict_${verdict}`, weighed);
};

const findingsOf = (draft: Draft, run: RemediationRun): readonly Finding[] =>
  draft.incidentOf(run)?.findings.filter(({ finding_id }) => run.finding_ids.includes(finding_id)) ?? [];

export const giveUpVerifying = (draft: Draft, run: RemediationRun, { config }: Context): undefined => {
  if (run.plan === null || run.before === null || run.verdict === null || run.verdict === "inconclusive") {
    return endRun(draft, run, "inconclusive", "there was no data to say whether it helped", {
      verdict: "inconclusive",
    });
  }
  if (run.verdict === "healed") {
    const firing = findingsOf(draft, run).filter(({ state }) => state !== "resolved");
    const still =
      firing.length > 0 ? `${firing.map(({ rule }) => rule).join(", ")} still fires` : "not for long enough";
    return endRun(draft, run, "inconclusive", `the facts look healthy, but ${still}`, { verdict: "inconclusive" });
  }
  const target = { target: run.plan.target, runId: run.run_id, verification: run.plan.verification };
  const revert = actionNamed(run.plan.action)?.revert(run.plan, run.before, target) ?? {
    refused: "unknown action",
    mayPass: false,
  };
  const why = `the facts are ${run.verdict} after ${run.plan.verification.timeout_ms / 1000} s`;
  if (isRefusal(revert)) return endRun(draft, run, "escalated", `${why}; ${revert.refused}`);
  beginRollback(draft, run, { plan: revert, why }, config);
};

const beginRollback = (
  draft: Draft,
  run: RemediationRun,
  { plan, why }: { plan: Plan; why: string },
  config: Context["config"],
): undefined => {
  const [step] = plan.steps;
  if (step === undefined) return endRun(draft, run, "escalated", why);
  draft.saveRun("rolling_back", {
    ...run,
    state: "rolling_back",
    reason: why,
    rollback: { plan, outcomes: [] },
    times: beginStep(run, step, draft.now, config),
  });
  draft.note(run, "rolling_back", { kind: "revert", text: `${why}: ${plan.summary}` });
};
