import type { Incident, RemediationRun } from "@homeostat/schemas";
import { duration } from "./duration.ts";
import { type Change, rankHypotheses } from "./hypotheses.ts";
import { type EvidenceRows, Report, type ReportAction, SUSPECTS_MAX, type Suspect } from "./report.ts";

const HIGH = 0.85;

const nameOf = ({ entity }: Incident): string =>
  entity.service !== undefined
    ? `${entity.service} on ${entity.host}`
    : entity.path !== undefined
      ? `${entity.path} on ${entity.host}`
      : entity.host;

const actionOf = (run: RemediationRun): ReportAction => {
  const steps = (plan: RemediationRun["plan"], outcomes: RemediationRun["outcomes"]) =>
    (plan?.steps ?? []).map(({ summary }, index) => ({ summary, outcome: outcomes[index] ?? null }));
  return {
    run_id: run.run_id,
    runbook: run.runbook,
    autonomy: run.autonomy,
    state: run.state,
    plan: run.plan?.summary ?? null,
    guards: run.guards,
    steps: [...steps(run.plan, run.outcomes), ...steps(run.rollback?.plan ?? null, run.rollback?.outcomes ?? [])],
    verdict: run.verdict,
    reason: run.reason,
    decided_by: run.decision === null ? null : `${run.decision.by} (${run.decision.approved ? "approved" : "refused"})`,
    proposed_at_unix_ms: run.times.proposed_at_unix_ms,
    ended_at_unix_ms: run.times.ended_at_unix_ms,
  };
};

const timesOf = ({ times }: Incident): Report["times"] => {
  const since = (from: number, to: number | null): number | null => (to === null ? null : Math.max(0, to - from));
  return {
    started_at_unix_ms: times.started_at_unix_ms,
    detected_at_unix_ms: times.detected_at_unix_ms,
    explained_at_unix_ms: times.diagnosed_at_unix_ms,
    recovered_at_unix_ms: times.recovered_at_unix_ms,
    detect_ms: Math.max(0, times.detected_at_unix_ms - times.started_at_unix_ms),
    explain_ms: since(times.detected_at_unix_ms, times.diagnosed_at_unix_ms),
    recover_ms: since(times.started_at_unix_ms, times.recovered_at_unix_ms),
  };
};

const outcomeLine = (incident: Incident, runs: readonly RemediationRun[]): string => {
  const success = runs.find(({ state }) => state === "succeeded");
  const isOver = incident.state === "resolved" || incident.state === "closed";
  if (isOver && success?.plan) return `It was healed without a person: ${success.plan.summary}.`;
  if (isOver) return "It ended without an action of ours.";
  if (incident.state === "escalated") return "It waits for a person.";
  return `It is ${incident.state}.`;
};

const impactOf = (incident: Incident, times: Report["times"]): string => {
  const lasted = times.recover_ms === null ? "and goes on" : `for ${duration(times.recover_ms)}`;
  const others = new Set(incident.findings.map(({ entity }) => JSON.stringify(entity))).size;
  const where = others > 1 ? ` (${others} entities were touched)` : "";
  return `${nameOf(incident)} was impaired ${lasted}${where}; severity ${incident.severity}.`;
};

const nextSteps = (incident: Incident, runs: readonly RemediationRun[], winner: string | null): string[] => {
  const next: string[] = [];
  const waiting = runs.find(({ state }) => state === "awaiting_approval");
  if (waiting) next.push(`Decide on run ${waiting.run_id}: ${waiting.plan?.summary ?? waiting.runbook}.`);
  const unknown = runs.find(({ outcomes }) => outcomes.some(({ status }) => status === "unknown"));
  if (unknown)
    next.push(`Look on the host whether “${unknown.plan?.summary ?? unknown.runbook}” was done: nobody knows.`);
  const held = runs.find(({ state, times }) => state === "suppressed" && times.started_at_unix_ms === null);
  if (incident.state === "escalated" && held) next.push(`See why ${held.runbook} was held: ${held.reason}.`);
  if (incident.state === "escalated" && runs.length === 0)
    next.push("Write a runbook for this, or act by hand: none answers it.");
  if (winner === "process_died")
    next.push("Find out why the process ended: its last log lines, the kernel's log, its exit code.");
  if (winner === "stuck_state")
    next.push("A restart mends it only until the next time: let the service notice what changed and connect anew.");
  if (winner === "storage_filled")
    next.push("Space was freed, not growth stopped: see what writes there, and whether its limit is right.");
  if (winner === "dependency_failed") next.push("Look at the party that the log names.");
  if (winner === "recent_change") next.push("Take the change back, or mend it forward.");
  if (winner === null) next.push("The cause is not known: look at the evidence below before closing this.");
  return next;
};

/** Pure: from what the journals say and what the evidence answered. `evidence` answers the findings' evidence, in the order of `evidenceOf`. */
export const buildReport = ({
  incident,
  runs,
  evidence,
  changes = [],
  suspects = [],
  suspectsMissing = null,
}: {
  readonly incident: Incident;
  readonly runs: readonly RemediationRun[];
  readonly evidence: EvidenceRows;
  readonly changes?: readonly Change[];
  readonly suspects?: readonly Suspect[];
  /** Why nobody could be asked who it began with. */
  readonly suspectsMissing?: string | null;
}): Report => {
  const { winner, hypotheses } = rankHypotheses({ incident, runs, evidence, changes });
  const times = timesOf(incident);
  const [first] = incident.findings;
  const recovered = times.recover_ms === null ? "" : `, recovered ${duration(times.recover_ms)} after it began`;
  return Report.parse({
    incident_id: incident.incident_id,
    title: incident.title,
    entity: incident.entity,
    severity: incident.severity,
    state: incident.state,
    summary:
      `${nameOf(incident)}: detected ${duration(times.detect_ms)} after it began${recovered}. ${outcomeLine(incident, runs)}`.slice(
        0,
        2000,
      ),
    root_cause: {
      statement: winner?.statement ?? "Unknown: the evidence does not single out one explanation.",
      hypothesis: winner?.name ?? null,
      confidence: winner === null ? "unknown" : winner.score >= HIGH ? "high" : "medium",
    },
    critical_failure: first === undefined ? incident.title : `${first.rule}: ${first.summary}`,
    impact: impactOf(incident, times),
    times,
    timeline: incident.timeline,
    evidence: evidenceOf(incident).map(({ rule, evidence: one }, index) => ({
      rule,
      evidence: one,
      answer: evidence[index] ?? null,
    })),
    hypotheses,
    suspects: suspects.slice(0, SUSPECTS_MAX),
    suspects_missing: suspectsMissing,
    actions: runs.toSorted((a, b) => a.times.proposed_at_unix_ms - b.times.proposed_at_unix_ms).map(actionOf),
    next: nextSteps(incident, runs, winner?.name ?? null),
  });
};

/** At most this many are asked again and shown. */
const EVIDENCE_MAX = 12;

/** What to ask again for a report on this incident, and which rule saw it. */
export const evidenceOf = (incident: Incident) =>
  incident.findings
    .flatMap(({ rule, evidence }) => evidence.map((one) => ({ rule, evidence: one })))
    .slice(0, EVIDENCE_MAX);
