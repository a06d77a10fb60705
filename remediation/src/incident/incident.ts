import {
  type Finding,
  INCIDENT_FINDINGS_MAX,
  INCIDENT_RUNS_MAX,
  INCIDENT_TIMELINE_MAX,
  type Incident,
  type IncidentState,
  type Severity,
  type TimelineEntry,
} from "@homeostat/schemas";

const TITLE_CHARS_MAX = 300;
const ENTRY_CHARS_MAX = 1000;
const SEVERITIES: readonly Severity[] = ["info", "warning", "critical"];

/** Cut to `max` code units, never through a character. */
export const clip = (text: string, max: number): string =>
  text.length <= max
    ? text
    : `${text
        .slice(0, max - 1)
        .toWellFormed()
        .replace(/\uFFFD$/, "")}…`;

/** The first and the newest stay: the oldest in between give way. */
const capped = <T>(items: readonly T[], max: number): T[] =>
  items.length <= max ? [...items] : [...items.slice(0, 1), ...items.slice(items.length - max + 1)];

const worst = (findings: readonly Finding[], atLeast: Severity): Severity =>
  findings.reduce<Severity>(
    (severity, finding) =>
      SEVERITIES.indexOf(finding.severity) > SEVERITIES.indexOf(severity) ? finding.severity : severity,
    atLeast,
  );

export const addToTimeline = (incident: Incident, entry: TimelineEntry): Incident => ({
  ...incident,
  timeline: capped(
    [...incident.timeline, { ...entry, text: clip(entry.text, ENTRY_CHARS_MAX) }],
    INCIDENT_TIMELINE_MAX,
  ),
});

const findingEntry = (finding: Finding, at: number): TimelineEntry => ({
  at_unix_ms: at,
  kind: "finding",
  text: `${finding.rule} ${finding.state === "no_data" ? "has no data" : finding.state}: ${finding.summary}`,
});

/** Version 0: the journal makes it 1. */
export const openIncident = (incidentId: string, finding: Finding, now: number): Incident =>
  addToTimeline(
    {
      incident_id: incidentId,
      state: "open",
      state_since_unix_ms: now,
      severity: finding.severity,
      title: clip(finding.summary, TITLE_CHARS_MAX),
      entity: finding.entity,
      findings: [finding],
      run_ids: [],
      times: {
        started_at_unix_ms: finding.started_at_unix_ms,
        detected_at_unix_ms: finding.detected_at_unix_ms,
        opened_at_unix_ms: now,
        diagnosed_at_unix_ms: null,
        mitigation_started_at_unix_ms: null,
        recovered_at_unix_ms: null,
        closed_at_unix_ms: null,
      },
      acknowledged: null,
      timeline: [],
      version: 0,
    },
    findingEntry(finding, now),
  );

/**
 * Whether the finding says nothing that the incident does not know: a redelivery, a repetition, or older news. A finding keeps the moment
 * of its detection for life, so at one moment its end is final, and a repetition counts only when its severity changed.
 */
export const isKnown = (incident: Incident, finding: Finding): boolean => {
  const known = incident.findings.find(({ finding_id }) => finding_id === finding.finding_id);
  if (known === undefined) return false;
  if (finding.detected_at_unix_ms !== known.detected_at_unix_ms)
    return finding.detected_at_unix_ms < known.detected_at_unix_ms;
  return known.state === "resolved" || (finding.state === known.state && finding.severity === known.severity);
};

/** The finding in its newest form, once. `recovered` is when the last of what decides was resolved. */
export const attachFinding = (incident: Incident, finding: Finding, now: number): Incident => {
  if (isKnown(incident, finding)) return incident;
  const index = incident.findings.findIndex(({ finding_id }) => finding_id === finding.finding_id);
  const before = incident.findings[index];
  // What it said while it fired is what tells of the fault; that it is over stands in the timeline.
  const kept = finding.state === "resolved" && before !== undefined ? { ...finding, summary: before.summary } : finding;
  const findings = index < 0 ? [...incident.findings, finding] : incident.findings.with(index, kept);
  const attached: Incident = {
    ...incident,
    findings: capped(findings, INCIDENT_FINDINGS_MAX),
    severity: worst(findings, incident.severity),
  };
  const { started_at_unix_ms, detected_at_unix_ms } = incident.times;
  const times = {
    ...incident.times,
    started_at_unix_ms: Math.min(started_at_unix_ms, finding.started_at_unix_ms),
    detected_at_unix_ms: Math.min(detected_at_unix_ms, finding.detected_at_unix_ms),
    recovered_at_unix_ms:
      unresolvedFindings(attached).length === 0 ? (incident.times.recovered_at_unix_ms ?? now) : null,
  };
  return addToTimeline({ ...attached, times }, findingEntry(finding, now));
};

export const enterState = (incident: Incident, state: IncidentState, now: number, why: string): Incident => {
  const times = { ...incident.times };
  if (state === "mitigating") times.mitigation_started_at_unix_ms ??= now;
  if (state === "reopened") times.recovered_at_unix_ms = null;
  if (state === "closed") times.closed_at_unix_ms = now;
  return addToTimeline(
    { ...incident, state, state_since_unix_ms: now, times },
    { at_unix_ms: now, kind: "state", text: `${state}: ${why}` },
  );
};

export const addRun = (incident: Incident, runId: string): Incident => ({
  ...incident,
  run_ids: [...incident.run_ids, runId],
});

export const hasRoomForRun = (incident: Incident): boolean => incident.run_ids.length < INCIDENT_RUNS_MAX;

/** What decides whether it is over: its symptoms above "info"; others only where there is nothing else. */
const deciding = ({ findings }: Incident): readonly Finding[] => {
  const symptoms = findings.filter(({ category }) => category !== "data_health");
  const grave = symptoms.filter(({ severity }) => severity !== "info");
  return grave.length > 0 ? grave : symptoms.length > 0 ? symptoms : findings;
};

/** "No data" is not an end: only a finding that says so is resolved. */
export const unresolvedFindings = (incident: Incident): readonly Finding[] =>
  deciding(incident).filter(({ state }) => state !== "resolved");
