import { z } from "zod";
import { Entity } from "./entity.ts";
import { Finding, Severity } from "./finding.ts";
import { UnixMs } from "./unix-ms.ts";

export const IncidentState = z.enum([
  "open",
  "diagnosing",
  "mitigating",
  "verifying",
  "resolved",
  "closed",
  "escalated",
  "reopened",
]);
export type IncidentState = z.infer<typeof IncidentState>;

export const TimelineEntry = z.strictObject({
  at_unix_ms: UnixMs,
  /** A short machine word: `finding`, `state`, `plan`, `guard`, `command`, `verify`, `note`, … */
  kind: z.string().min(1).max(32),
  text: z.string().min(1).max(1000),
});
export type TimelineEntry = z.infer<typeof TimelineEntry>;

/** At these sizes the oldest entries in the middle give way; the first and the newest stay. */
export const INCIDENT_FINDINGS_MAX = 50;
export const INCIDENT_TIMELINE_MAX = 200;
export const INCIDENT_RUNS_MAX = 20;

export const Incident = z.strictObject({
  incident_id: z.string().min(1).max(64),
  state: IncidentState,
  /** When this state was entered. */
  state_since_unix_ms: UnixMs,
  severity: Severity,
  title: z.string().min(1).max(300),
  entity: Entity,
  /** Findings by id, newest form of each, oldest first. */
  findings: z.array(Finding).max(INCIDENT_FINDINGS_MAX),
  run_ids: z.array(z.string().max(64)).max(INCIDENT_RUNS_MAX),
  /** started: in the data; detected: by a detector; the others: by the engine's clock. Null until it happens. */
  times: z.strictObject({
    started_at_unix_ms: UnixMs,
    detected_at_unix_ms: UnixMs,
    opened_at_unix_ms: UnixMs,
    diagnosed_at_unix_ms: UnixMs.nullable(),
    mitigation_started_at_unix_ms: UnixMs.nullable(),
    recovered_at_unix_ms: UnixMs.nullable(),
    closed_at_unix_ms: UnixMs.nullable(),
  }),
  acknowledged: z.strictObject({ by: z.string().max(255), at_unix_ms: UnixMs }).nullable(),
  timeline: z.array(TimelineEntry).max(INCIDENT_TIMELINE_MAX),
  /** Grows by one with each journal record of this incident. */
  version: z.int().min(1),
});
export type Incident = z.infer<typeof Incident>;

/** A record of `incidents.journal`, keyed by incident_id: what happened, and the whole state after it, so that compaction keeps the truth. */
export const IncidentRecord = z.strictObject({
  event: z.string().min(1).max(64),
  at_unix_ms: UnixMs,
  incident: Incident,
});
export type IncidentRecord = z.infer<typeof IncidentRecord>;
