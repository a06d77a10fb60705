import type { Facts, Finding, Incident, Outcome, Plan, RemediationRun, Step } from "@homeostat/schemas";
import { isRefusal } from "../actions/action.ts";
import { actionNamed } from "../actions/catalog.ts";
import { checkGuards } from "../guards/guards.ts";
import { incidentFor } from "../incident/group.ts";
import {
  addRun,
  addToTimeline,
  attachFinding,
  clip,
  enterState,
  hasRoomForRun,
  isKnown,
  openIncident,
  unresolvedFindings,
} from "../incident/incident.ts";
import { afterAttempt } from "../receivers/outbox.ts";
import { chooseRunbook } from "../runbooks/match.ts";
import { Draft, type World } from "./draft.ts";
import type { Context, Decision, EngineEvent, HeardFinding } from "./event.ts";
import { forgetOld } from "./forget.ts";
import { planRun, runbookOf } from "./plan-run.ts";

/**
 * The engine's middle, pure: what has happened, and the journal records that follow from it. `advance` takes one event into a draft, then
 * lets every incident and run go as far as it can go at this moment. No record here does anything: see owed.ts for what the state asks for.
 */

type RunState = RemediationRun["state"];

const ENDED: readonly RunState[] = ["suppressed", "succeeded", "inconclusive", "rolled_back", "failed", "escalated"];
const NOT_BEGUN: readonly RunState[] = ["proposed", "guard_check", "awaiting_approval"];
const REASON_CHARS_MAX = 1000;

export const isLive = ({ state }: RemediationRun): boolean => !ENDED.includes(state);

/** The step that a running or rolling-back run waits for. */
export const currentStep = (run: RemediationRun): Step | null => {
  if (run.state === "running") return run.plan?.steps[run.outcomes.length] ?? null;
  if (run.state === "rolling_back") return run.rollback?.plan.steps[run.rollback.outcomes.length] ?? null;
  return null;
};

const incidentOf = (draft: Draft, run: RemediationRun): Incident | undefined => draft.incidents.get(run.incident_id);

const note = (
  draft: Draft,
  run: RemediationRun,
  event: string,
  { kind, text }: { kind: string; text: string },
): undefined => {
  const incident = incidentOf(draft, run);
  if (incident !== undefined) draft.saveIncident(event, addToTimeline(incident, { at_unix_ms: draft.now, kind, text }));
};

const moveIncident = (draft: Draft, incident: Incident, state: Incident["state"], why: string): undefined => {
  draft.saveIncident(state, enterState(incident, state, draft.now, why));
};

// ── the end of a run, and what it means for its incident

const endRun = (
  draft: Draft,
  run: RemediationRun,
  state: RunState,
  why: string,
  changes: Partial<RemediationRun> = {},
): undefined => {
  const reason = clip(why, REASON_CHARS_MAX);
  const times = { ...run.times, ...changes.times, ended_at_unix_ms: draft.now, deadline_unix_ms: null };
  const ended = draft.saveRun(state, { ...run, ...changes, state, reason, times });
  const incident = incidentOf(draft, run);
  if (incident === undefined) return;
  if (state === "succeeded") succeed(draft, incident, ended);
  else if (unresolvedFindings(incident).length > 0 || !NOT_BEGUN.includes(run.state)) {
    moveIncident(draft, incident, "escalated", `${run.runbook} ${state.replace("_", " ")}: ${reason}`);
  }
};

const succeed = (draft: Draft, incident: Incident, run: RemediationRun): undefined => {
  const recovered = recoveredAt(incident, run);
  const known = { ...incident, times: { ...incident.times, recovered_at_unix_ms: recovered } };
  if (unresolvedFindings(incident).length > 0)
    moveIncident(
      draft,
      { ...known, times: incident.times },
      "diagnosing",
      `${run.runbook} helped, something else remains`,
    );
  else moveIncident(draft, known, "resolved", `${run.runbook}: ${run.reason}`);
};

/** When the facts first showed health; where they had shown nothing else before the action, when the findings ended. */
const recoveredAt = (incident: Incident, run: RemediationRun): number | null => {
  const healthySince = run.times.healthy_since_unix_ms;
  const findingsEnded = incident.times.recovered_at_unix_ms;
  if (run.plan === null || run.before === null || healthySince === null) return findingsEnded;
  const wasVisible = actionNamed(run.plan.action)?.verify(run.plan, run.before, run.before) !== "healed";
  return wasVisible ? healthySince : Math.max(healthySince, findingsEnded ?? healthySince);
};

// ── findings

const SEVERITIES = ["info", "warning", "critical"] as const;

const takeFinding = (draft: Draft, heard: HeardFinding, context: Context): undefined => {
  const { finding, heardAtUnixMs } = heard;
  const all = [...draft.incidents.values()];
  // A closed incident knows what was said before it was closed; said again later it is a fault that nobody holds.
  const isNews = !all.some(
    (incident) => isKnown(incident, finding) && heardAtUnixMs <= (incident.times.closed_at_unix_ms ?? Infinity),
  );
  if (!isNews) return;
  const incident = incidentFor(all, finding);
  if (incident === null) return openFor(draft, heard, context);
  const attached = attachFinding(incident, finding, draft.now);
  const firesAgain =
    incident.state === "resolved" && finding.state === "firing" && unresolvedFindings(attached).length > 0;
  if (firesAgain) moveIncident(draft, attached, "reopened", `${finding.rule} fires again`);
  else draft.saveIncident("finding", attached);
};

const openFor = (draft: Draft, { finding, heardAtUnixMs }: HeardFinding, { config, newId }: Context): undefined => {
  const { severity_min, finding_age_max_ms, open_max } = config.incident;
  const isMild = SEVERITIES.indexOf(finding.severity) < SEVERITIES.indexOf(severity_min);
  if (finding.state !== "firing" || isMild) return;
  if (draft.now - heardAtUnixMs > finding_age_max_ms) return draft.turnAway("finding_too_old");
  let open = 0;
  for (const { state } of draft.incidents.values()) if (state !== "closed") open += 1;
  if (open >= open_max) return draft.turnAway("too_many_incidents");
  draft.saveIncident("opened", openIncident(newId(), finding, draft.now));
};

// ── facts: the plan before, the verdict after

const hasNulls = (facts: Facts): boolean => Object.values(facts.values).includes(null);

const sameGaps = (a: Facts | null, b: Facts): boolean =>
  a !== null && Object.keys(b.values).every((name) => (a.values[name] === null) === (b.values[name] === null));

const takeFacts = (draft: Draft, run: RemediationRun, facts: Facts, context: Context): undefined => {
  if (run.state === "verifying") return weigh(draft, run, facts);
  if (run.state !== "proposed" && run.state !== "guard_check") return;
  const incident = incidentOf(draft, run);
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

/** Journaled when the verdict changes, not with every measurement. */
const weigh = (draft: Draft, run: RemediationRun, facts: Facts): undefined => {
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
  incidentOf(draft, run)?.findings.filter(({ finding_id }) => run.finding_ids.includes(finding_id)) ?? [];

// ── steps

const stepDeadline = (step: Step, now: number, { commands }: Context["config"]): number =>
  now + commands.delivery_ms + step.timeout_ms + commands.margin_ms;

const beginStep = (
  run: RemediationRun,
  step: Step,
  now: number,
  config: Context["config"],
): RemediationRun["times"] => ({
  ...run.times,
  step_started_at_unix_ms: now,
  deadline_unix_ms: stepDeadline(step, now, config),
});

const withOutcome = (run: RemediationRun, outcome: Outcome): RemediationRun =>
  run.state === "rolling_back" && run.rollback !== null
    ? { ...run, rollback: { ...run.rollback, outcomes: [...run.rollback.outcomes, outcome] } }
    : { ...run, outcomes: [...run.outcomes, outcome] };

const takeOutcome = (draft: Draft, run: RemediationRun, outcome: Outcome, { config }: Context): undefined => {
  const step = currentStep(run);
  if (step === null || step.idempotency_key !== outcome.command_id) return;
  const stepped = withOutcome(run, outcome);
  const said = `${step.summary}: ${outcome.message}`;
  if (outcome.status === "unknown") return endRun(draft, stepped, "escalated", `nobody knows whether it ran: ${said}`);
  if (outcome.status === "failed") return endRun(draft, stepped, "failed", said);
  const next = currentStep(stepped);
  if (next !== null) {
    draft.saveRun("step", { ...stepped, times: beginStep(stepped, next, draft.now, config) });
    return note(draft, run, "step", { kind: "command", text: next.summary });
  }
  if (run.state === "rolling_back") return endRun(draft, stepped, "rolled_back", run.reason);
  beginVerifying(draft, stepped);
};

const beginVerifying = (draft: Draft, run: RemediationRun): undefined => {
  const { for_ms, timeout_ms } = run.plan?.verification ?? { for_ms: 0, timeout_ms: 0 };
  const times = {
    ...run.times,
    applied_at_unix_ms: draft.now,
    step_started_at_unix_ms: null,
    deadline_unix_ms: draft.now + timeout_ms,
  };
  draft.saveRun("verifying", { ...run, state: "verifying", times });
  const incident = incidentOf(draft, run);
  if (incident !== undefined)
    moveIncident(
      draft,
      incident,
      "verifying",
      `applied; must be healthy for ${for_ms / 1000} s within ${timeout_ms / 1000} s`,
    );
};

// ── what a run does by itself as time passes

const advanceRun = (draft: Draft, run: RemediationRun, context: Context): undefined => {
  const isDue = run.times.deadline_unix_ms !== null && draft.now >= run.times.deadline_unix_ms;
  const incident = incidentOf(draft, run);
  if (incident === undefined) return endRun(draft, run, "escalated", "its incident is not in the journal");
  if (NOT_BEGUN.includes(run.state) && unresolvedFindings(incident).length === 0) {
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

const advanceGuardCheck = (draft: Draft, run: RemediationRun, incident: Incident, context: Context): undefined => {
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
  const isDue = run.times.deadline_unix_ms !== null && draft.now >= run.times.deadline_unix_ms;
  if (first.ifNot === "stop" || isDue)
    return endRun(draft, run, "suppressed", `${first.guard}: ${first.reason}`, { guards });
  const wasTold =
    run.guards.length === guards.length && run.guards.every(({ passed }, i) => passed === guards[i]?.passed);
  if (wasTold) return;
  draft.saveRun("held", { ...run, guards });
  note(draft, run, "held", { kind: "guard", text: held.map(({ guard, reason }) => `${guard}: ${reason}`).join("; ") });
};

const tell = (draft: Draft, run: RemediationRun): undefined => {
  const what = run.autonomy === "suggest" ? `a person may do this: ${run.plan?.summary}` : "it only observes";
  endRun(draft, run, "suppressed", `autonomy is ${run.autonomy}: ${what}`);
};

const clear = (draft: Draft, run: RemediationRun, { config }: Context): undefined => {
  const step = run.plan?.steps[0];
  const incident = incidentOf(draft, run);
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
  moveIncident(draft, passed, "mitigating", step.summary);
};

const giveUpStep = (draft: Draft, run: RemediationRun, context: Context): undefined => {
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

const giveUpVerifying = (draft: Draft, run: RemediationRun, { config }: Context): undefined => {
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
  note(draft, run, "rolling_back", { kind: "revert", text: `${why}: ${plan.summary}` });
};

// ── what an incident does by itself

const liveRunOf = (draft: Draft, incident: Incident): RemediationRun | null => {
  for (const id of incident.run_ids) {
    const run = draft.runs.get(id);
    if (run !== undefined && isLive(run)) return run;
  }
  return null;
};

const advanceIncident = (draft: Draft, incident: Incident, context: Context): undefined => {
  const age = draft.now - incident.state_since_unix_ms;
  const { group_wait_ms, close_after_ms } = context.config.incident;
  const hasEnded = unresolvedFindings(incident).length === 0;
  if (incident.state === "closed" || liveRunOf(draft, incident) !== null) return;
  if (incident.state === "resolved") {
    if (age >= close_after_ms) moveIncident(draft, incident, "closed", "it stayed quiet");
  } else if (hasEnded) {
    moveIncident(draft, incident, "resolved", "every finding is resolved");
  } else if (incident.state === "open" || incident.state === "reopened") {
    if (age >= group_wait_ms)
      moveIncident(draft, incident, "diagnosing", `findings so far: ${incident.findings.length}`);
  } else if (incident.state === "diagnosing") {
    propose(draft, incident, context);
  } else if (incident.state === "escalated") {
    advanceEscalated(draft, incident, context);
  } else {
    moveIncident(draft, incident, "escalated", "its run is not in the journal");
  }
};

/** Findings that no run has answered since they began. */
const unanswered = (draft: Draft, incident: Incident): readonly Finding[] => {
  const runs = incident.run_ids.map((id) => draft.runs.get(id)).filter((run) => run !== undefined);
  return incident.findings.filter(
    ({ finding_id, state, started_at_unix_ms }) =>
      state === "firing" &&
      !runs.some((run) => run.finding_ids.includes(finding_id) && run.times.proposed_at_unix_ms >= started_at_unix_ms),
  );
};

const propose = (draft: Draft, incident: Incident, { config, newId }: Context): undefined => {
  const chosen = chooseRunbook(config.runbooks, unanswered(draft, incident));
  if (chosen === null) return moveIncident(draft, incident, "escalated", "no runbook answers what is firing");
  if (!hasRoomForRun(incident))
    return moveIncident(draft, incident, "escalated", `${incident.run_ids.length} runs were enough`);
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

/** A person's turn. The engine comes back only while nothing was tried and something is new that a runbook answers. */
const advanceEscalated = (
  draft: Draft,
  incident: Incident,
  { config, heard, leaderSinceUnixMs }: Context,
): undefined => {
  const wasTried = incident.run_ids.some((id) => draft.runs.get(id)?.times.started_at_unix_ms != null);
  const chosen = wasTried ? null : chooseRunbook(config.runbooks, unanswered(draft, incident));
  if (chosen !== null && hasRoomForRun(incident))
    return moveIncident(draft, incident, "diagnosing", `${chosen.findings[0].rule} is new`);
  if (draft.now >= abandonedAt(incident, { config, heard, leaderSinceUnixMs }))
    moveIncident(draft, incident, "closed", "nothing was heard of it any more");
};

export const abandonedAt = (
  incident: Incident,
  { config, heard, leaderSinceUnixMs }: Pick<Context, "config" | "heard" | "leaderSinceUnixMs">,
): number => {
  const lastHeard = incident.findings.map(({ finding_id }) => heard.get(finding_id) ?? 0);
  return Math.max(incident.state_since_unix_ms, leaderSinceUnixMs, ...lastHeard) + config.incident.abandon_after_ms;
};

// ── after a start: records of one decision may have become durable in part

const INCIDENT_STATE_DURING: Partial<Record<RunState, Incident["state"]>> = {
  proposed: "diagnosing",
  guard_check: "diagnosing",
  awaiting_approval: "diagnosing",
  running: "mitigating",
  rolling_back: "mitigating",
  verifying: "verifying",
};

/** The run is the truth about what is done: its incident is brought into line with it. */
const reconcile = (draft: Draft): undefined => {
  for (const run of draft.runs.values()) {
    const incident = incidentOf(draft, run);
    const state = INCIDENT_STATE_DURING[run.state];
    if (state === undefined || incident === undefined) continue;
    const isListed = incident.run_ids.includes(run.run_id);
    const listed = isListed || !hasRoomForRun(incident) ? incident : addRun(incident, run.run_id);
    const isInLine =
      listed.state === state ||
      (state === "mitigating" && listed.state === "verifying" && run.state === "rolling_back");
    if (!isInLine) moveIncident(draft, listed, state, `run ${run.run_id} is ${run.state}`);
    else if (!isListed) draft.saveIncident("reconciled", listed);
  }
};

// ── people

const takeDecision = (draft: Draft, run: RemediationRun, decision: Decision, { config }: Context): undefined => {
  if (run.state !== "awaiting_approval") return;
  const decided = { ...run, decision: { ...decision, at_unix_ms: draft.now } };
  const text = `${decision.approved ? "approved" : "refused"} by ${decision.by}${decision.note === "" ? "" : `: ${decision.note}`}`;
  if (!decision.approved) return endRun(draft, decided, "suppressed", text);
  // The world may have moved while the person thought: facts and guards are asked once more.
  const times = { ...run.times, deadline_unix_ms: draft.now + config.guards.wait_ms };
  draft.saveRun("approved", { ...decided, state: "guard_check", before: null, guards: [], times });
  note(draft, run, "approved", { kind: "approval", text });
};

const acknowledge = (draft: Draft, incident: Incident, by: string): undefined => {
  if (incident.acknowledged !== null) return;
  const acknowledged = { ...incident, acknowledged: { by, at_unix_ms: draft.now } };
  draft.saveIncident(
    "acknowledged",
    addToTimeline(acknowledged, { at_unix_ms: draft.now, kind: "acknowledged", text: `by ${by}` }),
  );
};

// ── the whole

const take = (draft: Draft, event: EngineEvent, context: Context): undefined => {
  switch (event.kind) {
    case "resumed":
      return reconcile(draft);
    case "tick":
      return forgetOld(draft, context);
    case "findings":
      for (const heard of event.findings) takeFinding(draft, heard, context);
      return;
    case "facts": {
      const run = draft.runs.get(event.runId);
      return run === undefined ? undefined : takeFacts(draft, run, event.facts, context);
    }
    case "step_ended": {
      const run = draft.runs.get(event.runId);
      return run === undefined ? undefined : takeOutcome(draft, run, event.outcome, context);
    }
    case "decided": {
      const run = draft.runs.get(event.runId);
      return run === undefined ? undefined : takeDecision(draft, run, event.decision, context);
    }
    case "acknowledged": {
      const incident = draft.incidents.get(event.incidentId);
      return incident === undefined ? undefined : acknowledge(draft, incident, event.by);
    }
    case "delivered": {
      const notification = draft.notifications.get(event.deliveryId);
      if (notification?.state !== "pending") return;
      return draft.saveNotification(afterAttempt(notification, event.delivery, context.config.notify, draft.now));
    }
  }
};

/** Far more than any chain of transitions at one moment is long. */
const ROUNDS_MAX = 50;

const settle = (draft: Draft, context: Context): undefined => {
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const before = draft.messages.length;
    for (const run of [...draft.runs.values()].filter(isLive))
      advanceRun(draft, draft.runs.get(run.run_id) ?? run, context);
    for (const incident of [...draft.incidents.values()])
      advanceIncident(draft, draft.incidents.get(incident.incident_id) ?? incident, context);
    if (draft.messages.length === before) return;
  }
  throw new Error(`an incident or a run does not come to rest at ${draft.now}`);
};

export const advance = (world: World, event: EngineEvent, context: Context): Draft => {
  const draft = new Draft(world, context.now, context.config);
  take(draft, event, context);
  settle(draft, context);
  return draft;
};
